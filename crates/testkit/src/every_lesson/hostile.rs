//! Hostile and odd requests.

use super::GET;
use crate::Server;

/// answer or the end of that connection, and the same process answers the next client.
pub fn hostile_requests_end_nothing(binary: &str) {
    let mut server = Server::start(binary);
    let long_path = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(100_000));
    let long_header =
        format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "a".repeat(600_000));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(10_000));
    let zeros = format!("{}\r\n\r\n", "\0".repeat(70_000));
    let refused: &[(&str, &[u8])] = &[
        ("two lengths", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
        ("negative length", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n"),
        ("length with a sign", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na"),
        ("length in hex", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\na"),
        ("length over 64 bits", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n"),
        ("a list of lengths", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 2\r\n\r\nab"),
        ("chunked is not last", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
        ("chunks in HTTP/1.0", b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("folded header", b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n"),
        ("space before the colon", b"GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
        ("space before the name", b"GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
        ("NUL in a header", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n"),
        ("NUL in the path", b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a space in the path", b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("bare CR in a header", b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n"),
        ("no colon", b"GET / HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n"),
        ("header without a name", b"GET / HTTP/1.1\r\nHost: a\r\n: x\r\n\r\n"),
        ("HTTP/9.9", b"GET / HTTP/9.9\r\nHost: a\r\n\r\n"),
        ("HTTP/2 without TLS", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("HTTP/0.9", b"GET /\r\n\r\n"),
        ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
        ("only NULs", zeros.as_bytes()),
        ("an endless path", long_path.as_bytes()),
        ("an endless header", long_header.as_bytes()),
        ("ten thousand headers", many.as_bytes()),
    ];
    for (name, bytes) in refused {
        let answer = server.raw(bytes);
        let answer = String::from_utf8_lossy(&answer);
        let clear = ["400", "405", "413", "414", "431", "505"];
        assert!(
            answer.is_empty()
                || clear.iter().any(|s| answer.starts_with(&format!("HTTP/1.1 {s}"))),
            "{name}: {answer:.200}"
        );
        assert!(server.is_running(), "{name}");
    }
    let odd: &[(&str, &[u8])] = &[
        ("CL and TE", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("TE and CL", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"),
        ("broken chunks", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        ("a chunk of 2^64 bytes", b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"),
        ("bare LF", b"GET / HTTP/1.1\nHost: a\nConnection: close\n\n"),
        ("blank lines first", b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
        ("absolute form", b"GET http://localhost/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
        ("asterisk form", b"OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
        ("a method of its own", b"BREW / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
        ("HTTP/1.0", b"GET / HTTP/1.0\r\n\r\n"),
        ("body with GET", b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"),
        ("Expect", b"POST /user HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"),
        ("an odd expectation", b"GET / HTTP/1.1\r\nHost: a\r\nExpect: miracle\r\nConnection: close\r\n\r\n"),
        ("upgrade to h2c", b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: upgrade, close\r\n\r\n"),
        ("a body that breaks off", b"POST /user HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n{"),
    ];
    for (name, bytes) in odd {
        let mut client = server.connect();
        client.send(bytes);
        client.finish_sending();
        let answer = client.read_to_end();
        let answer = String::from_utf8_lossy(&answer);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1."),
            "{name}: {answer:.200}"
        );
        assert!(!answer.contains(" 500 "), "{name}: {answer:.200}");
        assert!(server.is_running(), "{name}");
    }
    // Clients that go at once, and requests that come all at once.
    for _ in 0..50 {
        server.connect().send(&GET[..9]);
        server.connect().send(GET);
    }
    let mut client = server.connect();
    client.send(GET.repeat(20));
    for _ in 0..20 {
        client.read_answer().expect(200);
    }
    server.get("/").expect(200);
}

/// A server is no proxy and no mirror.
pub fn connect_and_trace_are_405(binary: &str) {
    let server = Server::start(binary);
    server.request("TRACE", "/", &[], "").expect(405).allows(&["GET", "HEAD"]);
    let connect = "CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\n\r\n";
    let mut client = server.connect();
    client.send(connect);
    let answer = client.read_answer().expect(405);
    assert!(answer.get("allow").is_some(), "a 405 has an Allow");
}

/// `OPTIONS *` asks of the server as a whole.
pub fn options_of_all_is_204(binary: &str) {
    let server = Server::start(binary);
    server.request("OPTIONS", "*", &[], "").expect(204).allows(&["GET", "HEAD"]);
}

/// A page of another site can have a visitor's browser send us anything. What would change
/// something is 403; what only reads is read.
pub fn pages_of_other_sites_write_nothing(binary: &str) {
    let server = Server::start(binary);
    let own = format!("Origin: {}", server.url.trim_end_matches('/'));
    let host = server.authority().to_owned();
    let port = server.port();
    let send = |method: &str, host: &str, headers: &[&str]| {
        let mut client = server.connect();
        let headers = headers.join("\r\n");
        client.send(format!(
            "{method} /user HTTP/1.1\r\nHost: {host}\r\n{headers}\r\nContent-Length: 2\r\n\r\n{{}}"
        ));
        client.read_answer().hint(&format!("{method} {host} {headers}"))
    };
    for foreign in [
        &["Sec-Fetch-Site: cross-site"][..],
        &["Sec-Fetch-Site: same-site"],
        &["Sec-Fetch-Site: "],
        &["Sec-Fetch-Site: cross-site", &own],
        &["Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site"],
        &["Origin: null"],
        &["Origin: http://evil.example"],
        &["Origin: http://localhost:1"],
    ] {
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            send(method, &host, foreign).expect(403);
        }
        assert_ne!(send("GET", &host, foreign).status, 403);
    }
    // DNS rebinding: to the browser that page is of the same origin.
    for name in ["evil.example", "192.0.2.1", "localhost.evil.example"] {
        let host = format!("{name}:{port}");
        for own in ["Sec-Fetch-Site: same-origin", &format!("Origin: http://{host}")] {
            send("POST", &host, &[own]).expect(403);
        }
        assert_ne!(send("POST", &host, &["X: no browser"]).status, 403);
    }
    for host in ["localhost", "a.localhost", "127.0.0.1", "127.1.2.3", "[::1]"] {
        let host = format!("{host}:{port}");
        for ours in ["Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: none"] {
            assert_ne!(send("POST", &host, &[ours]).status, 403, "{host}, {ours}");
        }
    }
    assert_ne!(send("POST", &host, &[&own]).status, 403);
}

/// HTTP/1.1 names exactly one host, and a possible one.
pub fn hosts_are_checked(binary: &str) {
    let server = Server::start(binary);
    for hosts in [
        "",
        "Host: a\r\nHost: b\r\n",
        "Host: a\r\nHost: a\r\n",
        "Host: \r\n",
        "Host: a b\r\n",
        "Host: a/b\r\n",
        "Host: me@a\r\n",
        "Host: a:80:80\r\n",
        "Host: [::1\r\n",
        "Host: a,b:x\r\n",
    ] {
        let mut client = server.connect();
        client.send(format!("GET / HTTP/1.1\r\n{hosts}\r\n"));
        let answer = client.read_answer().hint(hosts).expect(400).contains("Host");
        let answer = answer.header("content-type", "text/plain; charset=utf-8");
        assert_eq!(answer.text().lines().count(), 1);
    }
    for good in
        ["HTTP/1.0\r\n", "HTTP/1.1\r\nHost: [::1]:80\r\n", "HTTP/1.1\r\nHost: a\r\n"]
    {
        let mut client = server.connect();
        client.send(format!("GET / {good}\r\n"));
        client.read_answer().hint(good).expect(200);
    }
}

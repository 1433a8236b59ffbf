//! Starting: ports, hosts, the first line, what a lesson says where it cannot start; and what
//! each of its answers has.

use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::LAST_GET;
use crate::{Server, wait_until};

/// Both loopback addresses on one port, and no other address of this machine.
pub fn listens_on_loopback_alone(binary: &str) {
    let server = Server::start(binary);
    assert!(server.url.contains("://localhost:"), "{}", server.url);
    let port = server.port();
    let connect = |address: SocketAddr| {
        TcpStream::connect_timeout(&address, Duration::from_secs(2)).map(drop)
    };
    connect(([127, 0, 0, 1], port).into()).expect("127.0.0.1");
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        connect((std::net::Ipv6Addr::LOCALHOST, port).into()).expect("::1");
    }
    // What the system itself says of the sockets that listen on this port (proc(5)): the
    // address is the second column, in hexadecimal, each four bytes turned round.
    let loopback = ["0100007F", "00000000000000000000000001000000"];
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let table = std::fs::read_to_string(table).unwrap_or_default();
        for line in table.lines().filter(|line| line.contains(" 0A ")) {
            let local = line.split_whitespace().nth(1).and_then(|l| l.split_once(':'));
            if let Some((address, _)) = local.filter(|l| l.1 == format!("{port:04X}")) {
                assert!(loopback.contains(&address), "listens on {address}");
            }
        }
    }
}

/// The first line's URL has the `HOST` that was given, IPv6 in brackets, and works.
pub fn says_the_host_it_was_given(binary: &str) {
    let server = Server::start_with(binary, &[("HOST", "127.0.0.1")]);
    assert!(server.url.contains("://127.0.0.1:"), "{}", server.url);
    server.get("/").expect(200);
    if std::net::TcpListener::bind("[::1]:0").is_ok() {
        for host in ["::1", "[::1]"] {
            let server = Server::start_with(binary, &[("HOST", host)]);
            assert!(server.url.contains("://[::1]:"), "{}", server.url);
            server.get("/").expect(200);
        }
    }
}

/// One line that says what, why and the way round; status 1.
pub fn cannot_start(binary: &str) {
    for port in ["abc", "70000", "-1", "80a", "+80", " 80", "8080.0"] {
        Server::cannot_start(
            binary,
            &[("PORT", port)],
            &["PORT=", port, "65535", "cargo run"],
        );
    }
    for host in ["no such host", "a..b", "192.0.2.77"] {
        Server::cannot_start(
            binary,
            &[("HOST", host)],
            &[host, "HOST=localhost cargo run"],
        );
    }
    let taken = Server::start(binary);
    let port = taken.port().to_string();
    Server::cannot_start(binary, &[("PORT", &port)], &[&port, "PORT=0 cargo run"]);
    taken.get("/").expect(200);

    let mut command = Server::command(binary, &[]);
    command.arg("--help");
    let (status, stderr) = Server::fails(command);
    assert_eq!(status.code(), Some(1));
    assert!(stderr.contains("--help") && stderr.contains("PORT=8090"), "{stderr}");
}

/// `cargo run -p cookie | head -1`: the reader goes, the server stays.
pub fn a_closed_standard_output_costs_no_answer(binary: &str) {
    let mut command = Server::command(binary, &[]);
    let mut head = Command::new("head");
    head.arg("-1").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut head = head.spawn().expect("head");
    let mut server = Server::quiet(&mut command, head.stdin.take().expect("piped"));
    let line = head.wait_with_output().expect("head").stdout;
    let line = String::from_utf8(line).expect("UTF-8");
    // Of the cluster lesson this may be another line: then there is nothing to ask.
    if let Some(url) =
        line.trim().rsplit(' ').next().filter(|url| url.starts_with("http"))
    {
        server.url = url.to_owned();
        for _ in 0..3 {
            server.get("/").expect(200);
            server.request("POST", "/user", &[], "{}");
        }
        assert!(server.is_running());
    }
}

/// HEAD: the same head, with the same `Content-Length`, and no body.
pub fn head_is_get_without_the_body(binary: &str) {
    let server = Server::start(binary);
    let get = server.get("/").expect(200);
    let mut client = server.connect();
    let head = client.request("HEAD", "/", &[], b"").expect(200);
    assert_eq!(head.get("content-length"), Some(&*get.body.len().to_string()));
    for (name, _) in get.headers.iter().filter(|(n, _)| n != "date" && n != "x-worker") {
        assert_eq!(head.get_all(name), get.get_all(name), "{name}"); // two Set-Cookie, say
    }
    // Had there been a body, this answer would not begin with a status line.
    client.request("GET", "/", &[], b"").expect(200);
}

const POLICY: &str = "default-src 'self'; form-action 'self'; frame-ancestors 'none'";

/// Texts say their charset; every answer says nosniff; pages carry a policy.
pub fn texts_are_typed(binary: &str) {
    let server = Server::start(binary);
    let page = server.get("/").expect(200).header("x-content-type-options", "nosniff");
    let media = page.get("content-type").unwrap_or_default();
    assert!(media.ends_with("; charset=utf-8"), "{media}");
    if media.starts_with("text/html") {
        page.header("content-security-policy", POLICY);
    }
    server
        .raw("GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
        .windows(23)
        .find(|part| part.eq_ignore_ascii_case(b"x-content-type-options:"))
        .expect("nosniff on errors too");
}

/// `WIRE=1` shows what went over the wire, readable, both ways; without it nothing is shown.
pub fn wire_shows_both_ways(binary: &str) {
    let server = Server::start_with(binary, &[("WIRE", "1")]);
    server.raw(LAST_GET);
    wait_until("both ways on stderr", || {
        let stderr = server.stderr();
        stderr.contains("> GET / HTTP/1.1\\r\\n")
            && stderr.contains("< HTTP/1.1 200 OK\\r\\n")
    });
    let mut quiet = Server::start(binary);
    quiet.raw(LAST_GET);
    // Until it has ended, something might still be on its way.
    quiet.signal("TERM");
    quiet.wait();
    assert!(!quiet.stderr().contains("HTTP/1.1"), "{}", quiet.stderr());
}

/// Korean for a Korean locale, English for any other one: errors of the start, and reasons.
pub fn messages_are_in_the_readers_language(binary: &str) {
    let is_korean =
        |text: &str| text.chars().any(|c| ('\u{AC00}'..='\u{D7A3}').contains(&c));
    for (variables, korean) in [
        (&[("LC_ALL", "ko_KR.UTF-8"), ("LANG", "en_US.UTF-8")][..], true),
        (&[("LC_ALL", "C"), ("LANG", "ko_KR.UTF-8")], false),
        (&[("LC_ALL", ""), ("LC_MESSAGES", ""), ("LANG", "ko_KR.UTF-8")], true),
        (&[("LC_ALL", ""), ("LC_MESSAGES", "en_US"), ("LANG", "ko_KR.UTF-8")], false),
    ] {
        let with_port = [variables, &[("PORT", "x")]].concat();
        let (_, said) = Server::fails(Server::command(binary, &with_port));
        assert_eq!(is_korean(&said), korean, "{variables:?}: {said}");
        let server = Server::start_with(binary, variables);
        let answer = server.raw("GET / HTTP/1.1\r\nConnection: close\r\n\r\n");
        let answer = String::from_utf8(answer).expect("UTF-8");
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert_eq!(is_korean(&answer), korean, "{variables:?}: {answer}");
    }
}

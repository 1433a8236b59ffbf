//! The rows of the contract that hold for every lesson. `testkit::every_lesson!(BIN)` in a
//! lesson's tests runs them all against its own binary; `bare_lesson!` those that hello keeps.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::{Client, Server, wait_until};

/// Makes a test of each row, in `mod every_lesson`.
#[macro_export]
macro_rules! every_lesson {
    ($binary:expr) => {
        $crate::bare_lesson!(
            $binary,
            a_standard_output_that_nobody_reads_costs_no_answer,
            texts_are_typed,
            connect_and_trace_are_405,
            hosts_are_checked,
            an_announced_length_over_the_limit_is_413_at_once,
            what_is_in_flight_is_finished,
            a_second_signal_ends_at_once,
            idle_clients_do_not_hold_up_the_end,
            wire_shows_both_ways,
        );
    };
}

/// The rows that hold for hello too, which is written without the shared serve loop.
#[macro_export]
macro_rules! bare_lesson {
    ($binary:expr $(, $more:ident)* $(,)?) => {
        mod every_lesson {
            $crate::rows!(
                $binary,
                listens_on_loopback_alone,
                says_the_host_it_was_given,
                cannot_start,
                a_closed_standard_output_costs_no_answer,
                head_is_get_without_the_body,
                running_out_of_files_is_not_the_end,
                slow_heads_and_idle_clients_are_closed,
                hostile_requests_end_nothing,
                silent_clients_keep_nobody_out,
                $($more,)*
            );
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! rows {
    ($binary:expr, $($row:ident,)*) => {
        $(#[test]
        fn $row() {
            $crate::every_lesson::$row($binary);
        })*
    };
}

const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
const LAST_GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

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

/// A pager that nobody scrolls takes 64 KiB and then no more; the server goes on.
pub fn a_standard_output_that_nobody_reads_costs_no_answer(binary: &str) {
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let mut command = Server::command(binary, &[]);
    let mut server = Server::quiet(&mut command, writer);
    drop(command); // it holds the writer's end
    let mut printed = Vec::new();
    while !printed.ends_with(b"/\n") {
        let mut byte = [0];
        assert_eq!(reader.read(&mut byte).expect("the pipe"), 1, "no first line");
        printed.push(byte[0]);
    }
    let printed = String::from_utf8(printed).expect("UTF-8");
    server.url = printed.trim().rsplit(' ').next().unwrap_or_default().to_owned();
    let long = "x".repeat(4000);
    let mut client = server.connect();
    for _ in 0..50 {
        // cookie prints the one, rest the other.
        client.request("GET", "/", &[("Cookie", &long)], b"").expect(200);
        client.request("POST", "/user", &[], long.as_bytes());
    }
    client.request("GET", "/", &[], b"").expect(200);
}

/// HEAD: the same head, with the same `Content-Length`, and no body.
pub fn head_is_get_without_the_body(binary: &str) {
    let server = Server::start(binary);
    let get = server.get("/").expect(200);
    let mut client = server.connect();
    let head = client.request("HEAD", "/", &[], b"").expect(200);
    assert_eq!(head.get("content-length"), Some(&*get.body.len().to_string()));
    for (name, value) in
        get.headers.iter().filter(|(n, _)| n != "date" && n != "x-worker")
    {
        assert_eq!(head.get(name), Some(&**value), "{name}");
    }
    // Had there been a body, this answer would not begin with a status line.
    client.request("GET", "/", &[], b"").expect(200);
}

/// Fewer files than clients: said once, and served again.
#[cfg(unix)]
pub fn running_out_of_files_is_not_the_end(binary: &str) {
    let mut command = Command::new("sh");
    let shell = format!("ulimit -n 64; exec '{binary}'");
    let lesson = Server::command(binary, &[]);
    for (name, value) in lesson.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.args(["-c", &shell]);
    let mut server = Server::start_command(command);
    let idle: Vec<Client> = (0..100).map(|_| server.connect()).collect();
    server.get("/").expect(200);
    drop(idle);
    server.get("/").expect(200);
    assert!(server.is_running());
    let said =
        server.stderr().lines().filter(|line| line.contains("받지 못했습니다")).count();
    // Once by each process: in the cluster lesson there are more than one.
    let processes = 1 + server.stdout().matches("번 워커 실행").count();
    assert!(said <= processes, "said {said} times: {}", server.stderr());
}

/// Nothing to run out of where there is no `ulimit`.
#[cfg(not(unix))]
pub fn running_out_of_files_is_not_the_end(_: &str) {}

/// Ten seconds for a head, and for the pause before one.
pub fn slow_heads_and_idle_clients_are_closed(binary: &str) {
    let server = Server::start(binary);
    let mut fresh = server.connect();
    let mut idle = server.connect();
    idle.request("GET", "/", &[], b"").expect(200);
    let mut half = server.connect();
    half.send("GET / HTTP/1.1\r\nHost: loc");
    let mut dribble = server.connect();
    std::thread::scope(|scope| {
        scope.spawn(|| fresh.expect_closed());
        scope.spawn(|| idle.expect_closed());
        scope.spawn(|| half.read_to_end());
        // A byte now and then does not help: the clock is for the whole head.
        scope.spawn(|| {
            dribble.send("GET / HTTP/1.1\r\n");
            wait_until("the end of a dribbling client", || {
                std::thread::sleep(Duration::from_millis(500));
                !dribble.send("X: y\r\n")
            });
        });
        for _ in 0..20 {
            server.get("/").expect(200);
        }
    });
}

/// What somebody could send to break a server (RFC 9112 unless said otherwise): a clear
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

/// Texts say their charset; every answer says nosniff; pages carry a policy.
pub fn texts_are_typed(binary: &str) {
    let server = Server::start(binary);
    let page = server.get("/").expect(200).header("x-content-type-options", "nosniff");
    let media = page.get("content-type").unwrap_or_default();
    assert!(media.ends_with("; charset=utf-8"), "{media}");
    if media.starts_with("text/html") {
        page.header("content-security-policy", "default-src 'self'; form-action 'self'");
    }
    server
        .raw("GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
        .windows(23)
        .find(|part| part.eq_ignore_ascii_case(b"x-content-type-options:"))
        .expect("nosniff on errors too");
}

/// A server is no proxy and no mirror.
pub fn connect_and_trace_are_405(binary: &str) {
    let server = Server::start(binary);
    server.request("TRACE", "/", &[], "").expect(405).allows(&["GET", "HEAD"]);
    let connect = "CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\n\r\n";
    let mut client = server.connect();
    client.send(connect);
    client.read_answer().expect(405).allows(&["GET", "HEAD"]);
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

/// 413 without waiting for a body that would be too large anyway; the client can read it
/// although it was still sending.
pub fn an_announced_length_over_the_limit_is_413_at_once(binary: &str) {
    let server = Server::start(binary);
    for length in ["65537", "1000000000000"] {
        let mut client = server.connect();
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"
        ));
        client.read_answer().expect(413).contains("65536").header("connection", "close");
    }
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n");
    client.send([b'x'; 500_000]);
    client.read_answer().expect(413);
}

/// SIGTERM: what has begun is answered, and the process ends with status 0.
#[cfg(unix)]
pub fn what_is_in_flight_is_finished(binary: &str) {
    for signal in ["TERM", "INT"] {
        let mut server = Server::start(binary);
        let mut half = server.connect();
        half.send("GET / HTTP/1.1\r\nHo");
        let mut second = server.connect();
        second.request("GET", "/", &[], b"").expect(200);
        second.send("GET / HTTP/1.1\r\nHo");
        // The answer on another connection, accepted later, shows that those bytes are there.
        server.get("/").expect(200);
        let mut fresh = server.connect();
        server.signal(signal);
        wait_until("the end of the listener", || {
            TcpStream::connect(("127.0.0.1", server.port())).is_err()
        });
        fresh.send(GET);
        fresh.read_answer().expect(200).header("connection", "close");
        for client in [&mut half, &mut second] {
            client.send("st: localhost\r\n\r\n");
            client.read_answer().expect(200).header("connection", "close");
            client.expect_closed();
        }
        assert_eq!(server.wait().code(), Some(0), "{}", server.stderr());
    }
}

/// Nothing to send where there are no signals.
#[cfg(not(unix))]
pub fn what_is_in_flight_is_finished(_: &str) {}

/// A second signal does not wait for what is in flight.
#[cfg(unix)]
pub fn a_second_signal_ends_at_once(binary: &str) {
    let mut server = Server::start(binary);
    let mut half = server.connect();
    half.send("GET / HTTP/1.1\r\nHo");
    server.get("/").expect(200);
    server.signal("TERM");
    wait_until("the end of the listener", || {
        TcpStream::connect(("127.0.0.1", server.port())).is_err()
    });
    assert!(server.is_running(), "half a request is in flight");
    server.signal("TERM");
    assert_ne!(server.wait().code(), Some(0));
    assert!(half.read_to_end().is_empty());
}

/// Nothing to send where there are no signals.
#[cfg(not(unix))]
pub fn a_second_signal_ends_at_once(_: &str) {}

/// A browser that keeps a connection for later does not keep the server.
#[cfg(unix)]
pub fn idle_clients_do_not_hold_up_the_end(binary: &str) {
    let mut server = Server::start(binary);
    let mut idle = server.connect();
    idle.request("GET", "/", &[], b"").expect(200);
    let _silent = server.connect();
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    assert!(!server.stderr().contains("끊습니다"), "{}", server.stderr());
    idle.expect_closed();
}

/// Nothing to send where there are no signals.
#[cfg(not(unix))]
pub fn idle_clients_do_not_hold_up_the_end(_: &str) {}

/// Clients that say nothing, or half of something, cost nobody else anything.
pub fn silent_clients_keep_nobody_out(binary: &str) {
    let server = Server::start(binary);
    let mut silent: Vec<Client> = (0..200).map(|_| server.connect()).collect();
    for half in silent.iter_mut().step_by(2) {
        half.send("GET / HTTP/1.1\r\n");
    }
    // Asks and never reads.
    let mut deaf = server.connect();
    deaf.send(GET.repeat(50));
    for _ in 0..20 {
        server.get("/").expect(200);
    }
}

/// `WIRE=1` shows what went over the wire, readable, both ways.
pub fn wire_shows_both_ways(binary: &str) {
    let server = Server::start_with(binary, &[("WIRE", "1")]);
    server.raw(LAST_GET);
    wait_until("both ways on stderr", || {
        let stderr = server.stderr();
        stderr.contains("> GET / HTTP/1.1\\r\\n")
            && stderr.contains("< HTTP/1.1 200 OK\\r\\n")
    });
    let quiet = Server::start(binary);
    quiet.raw(LAST_GET);
    assert!(!quiet.stderr().contains("HTTP/1.1"));
}

//! The contract's row "many clients": 2,000 at once that idle, send half of something or never
//! read cost a new client nothing.

use std::net::TcpStream;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use testkit::{Client, Server, h2};

const MANY: usize = 2000;

/// Starts a lesson. Both it and this test need a file for each client; what is there must do,
/// so that a machine with a low hard limit fails here, and says why.
fn start(lesson: &str) -> Server {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit of open files");
    assert!(hard >= 4000, "ulimit -Hn is {hard}: {MANY} clients do not fit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("the hard limit");
    Server::start(&super::binary(lesson))
}

/// Nobody was sent away, and a new client is served as if nobody else were there.
fn serves_a_new_client(server: &Server, clients: &[TcpStream]) {
    for _ in 0..5 {
        server.get("/").expect(200);
    }
    for client in clients {
        client.set_nonblocking(true).expect("nonblocking");
        let closed = matches!(client.peek(&mut [0]), Ok(0));
        assert!(!closed, "a client was sent away before its time");
    }
}

fn http1(server: &Server, says: &str) {
    let clients: Vec<TcpStream> = (0..MANY)
        .map(|_| {
            let mut tcp = server.connect_tcp();
            std::io::Write::write_all(&mut tcp, says.as_bytes())
                .expect("an open connection");
            tcp
        })
        .collect();
    serves_a_new_client(server, &clients);
}

#[test]
fn http_1_1() {
    let server = start("rest");
    http1(&server, "");
    http1(&server, "GET / HTTP/1.1\r\nHost: loc");
    http1(
        &server,
        "POST /user HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{",
    );
    // Twenty pages that nobody reads.
    http1(&server, &"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(20));
}

#[test]
fn http_2() {
    let server = start("http2");
    let half_body =
        h2::Frame::bytes(h2::HEADERS, h2::END_HEADERS, 1, &h2::block("POST", "/", &[]));
    let kinds = [Vec::new(), half_body, h2::request(1, "GET", "/tiles")];
    let clients: Vec<TcpStream> = (0..MANY)
        .map(|number| {
            let tcp = server.connect_tcp();
            let own = tcp.try_clone().expect("clone of a socket");
            let mut client: Client = server.connect_tls_over(tcp, &["h2"]);
            let says = [h2::PREFACE, &kinds[number % kinds.len()]].concat();
            assert!(client.send(&says), "an open connection");
            own
        })
        .collect();
    serves_a_new_client(&server, &clients);
}

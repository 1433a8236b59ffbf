//! Lesson 1 over the wire.

use testkit::Server;

const BIN: &str = env!("CARGO_BIN_EXE_hello");

testkit::bare_lesson!(super::BIN);

const PAGE: &str = "<h1>Hello Node!</h1><p>Hello Server!</p><p>Hello Annie</p>";

/// What the Node original does too: these run against any server, by `TEST_URL`.
mod parity {
    use super::*;

    #[test]
    fn any_path_is_the_page() {
        let server = Server::parity(BIN);
        for path in ["/", "/any/path", "/?query", "/favicon.ico", "/%ff", "/../.."] {
            let answer = server.get(path).hint("handle() does not look at the path");
            answer.expect(200).body(PAGE);
        }
    }

    #[test]
    fn any_method_is_answered() {
        let server = Server::parity(BIN);
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            server.request(method, "/", &[], "").expect(200).body(PAGE);
        }
    }

    #[test]
    fn head_is_get_without_the_body() {
        let server = Server::parity(BIN);
        let mut client = server.connect();
        client.request("HEAD", "/", &[], b"").expect(200).body("");
        // Had there been a body, it would be in the way of this answer.
        client.request("GET", "/", &[], b"").expect(200).body(PAGE);
    }

    #[test]
    fn many_requests_go_over_one_connection() {
        let server = Server::parity(BIN);
        let mut client = server.connect();
        for _ in 0..100 {
            client.request("GET", "/", &[], b"").expect(200).body(PAGE);
        }
    }

    #[test]
    fn an_idle_client_keeps_nobody_waiting() {
        let server = Server::parity(BIN);
        let _silent = server.connect();
        let mut half = server.connect();
        half.send("GET / HTTP/1.1\r\nHo");
        server.get("/").hint("tokio::spawn a task for each connection").expect(200);
        half.send("st: localhost\r\n\r\n");
        half.read_answer().expect(200).body(PAGE);
    }
}

/// Where ours is better than the original.
mod hardened {
    use super::*;

    #[test]
    fn the_page_says_what_it_is_and_how_long() {
        let server = Server::start(BIN);
        for method in ["GET", "HEAD", "POST"] {
            let answer = server.request(method, "/", &[], "").expect(200);
            let answer = answer.header("content-type", "text/html; charset=utf-8");
            answer
                .header("content-length", &PAGE.len().to_string())
                .no_header("transfer-encoding");
        }
    }

    #[test]
    fn a_body_that_nobody_reads_is_in_nobodys_way() {
        let server = Server::start(BIN);
        server.request("POST", "/", &[], "x".repeat(1000)).expect(200).body(PAGE);
        // Longer than all buffers: the answer comes before the body is through.
        server.request("POST", "/", &[], "x".repeat(10_000_000)).expect(200).body(PAGE);
        server.get("/").expect(200);
    }
}

/// Yours to solve: `README.md` says how. `cargo test -p hello -- --ignored` runs it.
mod exercise {
    use super::*;

    #[test]
    #[ignore = "exercise: GET /visits says how often it was asked for"]
    fn visits_are_counted() {
        let server = Server::start(BIN);
        let visit =
            || server.get("/visits").hint("crates/hello/README.md, Try it").expect(200);
        for n in 1..=3 {
            let page = format!("<p>{n}번째 방문입니다.</p>");
            visit().header("content-type", "text/html; charset=utf-8").body(&page);
        }
        server.get("/").expect(200).body(PAGE);
        // Forty at once: each has a number of its own.
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10).for_each(|_| drop(visit())));
            }
        });
        visit().body("<p>44번째 방문입니다.</p>");
    }
}

//! Lesson 8 over the wire.

use testkit::Server;

const BIN: &str = env!("CARGO_BIN_EXE_http2");

testkit::every_lesson!(super::BIN);

/// What the Node original does too: these run against any server, by `TEST_URL`.
mod parity {
    use super::*;

    #[test]
    fn any_path_is_the_page() {
        let server = Server::parity(BIN);
        assert!(server.url.starts_with("https://"), "{}", server.url);
        for path in ["/", "/any/path?query"] {
            server
                .get(path)
                .hint("reply::html(…) for every path, as hello does")
                .expect(200)
                .header("content-type", "text/html; charset=utf-8")
                .body("<h1>Hello Node!</h1><p>Hello Server!</p>");
        }
    }
}

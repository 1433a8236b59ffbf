//! Lesson 4 over the wire.

use testkit::Server;

const BIN: &str = env!("CARGO_BIN_EXE_cookie");

testkit::every_lesson!(super::BIN);

/// What the Node original does too: these run against any server, by `TEST_URL`.
mod parity {
    use super::*;

    #[test]
    fn any_path_is_greeted_and_given_a_cookie() {
        let server = Server::parity(BIN);
        for path in ["/", "/favicon.ico", "/any/path?with=query", "/login?name=Annie"] {
            let answer = server.get(path).hint("res.writeHead(200, { 'Set-Cookie': … })");
            answer.expect(200).body("Hello Cookie").header("set-cookie", "mycookie=test");
        }
    }

    #[test]
    fn a_browser_that_sends_it_back_is_greeted_alike() {
        let server = Server::parity(BIN);
        let cookie = [("Cookie", "mycookie=test; other=%")];
        let answer = server.request("GET", "/", &cookie, "").expect(200);
        answer.header("set-cookie", "mycookie=test").body("Hello Cookie");
    }

    #[test]
    fn the_greeting_is_plain_text() {
        let server = Server::parity(BIN);
        let answer = server.get("/").expect(200).body("Hello Cookie");
        answer
            .hint("text has a type: text/plain; charset=utf-8")
            .header("content-type", "text/plain; charset=utf-8");
    }
}

/// Where ours is better than the original.
mod hardened {
    use super::*;

    #[test]
    fn a_second_signal_ends_a_server_whose_output_is_stuck() {
        testkit::every_lesson::a_second_signal_ends_a_server_whose_output_is_stuck(BIN);
    }

    #[test]
    fn each_request_is_printed_with_its_cookies() {
        let server = Server::start(BIN);
        server.get("/").expect(200);
        server.wait_for_output("\n/ undefined\n");
        server.request("GET", "/favicon.ico", &[("Cookie", "mycookie=test")], "");
        server.wait_for_output("\n/favicon.ico mycookie=test\n");
        server.get("/a?b=%0a").expect(200);
        server.wait_for_output("\n/a?b=%0a undefined\n");
        // An empty field is a field.
        server.request("GET", "/empty", &[("Cookie", "")], "").expect(200);
        server.wait_for_output("\n/empty \n");
    }

    #[test]
    fn several_fields_are_printed_as_one() {
        let server = Server::start(BIN);
        let fields = [("Cookie", "a=1"), ("Cookie", "b=2; c=3")];
        server.request("GET", "/", &fields, "").expect(200);
        server.wait_for_output("\n/ a=1; b=2; c=3\n");
    }

    #[test]
    fn nobody_forges_a_line_or_drives_the_terminal() {
        let server = Server::start(BIN);
        let cookie = [("Cookie", "a=\u{202e}안니\t\u{9b}2J")];
        server.request("GET", "/", &cookie, "").expect(200);
        server.wait_for_output("\n/ a=\\u{202e}안니\\t\\u{9b}2J\n");
        server.raw(b"GET /raw HTTP/1.1\r\nHost: a\r\nConnection: close\r\nCookie: a=\xff\r\n\r\n");
        server.wait_for_output("\n/raw a=\u{fffd}\n");
    }

    #[test]
    fn a_wrong_method_is_405_and_options_204_both_with_allow() {
        let server = Server::start(BIN);
        for method in ["POST", "PUT", "DELETE"] {
            let answer = server.request(method, "/x", &[], "").expect(405);
            answer.allows(&["GET", "HEAD"]).no_header("set-cookie");
        }
        server.request("OPTIONS", "/x", &[], "").expect(204).allows(&["GET", "HEAD"]);
    }
}

/// Yours to solve; README.md, "Try it", says how to begin: `cargo test -p cookie -- --ignored`.
mod exercise {
    use super::*;

    #[test]
    #[ignore = "exercise: a second cookie counts this browser's visits"]
    fn visits_are_counted() {
        let server = Server::start(BIN).exercise(
            "headers_mut().append(SET_COOKIE, …) adds a field where insert replaces it; \
             text.parse::<u64>() is a Result",
        );
        for (sent, expected) in [
            ("mycookie=test", "visits=1"),
            ("mycookie=test; visits=1", "visits=2"),
            ("visits=41; mycookie=test", "visits=42"),
            ("visits=many", "visits=1"),
            ("visits=-1", "visits=1"),
            ("myvisits=7", "visits=1"),
        ] {
            let answer = server.request("GET", "/", &[("Cookie", sent)], "").expect(200);
            answer
                .headers("set-cookie", &["mycookie=test", expected])
                .body("Hello Cookie");
        }
        let two = [("Cookie", "mycookie=test"), ("Cookie", "visits=2")];
        let answer = server.request("GET", "/", &two, "").expect(200);
        answer.headers("set-cookie", &["mycookie=test", "visits=3"]);
        // The client chooses this number: the largest of 64 bits, and there is none after it.
        let largest = [("Cookie", "visits=18446744073709551615")];
        let hint = "a client may send any number: saturating_add instead of + 1";
        let server = server.exercise(hint);
        server.request("GET", "/", &largest, "").expect(200).body("Hello Cookie");
    }

    #[test]
    #[ignore = "exercise: GET /cookies is the cookies that came, as JSON"]
    fn cookies_are_shown_as_json() {
        let server = Server::start(BIN).exercise(
            "split(\"; \"), then split_once('=') for each; a BTreeMap collects the pairs, \
             and serde_json (in Cargo.toml first) makes JSON of it",
        );
        for (sent, json) in [
            ("a=1", r#"{"a":"1"}"#),
            ("b=2; a=1", r#"{"a":"1","b":"2"}"#),
            (
                "f=6; e=5; d=4; c=3; b=2; a=1",
                r#"{"a":"1","b":"2","c":"3","d":"4","e":"5","f":"6"}"#,
            ),
            ("a=x=y==", r#"{"a":"x=y=="}"#),
            ("a=", r#"{"a":""}"#),
            (r#"a="1""#, r#"{"a":"\"1\""}"#),
            (r"a=\", r#"{"a":"\\"}"#),
            ("neither name nor value", "{}"),
        ] {
            let cookies = [("Cookie", sent)];
            let answer = server.request("GET", "/cookies", &cookies, "").expect(200);
            let answer = answer.json(json).no_header("set-cookie");
            answer.header("content-type", "application/json; charset=utf-8");
        }
        server.get("/cookies").expect(200).json("{}");
        server.get("/").expect(200).body("Hello Cookie");
    }
}

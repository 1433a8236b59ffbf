//! Lesson 8 over the wire.

use std::process::{Command, Stdio};

use testkit::h2::{
    CONTINUATION, DATA, END_STREAM, ENHANCE_YOUR_CALM, Frame, GOAWAY, HEADERS, PREFACE,
    RST_STREAM, SETTINGS, block, request,
};
use testkit::{Client, Server, wait_until};

const BIN: &str = env!("CARGO_BIN_EXE_http2");
const PAGE: &str = "<h1>Hello Node!</h1><p>Hello Server!</p>";

testkit::every_lesson!(super::BIN);

/// A curl that gives up after a while, speaks HTTP/2 and believes the server.
fn curl(server: &Server, options: &[&str]) -> Command {
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "20", "--http2"]);
    match &server.certs {
        Some(certs) => command.arg("--cacert").arg(certs.join("ca.pem")),
        None => command.arg("-k"),
    };
    command.args(options);
    command
}

/// What curl says of one path with these options.
#[track_caller]
fn ask(server: &Server, path: &str, options: &[&str]) -> String {
    let mut command = curl(server, options);
    let output = command.arg(format!("{}{path}", server.url)).output().expect("curl");
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

/// Version and status, as in `2 200`.
#[track_caller]
fn status(server: &Server, path: &str, options: &[&str]) -> String {
    let shown = ["-o", "/dev/null", "-w", "%{http_version} %{http_code}"];
    ask(server, path, &[&shown, options].concat())
}

/// What the Node original does too: these run against any server, by `TEST_URL`.
mod parity {
    use super::*;

    #[test]
    fn any_path_is_the_page_over_http_2() {
        let server = Server::parity(BIN);
        assert!(server.url.starts_with("https://"), "{}", server.url);
        for path in ["", "any/path?query"] {
            let answer = ask(&server, path, &["-i"]);
            assert!(answer.starts_with("HTTP/2 200"), "{answer}");
            assert!(
                answer.contains("content-type: text/html; charset=utf-8"),
                "{answer}"
            );
            assert!(answer.ends_with(PAGE), "{answer}");
        }
    }

    #[test]
    fn clients_without_http_2_get_http_1_1() {
        let server = Server::parity(BIN);
        assert_eq!(status(&server, "", &["--http1.1"]), "1.1 200");
        assert_eq!(status(&server, "", &["--no-alpn"]), "1.1 200");
        server.get("/").expect(200).body(PAGE);
    }
}

/// Where ours is better than the original.
mod hardened {
    use super::*;

    #[test]
    fn alpn_turns_either_protocol_off() {
        let server = Server::start_with(BIN, &[("ALPN", "http/1.1")]);
        assert_eq!(status(&server, "", &[]), "1.1 200");
        let server = Server::start_with(BIN, &[("ALPN", "h2")]);
        assert_eq!(status(&server, "", &[]), "2 200");
        assert!(ask(&server, "", &["--http1.1"]).starts_with("curl:"));
        Server::cannot_start(
            BIN,
            &[("ALPN", "h3")],
            &["ALPN=", "h3", "cargo run -p http2"],
        );
    }

    #[test]
    fn the_second_listener_speaks_http_1_1_alone() {
        let server = Server::start(BIN);
        let count = ask(&server, "tiles/count", &[]);
        let port = number(&count, "http1Port");
        assert_eq!(number(&count, "http2Port"), u64::from(server.port()));
        let beside = format!("https://localhost:{port}/");
        let shown = ["-o", "/dev/null", "-w", "%{http_version}"];
        let output = curl(&server, &shown).arg(beside).output().unwrap();
        assert_eq!(output.stdout, b"1.1");
    }

    #[test]
    fn a_second_port_that_is_taken_or_none_is_named() {
        let server = Server::start(BIN);
        let taken = number(&ask(&server, "tiles/count", &[]), "http1Port").to_string();
        let cure = "H1_PORT=0 cargo run -p http2";
        Server::cannot_start(BIN, &[("H1_PORT", &taken)], &[&taken, cure]);
        Server::cannot_start(BIN, &[("H1_PORT", "x")], &["H1_PORT=", "65535"]);
    }

    #[test]
    fn methods_heads_and_lengths_are_as_over_http_1_1() {
        let server = Server::start(BIN);
        let head = ask(&server, "", &["-I"]);
        assert!(head.starts_with("HTTP/2 200"), "{head}");
        assert!(head.contains(&format!("content-length: {}\r\n", PAGE.len())), "{head}");
        assert!(head.ends_with("\r\n\r\n"), "{head}");
        for (method, expected) in [("POST", "405"), ("TRACE", "405"), ("OPTIONS", "204")]
        {
            let answer = ask(&server, "", &["-i", "-X", method]);
            assert!(answer.starts_with(&format!("HTTP/2 {expected}")), "{answer}");
            assert!(answer.contains("allow: GET, HEAD, OPTIONS"), "{answer}");
            assert!(!answer.contains("connection:"), "{answer}");
        }
        // curl goes on sending; the answer must not be lost over that.
        let body = "x".repeat(100_000);
        let answer = ask(&server, "", &["-i", "--data-binary", &body]);
        assert!(answer.starts_with("HTTP/2 413") && answer.contains("65536"), "{answer}");
    }

    #[test]
    fn wire_shows_a_line_for_each_frame() {
        let server = Server::start_with(BIN, &[("WIRE", "1")]);
        ask(&server, "", &[]);
        let data = format!("< DATA stream 1 END_STREAM {} bytes: {PAGE}", PAGE.len());
        wait_until("frames", || server.stderr().contains(&data));
        let said = server.stderr();
        for line in [
            "#1 > PRI * HTTP/2.0",
            "#1 > SETTINGS stream 0 ",
            "#1 < SETTINGS stream 0 ACK 0 bytes",
            "#1 > HEADERS stream 1 END_STREAM END_HEADERS ",
            "#1 < HEADERS stream 1 END_HEADERS ",
        ] {
            let has = said.lines().any(|said| said.starts_with(line));
            assert!(has, "{line:?} in {said}");
        }
    }

    /// A 304 has no body, and no length of one (RFC 9110 section 8.6).
    #[test]
    fn a_304_has_no_length() {
        let server = Server::start(BIN);
        let page = ask(&server, "tiles", &["-I"]);
        assert!(page.contains("content-length: "), "{page}");
        let etag = page.lines().find_map(|line| line.strip_prefix("etag: "));
        let known = format!("If-None-Match: {}", etag.expect("an ETag"));
        for method in [&["-I"][..], &["-i"]] {
            let answer = ask(&server, "tiles", &[method, &["-H", &known]].concat());
            assert!(answer.starts_with("HTTP/2 304"), "{answer}");
            assert!(!answer.contains("content-length"), "{answer}");
        }
    }

    #[test]
    fn tiles_are_pictures_that_take_as_long_as_asked() {
        let server = Server::start(BIN);
        for path in
            ["/tile/0.svg", "/tile/199.svg?delay=2000", "/tile/7.svg?delay=0&page=a"]
        {
            let answer = server.get(path).expect(200).header("cache-control", "no-store");
            answer
                .header("content-type", "image/svg+xml; charset=utf-8")
                .contains("<svg");
        }
        for path in
            ["200.svg", "-1.svg", "+1.svg", "01.svg", "1.png", "x.svg", ".svg", ""]
        {
            server.get(&format!("/tile/{path}")).expect(404).body("NOT FOUND");
        }
        for query in
            ["delay=2001", "delay=-1", "delay=x", "delay=", "delay=1.5", "delay=%ff"]
        {
            server.get(&format!("/tile/1.svg?{query}")).expect(400).contains("delay");
        }
        for query in ["page=", "page=a%20b", "page=%3Cb%3E"] {
            server.get(&format!("/tile/1.svg?{query}")).expect(400).contains("page");
        }
        let long = "x".repeat(41);
        server.get(&format!("/tile/1.svg?page={long}")).expect(400);
    }

    #[test]
    fn the_page_has_what_it_needs_and_nothing_from_elsewhere() {
        let server = Server::start(BIN);
        let page = server.get("/tiles").expect(200);
        let page = page.header(
            "content-security-policy",
            "default-src 'self'; form-action 'self'; frame-ancestors 'none'",
        );
        let script = server.get("/tiles.js").expect(200);
        for text in [page.text(), script.text(), server.get("/tiles.css").text()] {
            let foreign = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!foreign.contains("http://") && !foreign.contains("https://"));
        }
    }

    #[test]
    fn the_server_counts_connections_and_streams_of_each_page() {
        let server = Server::start(BIN);
        let mut all = PREFACE.to_vec();
        for n in 0..200 {
            let path = format!("/tile/{n}.svg?page=one&delay=20");
            all.extend(request(2 * n + 1, "GET", &path));
        }
        all.extend(Frame::bytes(GOAWAY, 0, 0, &[0; 8])); // the last of them
        let answers = frames(&mut server.connect_tls(&["h2"]), &all);
        let ends = answers.iter().filter(|f| f.kind == DATA && f.flags & END_STREAM != 0);
        assert_eq!(ends.count(), 200);
        for n in 0..3 {
            let mut client = server.connect();
            client
                .request("GET", &format!("/tile/{n}.svg?page=two"), &[], b"")
                .expect(200);
            client.request("GET", "/tile/9.svg?page=two", &[], b"").expect(200);
        }
        for (page, connections, streams) in
            [("one", 1, 200), ("two", 3, 6), ("none", 0, 0)]
        {
            let count = ask(&server, &format!("tiles/count?page={page}"), &[]);
            assert_eq!(number(&count, "connections"), connections, "{count}");
            assert_eq!(number(&count, "streams"), streams, "{count}");
            assert!(count.contains("\"protocol\":\"HTTP/2.0\""), "{count}");
        }
    }

    #[test]
    fn counts_of_more_pages_than_there_is_room_for_are_forgotten() {
        let server = Server::start(BIN);
        let mut client = server.connect();
        for n in 0..=100 {
            let path = format!("/tile/0.svg?page=p{n}");
            client.request("GET", &path, &[], b"").expect(200);
        }
        for (page, streams) in [("p0", 0), ("p1", 1), ("p100", 1)] {
            let count = ask(&server, &format!("tiles/count?page={page}"), &[]);
            assert_eq!(number(&count, "streams"), streams, "{page}: {count}");
        }
    }

    /// What raw frames over TLS are answered with until the connection ends.
    fn frames(client: &mut Client, bytes: &[u8]) -> Vec<Frame> {
        client.send(bytes);
        let mut answer = client.read_to_end();
        std::iter::from_fn(|| Frame::take(&mut answer)).collect()
    }

    #[test]
    fn floods_end_their_own_connection_and_nothing_else() {
        let mut server = Server::start(BIN);
        let mut neighbour = server.connect();
        let slow = std::thread::scope(|scope| {
            let slow = scope.spawn(|| status(&server, "tile/0.svg?delay=1000", &[]));
            let mut reset = PREFACE.to_vec();
            for stream in (1..4000).step_by(2) {
                reset.extend(request(stream, "GET", "/tile/0.svg?delay=2000"));
                reset.extend(Frame::bytes(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
            }
            let mut fields = PREFACE.to_vec();
            fields.extend(Frame::bytes(HEADERS, 0, 1, &block("GET", "/", &[])));
            for _ in 0..50 {
                let more = b"\0\x01x\x01y".repeat(3000);
                fields.extend(Frame::bytes(CONTINUATION, 0, 1, &more));
            }
            for flood in [reset, fields] {
                let frames = frames(&mut server.connect_tls(&["h2"]), &flood);
                let error = frames.iter().filter_map(Frame::error).next_back();
                assert_eq!(error, Some(ENHANCE_YOUR_CALM), "{frames:?}");
            }
            slow.join().unwrap()
        });
        assert_eq!(slow, "2 200");
        neighbour.request("GET", "/", &[], b"").expect(200);
        assert!(server.is_running());
    }

    #[test]
    fn what_is_no_http_2_ends_the_connection() {
        let mut server = Server::start(BIN);
        for bytes in [
            &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
            &[PREFACE, &[0xff; 100]].concat(),
            &[PREFACE, &Frame::bytes(DATA, 0, 1, b"no head")].concat(),
            &[PREFACE, &Frame::bytes(HEADERS, 5, 2, &block("GET", "/", &[]))].concat(),
            &[PREFACE, &Frame::bytes(HEADERS, 5, 1, &[0xff; 20])].concat(),
        ] {
            frames(&mut server.connect_tls(&["h2"]), bytes);
            assert!(server.is_running());
        }
        assert_eq!(status(&server, "", &[]), "2 200");
    }

    #[cfg(unix)]
    #[test]
    fn streams_in_flight_are_finished_when_the_server_stops() {
        let mut server = Server::start(BIN);
        let url = format!("{}tile/[0-9].svg?delay=1500&page=last", server.url);
        let shown = ["-Z", "-o", "/dev/null", "-w", "%{http_code} "];
        let mut command = curl(&server, &shown);
        let child = command
            .arg(url)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_until("ten requests", || {
            let count = server.get("/tiles/count?page=last");
            number(count.text(), "streams") == 10
        });
        server.signal("TERM");
        let output = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "200 ".repeat(10));
        assert_eq!(server.wait().code(), Some(0), "{}", server.stderr());
    }
}

/// The number with this name in a JSON object.
#[track_caller]
fn number(json: &str, name: &str) -> u64 {
    let rest = json.split(&format!("\"{name}\":")).nth(1);
    let rest = rest.unwrap_or_else(|| panic!("{name} in {json}"));
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    digits.parse().unwrap_or_else(|_| panic!("{name} in {json}"))
}

/// Yours to solve; README.md, "Try it", says how to begin: `cargo test -p http2 -- --ignored`.
mod exercise {
    use super::*;

    #[test]
    #[ignore = "exercise: GET /protocol says which protocol it was"]
    fn a_path_says_the_protocol() {
        let server = Server::start(BIN).exercise(
            "request.version() is a Version, and {:?} shows it; the row for /protocol stands before \
             that for any path",
        );
        for (option, protocol) in [("--http2", "HTTP/2.0"), ("--http1.1", "HTTP/1.1")] {
            let options = [option, "--max-time", "3"];
            let came = ask(&server, "protocol", &options);
            if came != protocol {
                let curl = curl(&server, &options);
                server.fail(format_args!(
                    "expected {protocol}\n  request: {curl:?} {}protocol\n  answer: {came}",
                    server.url
                ));
            }
        }
        let answer = server.get("/protocol").expect(200).body("HTTP/1.1");
        answer.header("content-type", "text/plain; charset=utf-8");
        server.request("POST", "/protocol", &[], "").expect(405).allows(&["GET", "HEAD"]);
        server.get("/protocols").expect(200).body(PAGE);
    }

    #[test]
    #[ignore = "exercise: H2_STREAMS says how many requests a connection may have at once"]
    fn streams_at_once_can_be_set() {
        // SETTINGS_MAX_CONCURRENT_STREAMS, number 3 (RFC 9113 section 6.5.2).
        let announced = |server: &Server| {
            let mut client = server.connect_tls(&["h2"]);
            client.send(PREFACE);
            let mut bytes = Vec::new();
            loop {
                if let Some(frame) = Frame::take(&mut bytes) {
                    if frame.kind == SETTINGS {
                        let mut settings = frame.payload.chunks_exact(6);
                        let streams = settings.find(|setting| setting[..2] == [0, 3]);
                        return streams
                            .map(|s| u32::from_be_bytes([s[2], s[3], s[4], s[5]]));
                    }
                } else {
                    bytes.extend(client.try_read().expect("the server's settings"));
                }
            }
        };
        for (variable, streams) in [("6", 6), ("1", 1), ("", 256)] {
            let server = Server::start_with(BIN, &[("H2_STREAMS", variable)]).exercise(
                "settings::number(\"H2_STREAMS\", 1..=1000, 6)? in main(), and from there through \
                 speak() to http2(), as one more argument; the compiler names every caller",
            );
            let came = announced(&server);
            if came != Some(streams) {
                server.fail(format_args!(
                    "H2_STREAMS={variable}: expected {streams} streams, the server's SETTINGS \
                     frame says {came:?}"
                ));
            }
            // A client that keeps to it loses nothing.
            let url = format!("tile/[0-19].svg?page=streams{streams}");
            ask(&server, &url, &["-Z", "-o", "/dev/null"]);
            let count = ask(&server, &format!("tiles/count?page=streams{streams}"), &[]);
            if number(&count, "streams") != 20 {
                server.fail(format_args!("expected 20 streams for 20 pictures: {count}"));
            }
        }
        for wrong in ["0", "1001", "x"] {
            let vars = [("H2_STREAMS", wrong)];
            Server::cannot_start(BIN, &vars, &["H2_STREAMS=", wrong]);
        }
    }
}

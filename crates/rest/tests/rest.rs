//! Lesson 3 over the wire.

use testkit::Server;

const BIN: &str = env!("CARGO_BIN_EXE_rest");

testkit::every_lesson!(super::BIN);

/// Adds a user and returns the path that the server gave it.
#[track_caller]
fn add(server: &Server, name: &str) -> String {
    let body = format!("{{\"name\":\"{name}\"}}");
    server.request("POST", "/user", &[], body).expect(201);
    let users = server.get("/users").expect(200);
    let users = users.text();
    // The Node twin sends no Location, so the id is looked up: the last one with this name.
    let end = users.rfind(&format!("\":\"{name}\"")).expect("the new user in /users");
    let start = users[..end].rfind('"').expect("the start of the id") + 1;
    format!("/user/{}", &users[start..end])
}

/// What the Node original does too: these run against any server, by `TEST_URL`.
mod parity {
    use super::*;

    #[test]
    fn the_front_page_and_about_are_html() {
        let server = Server::parity(BIN);
        for (path, part) in [("/", "<form"), ("/about", "<h1>")] {
            server
                .get(path)
                .hint("files.page(&request, …) with html/rest/restFront.html and about.html")
                .expect(200)
                .header("content-type", "text/html; charset=utf-8")
                .contains(part);
        }
    }

    #[test]
    fn assets_of_the_page_are_served() {
        let server = Server::parity(BIN);
        let page = server.get("/").expect(200);
        assert!(page.text().contains("/restFront.js"));
        server.get("/restFront.css").expect(200).contains("{");
        server.get("/restFront.js").expect(200).contains("fetch(");
    }

    #[test]
    fn a_user_is_added_read_changed_and_deleted() {
        let server = Server::parity(BIN);
        let path = add(&server, "Annie-parity");
        let id = path.trim_start_matches("/user/");

        let users = server.get("/users").expect(200);
        let users = users.header("content-type", "application/json; charset=utf-8");
        let users = users.contains(&format!("\"{id}\":\"Annie-parity\""));
        assert!(users.text().starts_with('{') && users.text().ends_with('}'));

        server
            .request("PUT", &path, &[], r#"{"name":"Bob-parity"}"#)
            .hint("PUT answers with all users, the changed one among them")
            .expect(200)
            .contains(&format!("\"{id}\":\"Bob-parity\""));
        let left = server.request("DELETE", &path, &[], "").expect(200);
        assert!(!left.text().contains(id), "{}", left.text());
        assert!(!server.get("/users").expect(200).text().contains(id));
    }

    #[test]
    fn a_new_user_is_answered_with_201() {
        let server = Server::parity(BIN);
        server
            .request("POST", "/user", &[], r#"{"name":"created-parity"}"#)
            .expect(201)
            .header("content-type", "text/plain; charset=utf-8")
            .body("등록 성공");
    }

    #[test]
    fn a_name_may_be_any_text() {
        let server = Server::parity(BIN);
        for name in ["안니 😀", "<b>&amp;", "a/b?c=d"] {
            let path = add(&server, name);
            let body = format!(r#"{{"name":"{name}!"}}"#);
            let all = server.request("PUT", &path, &[], body).expect(200);
            all.contains(&format!("\"{name}!\""));
        }
    }

    #[test]
    fn a_character_may_be_split_over_two_pieces_of_a_body() {
        let server = Server::parity(BIN);
        let body = r#"{"name":"안split-parity"}"#.as_bytes();
        let mut client = server.connect();
        client.send(format!(
            "POST /user HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
            body.len()
        ));
        let (first, second) = body.split_at(10); // inside 안
        client.send(first);
        std::thread::sleep(std::time::Duration::from_millis(50)); // two reads, not one
        client.send(second);
        client.read_answer().expect(201);
        server.get("/users").contains("\"안split-parity\"");
    }

    #[test]
    fn an_unknown_path_is_404() {
        let server = Server::parity(BIN);
        server.get("/nosuch").expect(404).body("NOT FOUND");
    }
}

/// Where ours is better than the original.
mod hardened {
    use super::*;

    #[test]
    fn an_allow_names_only_what_the_path_takes() {
        let server = Server::start(BIN);
        for (path, methods) in [
            ("/users", "GET, HEAD, OPTIONS"),
            ("/user", "POST, OPTIONS"),
            ("/restFront.js", "GET, HEAD, OPTIONS"),
        ] {
            for method in ["TRACE", "BREW"] {
                server
                    .request(method, path, &[], "")
                    .expect(405)
                    .header("allow", methods);
            }
            server.request("OPTIONS", path, &[], "").expect(204).header("allow", methods);
        }
        server.request("OPTIONS", "/nosuch", &[], "").expect(404);
    }

    #[test]
    fn a_second_signal_ends_a_server_whose_output_is_stuck() {
        testkit::every_lesson::a_second_signal_ends_a_server_whose_output_is_stuck(BIN);
    }

    const NAMED: &str = r#"{"name":"Annie"}"#;

    #[test]
    fn an_added_user_has_a_location_that_answers() {
        let server = Server::start(BIN);
        let added = server.request("POST", "/user", &[], NAMED).expect(201);
        let location = added.get("location").expect("Location");
        server
            .get(location)
            .expect(200)
            .header("content-type", "application/json; charset=utf-8")
            .body(r#"{"name":"Annie"}"#);
        let id = location.trim_start_matches("/user/");
        server.get("/users").body(&format!("{{\"{id}\":\"Annie\"}}"));
        let bob = r#"{"name":"Bob"}"#;
        for method in ["PUT", "PATCH"] {
            server
                .request(method, location, &[], bob)
                .expect(200)
                .header("content-type", "application/json; charset=utf-8")
                .body(&format!("{{\"{id}\":\"Bob\"}}"));
        }
        server
            .request("DELETE", location, &[], "")
            .expect(200)
            .header("content-type", "application/json; charset=utf-8")
            .body("{}");
        for method in ["GET", "PUT", "PATCH", "DELETE"] {
            let body = if method == "GET" { "" } else { bob };
            server.request(method, location, &[], body).expect(404).body("NOT FOUND");
        }
    }

    #[test]
    fn ids_that_were_never_given_out_are_404() {
        let server = Server::start(BIN);
        for path in [
            "/user/",
            "/user/1",
            "/user/-1",
            "/user/x",
            "/user/1/2",
            "/user/99999999999999999999",
        ] {
            server.get(path).expect(404);
            server.request("PUT", path, &[], NAMED).expect(404);
            server.request("DELETE", path, &[], "").expect(404);
        }
        server.get("/users").body("{}");
    }

    #[test]
    fn an_id_has_one_name() {
        let server = Server::start(BIN);
        let path = add(&server, "Annie");
        let id = path.trim_start_matches("/user/");
        for other in [format!("+{id}"), format!("0{id}"), format!("{id}.0")] {
            server.get(&format!("/user/{other}")).expect(404);
        }
    }

    #[test]
    fn users_keep_the_order_in_which_they_came_and_no_id_comes_twice() {
        let server = Server::start(BIN);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let server = &server;
                scope.spawn(move || {
                    let mut client = server.connect();
                    for n in 0..50 {
                        let body = format!(r#"{{"name":"{thread}-{n}"}}"#);
                        client.request("POST", "/user", &[], body.as_bytes()).expect(201);
                    }
                });
            }
        });
        let users = server.get("/users");
        let users: Vec<(u64, &str)> = users
            .text()
            .trim_matches(['{', '}'])
            .split(',')
            .map(|user| user.split_once(':').expect("id and name"))
            .map(|(id, name)| (id.trim_matches('"').parse().expect("id"), name))
            .collect();
        assert_eq!(users.len(), 200);
        assert!(users.is_sorted_by(|a, b| a.0 < b.0), "{users:?}");
    }

    #[test]
    fn a_wrong_body_is_400_with_a_reason_and_changes_nothing() {
        let server = Server::start(BIN);
        let path = add(&server, "Annie");
        let before = server.get("/users");
        let too_long = format!(r#"{{"name":"{}"}}"#, "가".repeat(101));
        let cases: [(&[u8], &str); 13] = [
            (b"", "JSON"),
            (b"{", "JSON"),
            (b"{\"name\":Annie}", "1행 9열"),
            (b"{\n\"name\":\n}", "3행 1열"),
            (b"{\"name\":\"a\"}x", "JSON"),
            (b"{\"name\":\"\xff\"}", "JSON"),
            (b"{}", "name"),
            (b"[]", "name"),
            (b"\"Annie\"", "name"),
            (b"{\"name\":1}", "name"),
            (b"{\"name\":null}", "name"),
            (b"{\"name\":\"\"}", "name"),
            (too_long.as_bytes(), "100"),
        ];
        for (body, reason) in cases {
            for (method, path) in [("POST", "/user"), ("PUT", &*path), ("PATCH", &*path)]
            {
                let answer = server.request(method, path, &[], body).expect(400);
                let answer = answer.header("content-type", "text/plain; charset=utf-8");
                let answer = answer.contains(reason);
                assert_eq!(answer.text().lines().count(), 1, "one line of reason");
            }
        }
        server.get("/users").body(before.text());
        let longest = format!(r#"{{"name":"{}"}}"#, "가".repeat(100));
        server.request("POST", "/user", &[], longest).expect(201);
    }

    #[test]
    fn bodies_are_printed_with_their_control_characters_escaped() {
        let server = Server::start(BIN);
        let path = add(&server, "Annie");
        server.wait_for_output("POST 본문(Body): {\"name\":\"Annie\"}\n");
        server.request("PUT", &path, &[], "\x1b[2J\r\nforged\u{202e}").expect(400);
        server.wait_for_output("PUT 본문(Body): \\u{1b}[2J\\r\\nforged\\u{202e}\n");
    }

    /// Adds users with names of 600 bytes as JSON until the list is full: about 1 MiB.
    fn fill(server: &Server) {
        let name = "\\u0001".repeat(100);
        let body = format!(r#"{{"name":"{name}"}}"#);
        let mut client = server.connect();
        loop {
            let answer = client.request("POST", "/user", &[], body.as_bytes());
            if answer.status == 507 {
                answer.contains("1048576");
                return;
            }
            answer.expect(201);
        }
    }

    #[test]
    fn a_list_over_1_mib_is_507_and_nothing_is_lost() {
        let server = Server::start(BIN);
        let first = add(&server, "a");
        fill(&server);
        let before = server.get("/users");
        assert!((1_047_000..=1_048_576).contains(&before.body.len()));
        let longer = format!(r#"{{"name":"{}"}}"#, "\\u0001".repeat(100));
        server.request("PUT", &first, &[], &longer).expect(507);
        server.request("PATCH", &first, &[], &longer).expect(507);
        assert!(server.get("/users").body == before.body, "the list is as it was");
        server.request("PUT", &first, &[], r#"{"name":"b"}"#).expect(200);
    }

    /// All answers share the bytes of one list, and a list has a limit.
    #[cfg(target_os = "linux")]
    #[test]
    fn answers_that_nobody_reads_cost_little_memory() {
        let server = Server::start(BIN);
        let first = add(&server, "a");
        fill(&server);
        let before = server.memory();
        let put = |name| {
            let body = format!(r#"{{"name":"{name}"}}"#);
            let length = body.len();
            format!(
                "PUT {first} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}"
            )
        };
        let unread: Vec<_> = (b'a'..=b't')
            .map(|name| {
                let mut client = server.connect();
                client.send(put(name as char));
                server.wait_for_output(&format!(
                    "PUT 본문(Body): {{\"name\":\"{}\"}}\n",
                    name as char
                ));
                client
            })
            .collect();
        let more = server.memory().saturating_sub(before);
        assert!(more < 64 * 1024, "{more} KiB for {} answers", unread.len());
    }

    /// What a body costs does not depend on how it is cut: each is collected in one buffer.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_body_in_pieces_of_one_byte_costs_as_much_as_a_whole_one() {
        let server = Server::start(BIN);
        let before = server.memory();
        let head = "POST /user HTTP/1.1\r\nHost: a\r\n";
        let pieces = format!("{head}Transfer-Encoding: chunked\r\n\r\n")
            + &"1\r\nx\r\n".repeat(30_000);
        let unfinished: Vec<_> = (0..20)
            .map(|_| {
                let mut client = server.connect();
                client.send(&pieces);
                client
            })
            .collect();
        for mut client in unfinished {
            client.send("z\r\n"); // no length: what was sent before has been read
            // 600,000 chunks in a debug build, on a machine with other things to do.
            client.set_patience(std::time::Duration::from_secs(100));
            client.read_answer().expect(400);
        }
        let more = server.memory().saturating_sub(before);
        assert!(more < 3 * 1024, "{more} KiB for 20 bodies of 30,000 bytes");
    }

    #[test]
    fn the_10_001st_user_is_507_and_nothing_is_lost() {
        let server = Server::start(BIN);
        let mut client = server.connect();
        // A hundred requests at once, then their hundred answers.
        let post = format!(
            "POST /user HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{NAMED}",
            NAMED.len()
        );
        for _ in 0..100 {
            client.send(post.repeat(100));
            for _ in 0..100 {
                client.read_answer().expect(201);
            }
        }
        let before = server.get("/users");
        server.request("POST", "/user", &[], NAMED).expect(507).contains("10000");
        let after = server.get("/users");
        assert!(before.body == after.body, "the list is as it was");
        assert_eq!(after.text().matches("Annie").count(), 10_000);
    }

    #[test]
    fn a_wrong_method_is_405_and_options_204_both_with_allow() {
        let server = Server::start(BIN);
        for (path, wrong, allowed) in [
            ("/", "POST", &["GET", "HEAD", "OPTIONS"][..]),
            ("/about", "DELETE", &["GET", "HEAD"]),
            ("/users", "PUT", &["GET", "HEAD"]),
            ("/user", "GET", &["POST"]),
            ("/user/1", "POST", &["GET", "HEAD", "PUT", "PATCH", "DELETE"]),
            ("/restFront.js", "POST", &["GET", "HEAD"]),
        ] {
            server.request(wrong, path, &[], "").expect(405).allows(allowed);
            let options =
                server.request("OPTIONS", path, &[], "").expect(204).allows(allowed);
            options.no_header("content-length");
        }
        server.request("POST", "/nosuch", &[], "").expect(404);
    }

    #[test]
    fn files_have_types_validators_and_no_way_out_of_their_folder() {
        let server = Server::start(BIN);
        for (path, media) in [
            ("/restFront.css", "text/css; charset=utf-8"),
            ("/restFront.js", "text/javascript; charset=utf-8"),
            ("/about.html", "text/html; charset=utf-8"),
        ] {
            let file = server.get(path).expect(200).header("content-type", media);
            let file = file.header("x-content-type-options", "nosniff");
            let etag = file.get("etag").expect("ETag").to_owned();
            for tags in [&*etag, &format!("W/{etag}"), &format!("\"x\", {etag}"), "*"] {
                let answer = server.request("GET", path, &[("If-None-Match", tags)], "");
                answer.expect(304).header("etag", &etag).no_header("content-length");
            }
            let other = [("If-None-Match", "\"x\"")];
            server.request("GET", path, &other, "").expect(200);
        }
        for path in [
            "/../rest/restFront.js",
            "/../server-html.html",
            "/%2e%2e/server-html.html",
            "/%2e%2e%2fserver-html.html",
            "/..%5cserver-html.html",
            "/.%2e/%2e./Cargo.toml",
            "//etc/passwd",
            "/%2Fetc%2Fpasswd",
            "/restFront.js/",
            "/restFront.js%00",
            "/./restFront.js",
            "/%ff",
            "/%",
        ] {
            server.get(path).expect(404).body("NOT FOUND");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_out_of_the_folder_is_404() {
        use std::os::unix::fs::symlink;
        let html = testkit::TempDir::new();
        let rest = html.path().join("rest");
        std::fs::create_dir(&rest).unwrap();
        std::fs::write(html.path().join("secret.txt"), "secret").unwrap();
        std::fs::write(rest.join("inside.txt"), "inside").unwrap();
        symlink("../secret.txt", rest.join("file.txt")).unwrap();
        symlink("..", rest.join("up")).unwrap();
        symlink("inside.txt", rest.join("link.txt")).unwrap();
        symlink("itself", rest.join("itself")).unwrap();
        let html = html.path().to_str().unwrap();
        let server = Server::start_with(BIN, &[("HTML_DIR", html)]);
        server.get("/link.txt").expect(200).body("inside");
        server.get("/file.txt").expect(404);
        server.get("/up/secret.txt").expect(404);
        server.get("/up").expect(404);
        server.get("/itself").expect(404);
    }

    /// What a client puts into a path must not forge a line of the log or drive the terminal.
    #[cfg(unix)]
    #[test]
    fn a_path_is_escaped_in_the_log() {
        use std::os::unix::fs::symlink;
        let html = testkit::TempDir::new();
        let rest = html.path().join("rest");
        std::fs::create_dir(&rest).unwrap();
        // A file that is there and cannot be read, whoever asks: it is too large.
        let large = std::fs::File::create(rest.join("large")).unwrap();
        large.set_len(1 << 30).unwrap();
        symlink("large", rest.join("a\nforged\u{1b}[2J\u{200e}")).unwrap();
        let html = html.path().to_str().unwrap();
        let server = Server::start_with(BIN, &[("HTML_DIR", html)]);
        server.get("/a%0Aforged%1B%5B2J%E2%80%8E").expect(500);
        testkit::wait_until("a line", || server.stderr().contains("forged"));
        let said = server.stderr();
        assert!(said.contains("a\\nforged\\u{1b}[2J\\u{200e}"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }

    #[test]
    fn without_its_folder_of_pages_it_cannot_start() {
        let folder = testkit::TempDir::new();
        let nowhere = folder.path().join("nowhere");
        let nowhere = nowhere.to_str().unwrap();
        Server::cannot_start(BIN, &[("HTML_DIR", nowhere)], &[nowhere, "HTML_DIR="]);
    }

    #[test]
    fn a_missing_page_is_500_with_a_reason_and_without_its_place() {
        let html = testkit::TempDir::new();
        let path = html.path().to_str().unwrap();
        let server = Server::start_with(BIN, &[("HTML_DIR", path)]);
        let answer = server.get("/").expect(500).contains("restFront.html");
        assert!(!answer.text().contains(path), "{}", answer.text());
        server.get("/users").expect(200);
    }
}

/// Yours to solve; README.md, "Try it", says how to begin: `cargo test -p rest -- --ignored`.
mod exercise {
    use super::*;

    #[test]
    #[ignore = "exercise: GET /users/count says how many users there are"]
    fn users_are_counted() {
        let server = Server::start(BIN).exercise(
            "a row for (\"GET\", \"/users/count\") in main.rs, a method count() in users.rs; \
             reply::json(…) makes the answer",
        );
        let count = |n: usize| {
            let answer = server.get("/users/count").expect(200);
            answer
                .header("content-type", "application/json; charset=utf-8")
                .json(&format!("{{\"count\":{n}}}"));
        };
        count(0);
        let annie = add(&server, "Annie");
        add(&server, "Bob");
        count(2);
        server.request("PUT", &annie, &[], r#"{"name":"Anne"}"#).expect(200);
        count(2);
        server.request("DELETE", &annie, &[], "").expect(200);
        count(1);
        server.request("DELETE", "/users/count", &[], "").expect(405).allows(&["GET"]);
        count(1);
    }

    #[test]
    #[ignore = "exercise: GET /users?name=An is the users whose names begin like that"]
    fn users_are_found_by_the_beginning_of_their_name() {
        let server = Server::start(BIN).exercise(
            "query::first(request.uri(), \"name\")? is the name, decoded; in users.rs \
             list.names.iter().filter(|(_, name)| name.starts_with(…)).collect()",
        );
        let (annie, anna) = (add(&server, "Annie"), add(&server, "Anna \\\"A\\\""));
        let (bob, an) = (add(&server, "Bob"), add(&server, "안니"));
        let found = |query: &str, users: &[(&str, &str)]| {
            let users = users.iter().map(|(path, name)| {
                format!("\"{}\":\"{name}\"", path.trim_start_matches("/user/"))
            });
            let json = format!("{{{}}}", users.collect::<Vec<_>>().join(","));
            let answer = server.get(&format!("/users{query}")).expect(200).json(&json);
            answer.header("content-type", "application/json; charset=utf-8");
        };
        let all =
            [(&*annie, "Annie"), (&anna, r#"Anna \"A\""#), (&bob, "Bob"), (&an, "안니")];
        found("?name=An", &all[..2]);
        found("?name=Anna%20%22", &all[1..2]);
        found("?name=%EC%95%88", &all[3..]);
        found("?name=nobody", &[]);
        for everybody in ["", "?", "?name=", "?sort=name"] {
            found(everybody, &all);
        }
        server.get("/users?name=%FF").expect(400).contains("name");
        server.request("DELETE", &annie, &[], "").expect(200);
        found("?name=An", &all[1..2]);
    }
}

//! Lesson 2 over the wire.

use std::fs;
use std::path::PathBuf;

use testkit::{Answer, Server, TempDir};

const BIN: &str = env!("CARGO_BIN_EXE_fs-html");

testkit::every_lesson!(super::BIN);

/// What the Node original does too: these run against any server, by `TEST_URL`.
mod parity {
    use super::*;

    #[test]
    fn any_path_is_the_file() {
        let server = Server::parity(BIN);
        let file = page();
        for path in ["/", "/any/path", "/?query", "/favicon.ico", "/../../etc/passwd"] {
            server
                .get(path)
                .hint("files.page(&request, \"server-html.html\"), whatever the path")
                .expect(200)
                .body(&file);
        }
    }

    #[test]
    fn many_requests_go_over_one_connection() {
        let server = Server::parity(BIN);
        let mut client = server.connect();
        let file = page();
        for _ in 0..100 {
            client.request("GET", "/", &[], b"").expect(200).body(&file);
        }
    }

    /// The file that both ours and the Node twin serve.
    fn page() -> String {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../html/server-html.html");
        fs::read_to_string(file).expect("the page")
    }
}

/// Where ours is better than the original.
mod hardened {
    use super::*;

    /// A server with a folder of its own, in which a test may do what it likes.
    struct Own {
        server: Server,
        html: TempDir,
    }

    impl Own {
        fn start(page: &str) -> Self {
            let html = TempDir::new();
            fs::write(html.path().join("server-html.html"), page).expect("a page");
            let path = html.path().to_str().expect("UTF-8");
            let server = Server::start_with(BIN, &[("HTML_DIR", path)]);
            Self { server, html }
        }

        fn file(&self) -> PathBuf {
            self.html.path().join("server-html.html")
        }

        /// 500 with a reason that does not say where the folder is; then the page again.
        #[track_caller]
        fn fails_and_recovers(&self) {
            let path = self.html.path().to_str().expect("UTF-8");
            for _ in 0..2 {
                let answer =
                    self.server.get("/").expect(500).contains("server-html.html");
                let answer = answer.header("content-type", "text/plain; charset=utf-8");
                let answer = answer.header("x-content-type-options", "nosniff");
                assert!(!answer.text().contains(path), "{}", answer.text());
                assert_eq!(answer.text().lines().count(), 1, "one line of reason");
            }
            // Whoever runs the server is told where.
            testkit::wait_until("the path on stderr", || {
                self.server.stderr().contains(path)
            });
            if self.file().is_dir() {
                fs::remove_dir(self.file()).expect("the test's own file");
            } else {
                let _ = fs::remove_file(self.file());
            }
            fs::write(self.file(), "back").expect("the test's own file");
            self.server.get("/").expect(200).body("back");
        }
    }

    fn etag(answer: &Answer) -> String {
        answer.get("etag").expect("ETag").to_owned()
    }

    #[test]
    fn the_page_has_all_the_headers_of_a_page() {
        let server = Server::start(BIN);
        let get = server.get("/").expect(200);
        let get = get.header("content-type", "text/html; charset=utf-8");
        let get = get.header("x-content-type-options", "nosniff");
        let get = get.header(
            "content-security-policy",
            "default-src 'self'; form-action 'self'; frame-ancestors 'none'",
        );
        let length = get.body.len().to_string();
        let get = get.header("content-length", &length);
        let head = server.request("HEAD", "/", &[], "").expect(200).body("");
        for name in ["content-type", "content-length", "etag", "content-security-policy"]
        {
            assert_eq!(head.get(name), get.get(name), "{name}");
        }
    }

    #[test]
    fn an_edit_shows_at_the_next_request() {
        // Of the same length, and faster than the clocks of file systems tick.
        let own = Own::start("page 000");
        let mut client = own.server.connect();
        let mut tags = Vec::new();
        for n in 0..200 {
            let page = format!("page {n:03}");
            fs::write(own.file(), &page).unwrap();
            let answer = client.request("GET", "/", &[], b"").expect(200).body(&page);
            tags.push(etag(&answer));
        }
        tags.sort();
        tags.dedup();
        assert_eq!(tags.len(), 200, "another page is another tag");
    }

    #[test]
    fn an_edit_that_hides_its_time_shows() {
        // As `cp -p` does: the same length and, by its own word, from long ago.
        let own = Own::start("page 000");
        for n in 0..200 {
            let page = format!("page {n:03}");
            fs::write(own.file(), &page).unwrap();
            let file = fs::File::options().write(true).open(own.file()).unwrap();
            file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
            own.server.get("/").expect(200).body(&page);
        }
    }

    #[test]
    fn an_edit_of_a_file_that_was_quiet_shows() {
        // One that has not changed for a while is kept in memory, and looked at with `stat`.
        let own = Own::start("page 1");
        let written = fs::metadata(own.file()).unwrap().modified().unwrap();
        let age = || written.elapsed().unwrap_or_default().as_millis();
        testkit::wait_until("a file that is no longer new", || age() > 2200);
        for _ in 0..3 {
            own.server.get("/").expect(200).body("page 1");
        }
        fs::write(own.file(), "page 2").unwrap();
        own.server.get("/").expect(200).body("page 2");
        // What editors do: write another file and rename it over the old one.
        fs::write(own.html.path().join("new"), "page 3").unwrap();
        fs::rename(own.html.path().join("new"), own.file()).unwrap();
        own.server.get("/").expect(200).body("page 3");
    }

    #[test]
    fn a_page_is_never_half_old_half_new() {
        let page = |letter: &str| letter.repeat(200_000);
        let own = Own::start(&page("a"));
        std::thread::scope(|scope| {
            let readers: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        let mut client = own.server.connect();
                        for _ in 0..100 {
                            let answer = client.request("GET", "/", &[], b"").expect(200);
                            let first = answer.body[0];
                            assert_eq!(answer.body.len(), 200_000);
                            assert!(
                                answer.body.iter().all(|b| *b == first),
                                "two pages in one"
                            );
                        }
                    })
                })
                .collect();
            let new = own.html.path().join("new");
            let mut letters = ["a", "b", "c"].iter().cycle();
            while readers.iter().any(|reader| !reader.is_finished()) {
                fs::write(&new, page(letters.next().unwrap())).unwrap();
                fs::rename(&new, own.file()).unwrap();
            }
        });
    }

    #[test]
    fn a_client_with_a_good_copy_gets_304() {
        let own = Own::start("one");
        let ask =
            |tags: &str| own.server.request("GET", "/", &[("If-None-Match", tags)], "");
        let one = etag(&own.server.get("/").expect(200));
        for tags in [&*one, &format!("W/{one}"), &format!("\"x\", {one}"), "*"] {
            let answer = ask(tags).expect(304).header("etag", &one).body("");
            answer.header("cache-control", "no-cache").no_header("content-length");
        }
        ask("\"other\"").expect(200).body("one");
        fs::write(own.file(), "two").unwrap();
        let two = etag(&ask(&one).expect(200).body("two"));
        assert_ne!(one, two);
        // The tag comes from the content: what was good once is good again.
        fs::write(own.file(), "one").unwrap();
        ask(&one).expect(304);
        ask(&two).expect(200).body("one");
    }

    #[test]
    fn a_missing_file_is_500_until_it_is_back() {
        let own = Own::start("here");
        own.server.get("/").expect(200).body("here");
        fs::remove_file(own.file()).unwrap();
        own.fails_and_recovers();
    }

    #[test]
    fn a_file_that_was_never_there_is_served_once_it_is() {
        let own = Own::start("");
        fs::remove_file(own.file()).unwrap();
        own.fails_and_recovers();
    }

    #[test]
    fn an_empty_file_is_an_empty_page() {
        let own = Own::start("");
        own.server.get("/").expect(200).header("content-length", "0").body("");
    }

    #[test]
    fn a_folder_in_its_place_is_500() {
        let own = Own::start("here");
        own.server.get("/").expect(200);
        fs::remove_file(own.file()).unwrap();
        fs::create_dir(own.file()).unwrap();
        own.fails_and_recovers();
    }

    #[cfg(unix)]
    #[test]
    fn a_fifo_in_its_place_is_500_and_blocks_nobody() {
        let own = Own::start("here");
        own.server.get("/").expect(200);
        fs::remove_file(own.file()).unwrap();
        // Opening one waits for somebody who writes to it, for ever.
        let made = std::process::Command::new("mkfifo").arg(own.file()).status();
        assert!(made.expect("mkfifo").success());
        own.fails_and_recovers();
    }

    #[cfg(unix)]
    #[test]
    fn a_link_out_of_the_folder_is_500() {
        let own = Own::start("here");
        let outside = TempDir::new();
        fs::write(outside.path().join("secret"), "secret").unwrap();
        fs::remove_file(own.file()).unwrap();
        std::os::unix::fs::symlink(outside.path().join("secret"), own.file()).unwrap();
        own.fails_and_recovers();
    }

    #[cfg(unix)]
    #[test]
    fn an_unreadable_file_is_500() {
        use std::os::unix::fs::PermissionsExt;
        let own = Own::start("here");
        own.server.get("/").expect(200);
        fs::set_permissions(own.file(), fs::Permissions::from_mode(0o000)).unwrap();
        if fs::read(own.file()).is_ok() {
            return; // root may read anything
        }
        own.fails_and_recovers();
    }

    #[test]
    fn any_path_has_the_same_methods() {
        let server = Server::start(BIN);
        for path in ["/", "/any/path"] {
            for method in ["POST", "PUT", "PATCH", "DELETE", "BREW"] {
                let answer = server.request(method, path, &[], "").expect(405);
                answer
                    .allows(&["GET", "HEAD", "OPTIONS"])
                    .header("content-type", "text/plain; charset=utf-8");
            }
            let options = server.request("OPTIONS", path, &[], "").expect(204);
            options.allows(&["GET", "HEAD", "OPTIONS"]).no_header("content-length");
        }
    }
}

/// Yours to solve; README.md, "Try it", says how to begin: `cargo test -p fs-html -- --ignored`.
mod exercise {
    use super::*;

    /// A server with pages of its own.
    fn start(html: &TempDir, pages: &[(&str, &str)], hint: &str) -> Server {
        for (name, text) in pages {
            fs::write(html.path().join(name), text).expect("a page");
        }
        let path = html.path().to_str().expect("UTF-8");
        Server::start_with(BIN, &[("HTML_DIR", path)]).exercise(hint)
    }

    #[test]
    #[ignore = "exercise: GET /about is a page of its own, html/about.html"]
    fn about_is_a_page_of_its_own() {
        let html = TempDir::new();
        let pages = [("server-html.html", "front"), ("about.html", "about")];
        let server = start(
            &html,
            &pages,
            "match (request.method().as_str(), request.uri().path()) { … } has a row for each path",
        );
        server.get("/about").expect(200).body("about");
        server.get("/about?lang=ko").expect(200).body("about");
        for path in ["/", "/any/path", "/about/us", "/aboutus"] {
            server.get(path).expect(200).body("front");
        }
        server.request("POST", "/about", &[], "").expect(405).allows(&["GET", "HEAD"]);
        // And it is read anew, like any page.
        fs::write(html.path().join("about.html"), "ABOUT").unwrap();
        server.get("/about").expect(200).body("ABOUT");
        fs::remove_file(html.path().join("about.html")).unwrap();
        server.get("/about").expect(500).contains("about.html");
        // The page itself, which you wrote.
        let server = Server::start(BIN).exercise("write the page: html/about.html");
        server
            .get("/about")
            .expect(200)
            .header("content-type", "text/html; charset=utf-8");
    }

    #[test]
    #[ignore = "exercise: a browser that wants English gets html/server-html.en.html"]
    fn the_page_is_in_the_browsers_language() {
        let html = TempDir::new();
        let pages = [("server-html.html", "Korean"), ("server-html.en.html", "English")];
        let server = start(
            &html,
            &pages,
            "request.headers().get(ACCEPT_LANGUAGE) is an Option, and to_str() a Result: \
             `.and_then(|value| value.to_str().ok())` makes one Option of both",
        );
        for (language, page) in [
            ("en", "English"),
            ("en-GB,en;q=0.9,ko;q=0.8", "English"),
            ("ko,en;q=0.9", "Korean"),
            ("fr", "Korean"),
            ("\u{ff}", "Korean"),
        ] {
            let wants = [("Accept-Language", language)];
            let answer = server.request("GET", "/", &wants, "").expect(200).body(page);
            // Or a cache between them would send the one's page to the other.
            answer.header("vary", "accept-language");
        }
        server.get("/").expect(200).body("Korean").header("vary", "accept-language");
        let server = Server::start(BIN).exercise("write it: html/server-html.en.html");
        server.request("GET", "/", &[("Accept-Language", "en")], "").expect(200);
    }
}

//! Lesson 6 over the wire, with its sessions in memory and in a Redis of the test's own.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering::Relaxed};
use std::thread;

use serde_json::{Value, json};
use testkit::{Answer, RedisServer, Server, wait_until};

const BIN: &str = env!("CARGO_BIN_EXE_session");

testkit::every_lesson!(super::BIN);

/// Every byte as an escape: what a name is in a URL, however odd it is.
fn escaped(text: &str) -> String {
    text.bytes().map(|b| format!("%{b:02X}")).collect()
}

fn login(server: &Server, name: &str) -> Answer {
    server.get(&format!("/login?name={}", escaped(name)))
}

fn visit(server: &Server, path: &str, cookie: &str) -> Answer {
    server.request("GET", path, &[("Cookie", cookie)], "")
}

/// `session=…` of the one `Set-Cookie`, as a browser sends it back.
#[track_caller]
fn cookie(answer: &Answer) -> String {
    let cookies = answer.get_all("set-cookie");
    assert_eq!(cookies.len(), 1, "one cookie: {cookies:?}");
    cookies[0].split(';').next().unwrap_or_default().to_owned()
}

/// Logs in and returns the cookie.
#[track_caller]
fn session(server: &Server, name: &str) -> String {
    let cookie = cookie(&login(server, name).expect(302).header("location", "/"));
    assert!(cookie.starts_with("session="), "{cookie}");
    cookie
}

#[track_caller]
fn greets(server: &Server, cookie: &str, name: &str) {
    let answer = visit(server, "/", cookie).hint("store.name(id)").expect(200);
    answer
        .header("content-type", "text/plain; charset=utf-8")
        .body(&format!("{name}님 안녕하세요"));
}

#[track_caller]
fn does_not_know(server: &Server, cookie: &str) {
    let page = visit(server, "/", cookie).expect(200).contains("<form action=\"/login\"");
    page.header("content-type", "text/html; charset=utf-8");
}

/// What the Node original does too: these run against any server, by `TEST_URL`.
mod parity {
    use super::*;

    #[test]
    fn without_a_session_any_path_is_the_login_page() {
        let server = Server::parity(BIN);
        for path in ["/", "/favicon.ico", "/any/path"] {
            let page = server.get(path).hint("files.page(&request, \"cookie2.html\")");
            page.expect(200)
                .header("content-type", "text/html; charset=utf-8")
                .contains("<form action=\"/login\"")
                .contains("name=\"name\"");
        }
    }

    #[test]
    fn the_style_sheet_of_the_page_comes_with_and_without_a_session() {
        let server = Server::parity(BIN);
        server.get("/").contains("href=\"/cookie2.css\"");
        for cookie in ["", &session(&server, "Annie")] {
            visit(&server, "/cookie2.css", cookie)
                .hint("files.page(&request, \"cookie2.css\")")
                .expect(200)
                .header("content-type", "text/css; charset=utf-8")
                .contains("body {");
        }
    }

    #[test]
    fn the_browser_holds_a_number_and_no_name() {
        let server = Server::parity(BIN);
        let answer = login(&server, "parity").expect(302).header("location", "/");
        let field = answer.get("set-cookie").unwrap_or_default();
        assert!(field.starts_with("session=") && !field.contains("parity"), "{field}");
        for attribute in ["HttpOnly", "Path=/", "Expires="] {
            assert!(field.contains(&format!("; {attribute}")), "{attribute} in {field}");
        }
        greets(&server, &cookie(&answer), "parity");
    }

    #[test]
    fn a_session_greets_at_any_path() {
        let server = Server::parity(BIN);
        let session = session(&server, "안니 😀 \"a;b=c%\"");
        for path in ["/", "/favicon.ico", "/any/path?name=Bob"] {
            let greeting = visit(&server, path, &session).expect(200);
            greeting.body("안니 😀 \"a;b=c%\"님 안녕하세요");
        }
        greets(&server, &format!("a=1; {session}; b=2"), "안니 😀 \"a;b=c%\"");
    }

    #[test]
    fn two_browsers_are_two_sessions() {
        let server = Server::parity(BIN);
        let (annie, bob) = (session(&server, "Annie"), session(&server, "Bob"));
        assert_ne!(annie, bob);
        greets(&server, &annie, "Annie");
        greets(&server, &bob, "Bob");
    }

    #[test]
    fn a_logout_ends_the_session() {
        let server = Server::parity(BIN);
        let session = session(&server, "Annie");
        let answer = visit(&server, "/logout", &session).expect(302);
        let answer = answer.header("location", "/");
        assert_eq!(cookie(&answer), "session=");
        does_not_know(&server, &session);
    }
}

/// Where ours is better than the original.
mod hardened {
    use super::*;

    #[test]
    fn the_cookie_has_128_random_bits_and_all_its_attributes() {
        let server = Server::start(BIN);
        let answer = login(&server, "Annie").header("cache-control", "no-store");
        let field = answer.get("set-cookie").unwrap_or_default();
        let mut parts: Vec<&str> = field.split("; ").collect();
        let id = parts.remove(0).trim_start_matches("session=");
        assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
        parts.retain(|attribute| !attribute.starts_with("Expires="));
        parts.sort_unstable();
        assert_eq!(parts, ["HttpOnly", "Max-Age=300", "Path=/", "SameSite=Lax"]);
        visit(&server, "/", &cookie(&answer)).header("cache-control", "no-store");
    }

    #[test]
    fn ids_never_repeat_however_many_log_in_at_once() {
        let server = Server::start(BIN);
        let ids = thread::scope(|scope| {
            let logins = || {
                let mut client = server.connect();
                let login = || cookie(&client.request("GET", "/login?name=a", &[], b""));
                std::iter::repeat_with(login).take(250).collect::<Vec<_>>()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(logins)).collect();
            threads.into_iter().flat_map(|t| t.join().unwrap()).collect::<Vec<_>>()
        });
        let different: std::collections::HashSet<_> = ids.iter().collect();
        assert_eq!((ids.len(), different.len()), (1000, 1000));
        greets(&server, &ids[0], "a");
    }

    #[test]
    fn a_login_ends_the_session_before_it() {
        let server = Server::start(BIN);
        let first = session(&server, "Annie");
        let second = cookie(&visit(&server, "/login?name=Bob", &first).expect(302));
        assert_ne!(first, second);
        does_not_know(&server, &first);
        greets(&server, &second, "Bob");
        // An id that the client made up is never taken over.
        let made_up = "session=00000000000000000000000000000000";
        let third = cookie(&visit(&server, "/login?name=Eve", made_up).expect(302));
        assert_ne!(third, made_up);
        does_not_know(&server, made_up);
    }

    #[test]
    fn what_is_no_session_is_the_login_page() {
        let server = Server::start(BIN);
        let session = session(&server, "Annie");
        let upper = session.to_uppercase().replace("SESSION", "session");
        for cookie in [
            "session",
            "session=",
            "session=1",
            "session=%",
            "session=%ff",
            "session=00000000000000000000000000000000",
            "session=__proto__",
            "session=constructor",
            &format!("{session}0"),
            &session[..session.len() - 1],
            &format!("x{session}"),
            // A letter of the id may be in upper case by chance only if it has none at all.
            if upper == session { "session=x" } else { &upper },
            "name=Annie",
        ] {
            does_not_know(&server, cookie);
        }
        visit(&server, "/logout", "session=1").expect(302);
        greets(&server, &session, "Annie");
    }

    #[test]
    fn a_session_ends_with_its_time() {
        let server = Server::start_with(BIN, &[("SESSION_TTL_SECS", "1")]);
        let answer = login(&server, "Annie").expect(302);
        let field = answer.get("set-cookie").unwrap_or_default();
        assert!(field.contains("; Max-Age=1;"), "{field}");
        wait_until("the end of a session", || {
            visit(&server, "/", &cookie(&answer)).expect(200).text().contains("<form")
        });
    }

    #[test]
    fn a_wrong_lifetime_is_said_and_nothing_starts() {
        let year = 365 * 24 * 60 * 60;
        for secs in ["0", "-1", "+5", "5s", "1.5", " 5", "99999999999999999999"] {
            let vars = [("SESSION_TTL_SECS", secs)];
            Server::cannot_start(BIN, &vars, &["SESSION_TTL_SECS=", secs, "cargo run"]);
        }
        let (most, more) = (year.to_string(), (year + 1).to_string());
        Server::cannot_start(BIN, &[("SESSION_TTL_SECS", &more)], &[&more, &most]);
        let server = Server::start_with(BIN, &[("SESSION_TTL_SECS", &most)]);
        login(&server, "Annie").expect(302);
    }

    #[test]
    fn a_wrong_name_is_400_and_leaves_the_session_as_it_was() {
        let server = Server::start(BIN);
        let session = session(&server, "Annie");
        let too_long = format!("?name={}", "a".repeat(4001));
        let too_long_encoded = format!("?name={}", escaped(&"가".repeat(445)));
        for query in ["", "?name", "?name=", "?name=%ff", &too_long, &too_long_encoded] {
            let answer = visit(&server, &format!("/login{query}"), &session).expect(400);
            answer.contains("name").no_header("set-cookie");
        }
        greets(&server, &session, "Annie");
        login(&server, &"가".repeat(444)).expect(302);
    }

    #[test]
    fn only_login_itself_logs_in() {
        let server = Server::start(BIN);
        for path in ["/loginx", "/login/", "/Login", "/%6cogin"] {
            let answer = server.get(&format!("{path}?name=Annie")).expect(200);
            answer.contains("<form").no_header("set-cookie");
        }
    }

    #[test]
    fn a_wrong_method_is_405_and_options_204_both_with_allow() {
        let server = Server::start(BIN);
        let session = session(&server, "Annie");
        for path in ["/", "/login?name=Bob", "/logout", "/x"] {
            for method in ["POST", "PUT", "DELETE"] {
                let cookie = [("Cookie", &*session)];
                let answer = server.request(method, path, &cookie, "").expect(405);
                answer.allows(&["GET", "HEAD", "OPTIONS"]).no_header("set-cookie");
            }
            server.request("OPTIONS", path, &[], "").expect(204).allows(&["GET", "HEAD"]);
        }
        greets(&server, &session, "Annie");
    }
}

/// With `REDIS_URL`. Without redis-server these are skipped, and say so.
mod redis {
    use super::*;

    fn start(redis: &RedisServer) -> Server {
        Server::start_with(BIN, &[("REDIS_URL", &redis.url())])
    }

    #[test]
    fn two_servers_share_one_login() {
        let Some(redis) = RedisServer::start() else { return };
        let (one, two) = (start(&redis), start(&redis));
        let name = "안니 😀 \"a;b=c%\"\u{0}";
        let session = session(&one, name);
        greets(&two, &session, name);
        visit(&two, "/logout", &session).expect(302);
        does_not_know(&one, &session);
        // A server that knows nothing of that Redis knows nobody.
        let session = super::session(&one, "Annie");
        does_not_know(&Server::start(BIN), &session);
        drop(one);
        greets(&start(&redis), &session, "Annie");
    }

    #[test]
    fn a_session_is_json_with_a_time_to_live() {
        let Some(redis) = RedisServer::start() else { return };
        let server = Server::start_with(
            BIN,
            &[("REDIS_URL", &redis.url()), ("SESSION_TTL_SECS", "77")],
        );
        let session = session(&server, "안니 \"");
        let key = format!("session:{}", session.trim_start_matches("session="));
        assert_eq!(redis.ask(&["KEYS", "session:*"]).as_deref(), Some(&*key));
        let value = redis.ask(&["GET", &key]);
        assert_eq!(value.as_deref(), Some(r#"{"name":"안니 \""}"#));
        let ttl = redis.ask(&["TTL", &key]).and_then(|ttl| ttl.parse().ok());
        assert!(ttl.is_some_and(|ttl: u32| (1..=77).contains(&ttl)), "{ttl:?}");
        // Redis is who ends it.
        redis.ask(&["PEXPIRE", &key, "1"]);
        wait_until("the end of a session", || {
            redis.ask(&["KEYS", "session:*"]).as_deref() == Some("")
        });
        does_not_know(&server, &session);
    }

    #[test]
    fn a_login_and_a_logout_leave_nothing_behind() {
        let Some(redis) = RedisServer::start() else { return };
        let server = start(&redis);
        let first = session(&server, "Annie");
        let second = cookie(&visit(&server, "/login?name=Bob", &first).expect(302));
        // The session, and the list of all of them.
        assert_eq!(redis.ask(&["DBSIZE"]).as_deref(), Some("2"));
        visit(&server, "/logout", &second).expect(302);
        assert_eq!(redis.ask(&["DBSIZE"]).as_deref(), Some("0"));
    }

    #[test]
    fn what_somebody_else_wrote_is_no_session() {
        let Some(redis) = RedisServer::start() else { return };
        let server = start(&redis);
        let key = "session:0123456789abcdef0123456789abcdef";
        let cookie = key.replace(':', "=");
        for value in ["x", "{}", "[]", "null", "{\"name\":1}"] {
            redis.ask(&["SET", key, value]);
            does_not_know(&server, &cookie);
        }
        // Another program that begins a session as we do is understood.
        redis.ask(&["SET", key, r#"{"name":"Node"}"#]);
        greets(&server, &cookie, "Node");
    }

    #[test]
    fn cannot_start_without_it() {
        let refuses = |url: &str, parts: &[&str]| {
            Server::cannot_start(BIN, &[("REDIS_URL", url)], parts);
        };
        // Nobody listens on a port that was free a moment ago.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = format!("127.0.0.1:{}", free.local_addr().unwrap().port());
        // A listener that takes the connection and says nothing: a bounded wait, not a hang.
        refuses(&format!("redis://{at}"), &[&at, "REDIS_URL= cargo run"]);
        drop(free);
        refuses(&format!("redis://{at}"), &[&at, "REDIS_URL= cargo run"]);
        for url in ["localhost", "localhost:6379", "http://localhost", "redis://", "x"] {
            refuses(url, &["REDIS_URL", "redis://localhost:6379"]);
        }
        refuses("redis://localhost:6379/db", &["REDIS_URL"]);
    }

    #[test]
    fn no_message_has_a_password() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = format!("127.0.0.1:{}", free.local_addr().unwrap().port());
        drop(free);
        for secret in
            ["zqx", "zqx@wvk", "zqx/wvk", "zqx?wvk@y", "97/zqx", "97?zqx", "zq#wv"]
        {
            for url in [
                format!("redis://:{secret}@{at}"),
                format!("redis://{secret}@{at}"),
                format!("redis://user:{secret}@{at}/1"),
                format!("http://:{secret}@{at}"),
            ] {
                let vars = [("REDIS_URL", &*url)];
                let (status, stderr) = Server::fails(Server::command(BIN, &vars));
                assert_eq!(status.code(), Some(1), "{url}");
                assert_eq!(stderr.lines().count(), 1, "{stderr}");
                let told = stderr.replace(&at, "").replace("redis://localhost:6379", "");
                for part in secret.split(['@', '/', '?', '#']).filter(|p| p.len() > 1) {
                    assert!(!told.contains(part), "{part:?} of {url} in {stderr}");
                }
            }
        }
    }

    #[test]
    fn one_that_wants_a_password_gets_it_or_is_said() {
        let Some(redis) = RedisServer::start() else { return };
        redis.ask(&["CONFIG", "SET", "requirepass", "sesame"]);
        let at = format!("127.0.0.1:{}", redis.port());
        Server::cannot_start(BIN, &[("REDIS_URL", &redis.url())], &[&at, "Redis"]);
        let wrong = format!("redis://:wrong-one@{at}");
        Server::cannot_start(BIN, &[("REDIS_URL", &wrong)], &[&at, "Redis"]);
        let right = format!("redis://:sesame@{at}");
        let server = Server::start_with(BIN, &[("REDIS_URL", &right)]);
        greets(&server, &session(&server, "Annie"), "Annie");
    }

    #[test]
    fn gone_is_503_with_a_reason_and_back_is_back() {
        let Some(mut redis) = RedisServer::start() else { return };
        let server = start(&redis);
        let session = session(&server, "Annie");
        redis.kill();
        for path in ["/", "/login?name=Bob", "/logout"] {
            let answer = visit(&server, path, &session).expect(503).contains("Redis");
            let answer = answer.header("content-type", "text/plain; charset=utf-8");
            let answer = answer.no_header("set-cookie");
            assert_eq!(answer.text().lines().count(), 1, "one line of reason");
        }
        // Who has no session needs no Redis to see the login page.
        does_not_know(&server, "session=1");
        visit(&server, "/cookie2.css", &session).expect(200);
        redis.restart();
        // The very first request, and not the second.
        does_not_know(&server, &session);
        greets(&server, &super::session(&server, "Annie"), "Annie");
        testkit::wait_until("gone and back", || server.stderr().lines().count() >= 2);
        let said = server.stderr();
        assert_eq!(said.lines().count(), 2, "gone and back, once each: {said}");
    }

    #[test]
    fn one_that_does_not_answer_is_503_too() {
        let Some(redis) = RedisServer::start() else { return };
        let server = start(&redis);
        let session = session(&server, "Annie");
        redis.signal("STOP");
        visit(&server, "/", &session).expect(503);
        redis.signal("CONT");
        wait_until("Redis to be back", || visit(&server, "/", &session).status == 200);
        greets(&server, &session, "Annie");
    }

    /// A fail-over: the old master lives on as a replica, and answers writes with `READONLY` on
    /// the connection that is open. A new connection, by the same name, finds the new master.
    #[test]
    fn one_that_was_demoted_is_left_for_the_one_in_its_place() {
        let Some(old) = RedisServer::start() else { return };
        let Some(new) = RedisServer::start() else { return };
        let name = Name::of(old.port());
        let server = Server::start_with(
            BIN,
            &[("REDIS_URL", &format!("redis://{}", name.address))],
        );
        let before = session(&server, "Annie");
        let replicates = |redis: &RedisServer, master: &RedisServer| {
            redis.ask(&["REPLICAOF", "127.0.0.1", &master.port().to_string()]);
            testkit::wait_until("the replica to have all", || {
                let info = redis.ask(&["INFO", "replication"]).unwrap_or_default();
                info.contains("master_link_status:up")
            });
        };
        replicates(&new, &old);
        new.ask(&["REPLICAOF", "NO", "ONE"]);
        replicates(&old, &new);
        // Until the name leads to the new one, there is no master to be found.
        server.get("/login?name=Bob").expect(503);
        name.leads_to(new.port());
        greets(&server, &session(&server, "Bob"), "Bob");
        greets(&server, &before, "Annie");
    }

    /// What a name does in a fail-over: connections that are open stay where they are, new ones
    /// go to another server.
    struct Name {
        address: String,
        port: Arc<AtomicU16>,
    }

    impl Name {
        fn of(port: u16) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let address = listener.local_addr().expect("its address").to_string();
            let port = Arc::new(AtomicU16::new(port));
            let leads_to = port.clone();
            thread::spawn(move || {
                for client in listener.incoming().flatten() {
                    let server =
                        TcpStream::connect(("127.0.0.1", leads_to.load(Relaxed)));
                    let Ok(server) = server else { continue };
                    let ways = [
                        (client.try_clone(), server.try_clone()),
                        (Ok(server), Ok(client)),
                    ];
                    for (from, to) in ways {
                        let (Ok(mut from), Ok(mut to)) = (from, to) else { continue };
                        thread::spawn(move || {
                            let _ = std::io::copy(&mut from, &mut to);
                            let _ = to.shutdown(std::net::Shutdown::Both);
                        });
                    }
                }
            });
            Self { address, port }
        }

        fn leads_to(&self, port: u16) {
            self.port.store(port, Relaxed);
        }
    }

    #[test]
    fn killed_under_load_it_costs_503s_and_nothing_else() {
        let Some(mut redis) = RedisServer::start() else { return };
        let server = start(&redis);
        let (good, gone) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            // However this ends, the threads end too.
            let _over = OnDrop(&over);
            for _ in 0..8 {
                scope.spawn(|| {
                    let mut client = server.connect();
                    let mut cookie = String::from("session=none");
                    let paths = ["/login?name=Annie", "/", "/x", "/", "/logout", "/"];
                    for path in paths.iter().cycle() {
                        if over.load(Relaxed) {
                            break;
                        }
                        let sent = [("Cookie", &*cookie)];
                        let answer = client.request("GET", path, &sent, b"");
                        match answer.status {
                            200 | 302 => good.fetch_add(1, Relaxed),
                            503 => gone.fetch_add(1, Relaxed),
                            _ => answer.fail("only 200, 302 and 503"),
                        };
                        if answer.get("set-cookie").is_some() {
                            cookie = super::cookie(&answer);
                        }
                    }
                });
            }
            let more = |count: &AtomicUsize, what: &str| {
                let before = count.load(Relaxed);
                wait_until(what, || count.load(Relaxed) > before + 500);
            };
            more(&good, "good answers");
            for _ in 0..3 {
                redis.kill();
                more(&gone, "answers with 503");
                redis.restart();
                more(&good, "good answers again");
            }
        });
        greets(&server, &session(&server, "Annie"), "Annie");
    }

    struct OnDrop<'a>(&'a AtomicBool);

    impl Drop for OnDrop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Relaxed);
        }
    }
}

/// Yours to solve; README.md, "Try it", says how to begin: `cargo test -p session -- --ignored`.
mod exercise {
    use super::*;

    #[test]
    #[ignore = "exercise: /logout/all ends every session of a name"]
    fn one_logout_ends_all_sessions_of_a_name() {
        const HINT: &str = "by_name: HashMap<String, HashSet<Id>> beside by_id, kept up in insert() \
            and remove() of Sessions. A Mutex that this thread has locked already hangs for ever \
            when it is locked again: lock once, in Memory, and call methods of Sessions";
        let server = Server::start(BIN).exercise(HINT);
        let counts = |sessions: usize, names: usize, ids: usize| {
            format!("{{\"sessions\":{sessions},\"names\":{names},\"ids\":{ids}}}")
        };
        let holds = |sessions, names, ids| {
            let answer = server.get("/sessions").expect(200);
            answer
                .header("content-type", "application/json; charset=utf-8")
                .json(&counts(sessions, names, ids));
        };
        holds(0, 0, 0);
        let phone = session(&server, "Annie");
        let laptop = session(&server, "Annie");
        let bob = session(&server, "Bob");
        holds(3, 2, 3);
        let answer = visit(&server, "/logout/all", &phone).expect(302);
        let answer = answer.header("location", "/");
        if !answer.get("set-cookie").is_some_and(|c| c.starts_with("session=;")) {
            answer.fail("expected the cookie to be removed, as /logout does");
        }
        does_not_know(&server, &phone);
        does_not_know(&server, &laptop);
        greets(&server, &bob, "Bob");
        holds(1, 1, 1);
        // Who is nobody ends nobody's session.
        for nobody in [&*phone, "session=1", "a=b"] {
            visit(&server, "/logout/all", nobody).expect(302).header("location", "/");
        }
        greets(&server, &bob, "Bob");
        // Whatever ends a session ends its place in both maps: a logout, another login in the
        // same browser, and the end of its time.
        visit(&server, "/logout", &bob).expect(302);
        holds(0, 0, 0);
        let annie = session(&server, "Annie");
        visit(&server, "/login?name=Bob", &annie).expect(302);
        holds(1, 1, 1);
        let vars = [("SESSION_TTL_SECS", "1")];
        let server = Server::start_with(BIN, &vars).exercise(HINT);
        for name in ["Annie", "Annie", "Bob"] {
            session(&server, name);
        }
        server.get_until_json("/sessions", &counts(0, 0, 0));
    }

    #[test]
    #[ignore = "exercise: GET /session says whose it is and how long it lives"]
    fn a_session_says_how_long_it_lives() {
        let says = |vars: &[(&str, &str)]| {
            let server = Server::start_with(BIN, vars).exercise(
                "session.expires - Instant::now() is a Duration; Redis says it to TTL. \
                 serde_json::json!({ … }) writes any name as JSON",
            );
            for name in ["Annie", "안니", "\"A\" \\"] {
                let session = session(&server, name);
                let answer = visit(&server, "/session", &session).expect(200);
                let answer = answer
                    .header("content-type", "application/json; charset=utf-8")
                    .header("cache-control", "no-store");
                let came: Value = serde_json::from_str(answer.text()).unwrap_or_default();
                let says = |seconds: u64| json!({ "name": name, "seconds": seconds });
                if !(40..=77).any(|seconds| came == says(seconds)) {
                    answer.fail(format_args!("expected {}, or a little less", says(77)));
                }
            }
            for nobody in ["", "session=1", "session=00000000000000000000000000000000"] {
                visit(&server, "/session", nobody).expect(401).no_header("set-cookie");
            }
        };
        says(&[("SESSION_TTL_SECS", "77")]);
        // The same with Redis, where there is one.
        let Some(redis) = RedisServer::start() else { return };
        says(&[("SESSION_TTL_SECS", "77"), ("REDIS_URL", &redis.url())]);
    }
}

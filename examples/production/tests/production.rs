//! The whole program over the wire: real binary, real Redis, real signals.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use testkit::{Client, RedisServer, Server, TempDir, Trust, wait_until};

const BIN: &str = env!("CARGO_BIN_EXE_production");

/// A running server, and its two other ports.
struct Running {
    server: Server,
    plain: String,
    admin: String,
}

fn command(vars: &[(&str, &str)]) -> Command {
    let mut command = Server::command(BIN, &[("HTTP_PORT", "0"), ("ADMIN_PORT", "0")]);
    command.env("LC_ALL", "C").envs(vars.iter().copied());
    command
}

#[track_caller]
fn start(vars: &[(&str, &str)]) -> Running {
    start_command(command(vars))
}

#[track_caller]
fn start_command(command: Command) -> Running {
    let server = Server::start_command(command);
    // The first line came by another pipe.
    wait_until("its other ports", || server.stderr().contains("/metrics: http"));
    let said = server.stderr();
    running(server, &said)
}

#[track_caller]
fn running(mut server: Server, said: &str) -> Running {
    server.certs = None; // any certificate
    let url = |text: &str| {
        let rest = said.split(text).nth(1).unwrap_or_else(|| panic!("{text} in {said}"));
        let rest = rest.split("http://").nth(1).unwrap_or_default();
        rest.split('/').next().unwrap_or_default().to_owned()
    };
    let (plain, admin) = (url("HTTP, which leads"), url("/metrics:"));
    Running { server, plain, admin }
}

impl Running {
    #[track_caller]
    fn admin(&self, path: &str) -> testkit::Answer {
        Client::connect(&self.admin).request("GET", path, &[], b"")
    }

    #[track_caller]
    fn ready_is(&self, answer: &str) {
        wait_until(&format!("/readyz {answer:?}"), || {
            self.admin("/readyz").text().trim() == answer
        });
    }

    #[track_caller]
    fn metric(&self, name: &str) -> f64 {
        let metrics = self.admin("/metrics").expect(200);
        let line = metrics.text().lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|value| value.trim().parse().ok()).unwrap_or(0.0)
    }

    /// Signs up and returns the `Cookie` that a browser would send.
    #[track_caller]
    fn sign_up(&self, name: &str) -> String {
        let form = format!("name={name}&password=correct+horse");
        cookie(&self.server.request("POST", "/signup", &[], form).expect(303))
    }

    #[track_caller]
    fn with(
        &self,
        cookie: &str,
        method: &str,
        path: &str,
        form: &str,
    ) -> testkit::Answer {
        self.server.request(method, path, &[("Cookie", cookie)], form)
    }

    fn workers(&self) -> Vec<u32> {
        let children = format!("/proc/{0}/task/{0}/children", self.server.pid());
        let children = fs::read_to_string(children).expect("children of the master");
        children.split_whitespace().map(|pid| pid.parse().expect("a pid")).collect()
    }

    #[track_caller]
    fn wait_for(&self, metric: &str, value: f64) {
        wait_until(metric, || self.metric(metric) == value);
    }
}

#[track_caller]
fn cookie(answer: &testkit::Answer) -> String {
    let cookie = answer.get("set-cookie").expect("a cookie");
    for attribute in ["HttpOnly", "Secure", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(attribute), "{attribute} in {cookie}");
    }
    assert!(cookie.starts_with("__Host-session="), "{cookie}");
    cookie.split(';').next().unwrap_or_default().to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path that is text")
}

/// What holds with either store.
#[track_caller]
fn accounts_and_users(one: &Running) {
    one.server.get("/").expect(200).contains("/login").contains("/signup");
    one.server.get("/me").expect(401);
    let annie = one.sign_up("annie");
    let form = "name=annie&password=correct+horse";
    one.server.request("POST", "/signup", &[], form).expect(409);
    for bad in ["name=a&password=correct+horse", "name=bob&password=short", ""] {
        one.server.request("POST", "/signup", &[], bad).expect(400);
    }
    one.server
        .request("POST", "/login", &[], "name=annie&password=wrong+one")
        .expect(401);
    one.server
        .request("POST", "/login", &[], "name=nobody&password=wrong+one")
        .expect(401);
    one.with(&annie, "GET", "/me", "")
        .expect(200)
        .body(r#"{"name":"annie","shown":"annie"}"#);
    one.with(&annie, "POST", "/me", "shown=%EC%95%88%EB%8B%88").expect(303);
    one.with(&annie, "GET", "/me", "").body(r#"{"name":"annie","shown":"안니"}"#);
    one.with(&annie, "GET", "/", "").expect(200).contains("/logout");

    one.server.request("POST", "/users", &[], "name=Bob").expect(401);
    let added = one.with(&annie, "POST", "/users", "name=Bob").expect(201);
    let user = added.get("location").expect("a location").to_owned();
    one.server.get(&user).expect(200).body(r#"{"name":"Bob"}"#);
    one.with(&annie, "PUT", &user, "name=%22Bobby%22").expect(200);
    let id = user.rsplit('/').next().unwrap_or_default();
    one.server.get("/users").body(&format!(r#"{{"{id}":"\"Bobby\""}}"#));
    one.with(&annie, "PUT", "/users/999", "name=Bob").expect(404);
    one.with(&annie, "DELETE", &user, "").expect(204);
    one.with(&annie, "DELETE", &user, "").expect(404);
    one.server.get("/users").body("{}");

    let second = one.server.request("POST", "/login", &[], form).expect(303);
    let second = cookie(&second);
    assert_ne!(annie, second, "a new id at every log-in");
    one.with(&second, "POST", "/logout", "").expect(303);
    one.with(&second, "GET", "/me", "").expect(401);
    one.with(&annie, "GET", "/me", "").expect(200);
    let third = cookie(&one.server.request("POST", "/login", &[], form).expect(303));
    one.with(&annie, "POST", "/logout/everywhere", "").expect(303);
    one.with(&annie, "GET", "/me", "").expect(401);
    one.with(&third, "GET", "/me", "").expect(401);
    one.server.request("POST", "/login", &[], form).expect(303);
    one.server.get("/nowhere").expect(404);
    one.server.request("PUT", "/me", &[], "").expect(405);
    let evil = [("Origin", "https://evil.example")];
    one.server.request("POST", "/login", &evil, form).expect(403);
}

#[test]
fn a_site_with_accounts_in_memory() {
    accounts_and_users(&start(&[]));
}

#[test]
fn a_site_with_accounts_in_redis() {
    let Some(redis) = RedisServer::start() else { return };
    let one = start(&[("REDIS_URL", &redis.url()), ("WORKERS", "2")]);
    accounts_and_users(&one);
    let other = start(&[("REDIS_URL", &redis.url()), ("WORKERS", "1")]);
    let bob = one.sign_up("bob");
    other.with(&bob, "GET", "/me", "").expect(200);
    let password = redis.ask(&["HGET", "account:bob", "password"]).expect("a hash");
    assert!(password.starts_with("$argon2id$"), "{password}");
}

/// What `openssl s_client` shows of one connection.
fn openssl(server: &Server, options: &[&str]) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-ign_eof", "-connect", server.authority()]).args(options);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("openssl");
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    child.stdin.as_mut().expect("piped").write_all(request).expect("openssl");
    let output = child.wait_with_output().expect("openssl");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_session_ticket_is_good_in_every_worker_and_on_every_host() {
    let Some(redis) = RedisServer::start() else { return };
    let folder = TempDir::new();
    let (keys, ticket) = (folder.path().join("keys"), folder.path().join("ticket"));
    fs::write(&keys, [7; 160]).expect("keys");
    for vars in [&[][..], &[("TICKET_KEY_FILE", text(&keys))]] {
        let url = redis.url();
        let vars = [&[("REDIS_URL", &*url), ("WORKERS", "3")], vars].concat();
        let (one, other) = (start(&vars), start(&vars));
        for server in [&one, &other] {
            server.wait_for("production_workers_with_shared_ticket_keys ", 3.0);
        }
        for version in ["-tls1_3", "-tls1_2"] {
            let first = openssl(&one.server, &[version, "-sess_out", text(&ticket)]);
            assert!(first.contains("New, TLSv1"), "{first}");
            for server in [&one, &other].into_iter().cycle().take(16) {
                let again =
                    openssl(&server.server, &[version, "-sess_in", text(&ticket)]);
                assert!(again.contains("Reused, TLSv1"), "{again}");
            }
        }
        wait_until("the metrics", || {
            let resumed = "production_handshakes_total{kind=\"resumed\"}";
            one.metric(resumed) == 16.0 && other.metric(resumed) == 16.0
        });
    }
}

/// A process that ends with its test, also with one that fails.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks for a path again and again, over new connections, until the guard is dropped.
struct Load {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    thread: Option<thread::JoinHandle<Vec<String>>>,
}

impl Load {
    fn on(server: &Server) -> Self {
        let (stop, count) = <(Arc<AtomicBool>, Arc<AtomicUsize>)>::default();
        let (stopped, counted) = (stop.clone(), count.clone());
        let authority = server.authority().to_owned();
        let thread = thread::spawn(move || {
            let mut failed = Vec::new();
            while !stopped.load(Relaxed) {
                let output = Command::new("curl")
                    .args([
                        "-sk",
                        "-m",
                        "10",
                        "-o",
                        "/dev/null",
                        "-w",
                        "%{http_code} %{errormsg}",
                    ])
                    .arg(format!("https://{authority}/"))
                    .output()
                    .expect("curl");
                let said = String::from_utf8_lossy(&output.stdout).into_owned();
                counted.fetch_add(1, Relaxed);
                if !said.starts_with("200") {
                    failed.push(said);
                }
            }
            failed
        });
        Self { stop, count, thread: Some(thread) }
    }

    #[track_caller]
    fn none_failed(mut self) {
        let before = self.count.load(Relaxed);
        wait_until("some requests more", || self.count.load(Relaxed) > before + 10);
        self.stop.store(true, Relaxed);
        let failed = self.thread.take().expect("once").join().expect("load");
        assert!(failed.is_empty(), "of {before} failed: {failed:?}");
    }
}

#[test]
fn a_roll_takes_new_settings_and_loses_nothing_and_a_bad_one_changes_nothing() {
    let Some(redis) = RedisServer::start() else { return };
    let folder = TempDir::new();
    let file = folder.path().join("settings");
    let redis = format!("REDIS_URL={}\n", redis.url());
    let set =
        |lines: &str| fs::write(&file, format!("{redis}{lines}\n")).expect("a file");
    set("# a comment\nLOGINS_PER_MIN=1\nCA=/nowhere\nCA=");
    let one = start(&[("WORKERS", "2"), ("SETTINGS_FILE", text(&file))]);
    let login =
        || one.server.request("POST", "/login", &[], "name=annie&password=wrong+one");
    login().expect(401);
    let limited = login().expect(429);
    assert!(limited.get("retry-after").is_some_and(|s| s.parse::<u32>().is_ok()));
    let load = Load::on(&one.server);
    let old = one.workers();

    set("LOGINS_PER_MIN=nonsense");
    let rolls_stopped = || one.server.stderr().matches("the old ones stay").count();
    one.server.signal("HUP");
    wait_until("the roll to stop", || rolls_stopped() == 1);
    assert!(one.server.stderr().contains("LOGINS_PER_MIN=\"nonsense\""));
    // Without Redis each worker would have a memory of its own.
    fs::write(&file, "REDIS_ULR=a-slip\n").expect("a file");
    one.server.signal("HUP");
    wait_until("the roll to stop", || rolls_stopped() == 2);
    assert!(one.server.stderr().contains("no REDIS_URL any more"));
    assert!(old.iter().all(|pid| one.workers().contains(pid)));

    set("");
    one.server.signal("HUP");
    wait_until("new workers", || {
        let new = one.workers();
        new.len() == 2 && old.iter().all(|pid| !new.contains(pid))
    });
    login().expect(401); // the default is 10 a minute
    load.none_failed();
}

#[test]
fn a_roll_forgets_no_count() {
    let one = start(&[]);
    let old = one.workers();
    (0..50).for_each(|_| _ = one.server.get("/").expect(200));
    one.server.signal("HUP");
    wait_until("a new worker", || one.workers().len() == 1 && one.workers() != old);
    one.wait_for("production_request_seconds_count ", 50.0);
}

#[test]
fn a_roll_takes_a_new_certificate() {
    let folder = TempDir::new();
    let path = |name: &str| folder.path().join(name);
    let make = || {
        let now = std::time::SystemTime::now();
        let from = now - Duration::from_secs(60);
        let _ = fs::remove_file(path("cert.pem"));
        certs::make(folder.path(), from, now + certs::LIFETIME).expect("a certificate");
    };
    make();
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    let one = start(&[("CERT", text(&cert)), ("KEY", text(&key))]);
    let shown = || {
        let said = openssl(&one.server, &[]);
        let end =
            said.find("-----END CERTIFICATE-----").unwrap_or_else(|| panic!("{said}"));
        said[said.find("-----BEGIN").unwrap_or(0)..end].trim().to_owned()
    };
    let file = || fs::read_to_string(&cert).expect("a certificate");
    assert!(file().contains(&shown()));
    make();
    assert!(!file().contains(&shown()));
    one.server.signal("HUP");
    wait_until("the new certificate", || file().contains(&shown()));
}

/// A connection that begins with these bytes, as a balancer sends them.
#[track_caller]
fn through(one: &Running, line: &[u8]) -> Client {
    let mut tcp = one.server.connect_tcp();
    tcp.write_all(line).expect("a line");
    one.server.connect_tls_over(tcp, &["http/1.1"])
}

/// PROXY version 2, from 203.0.113.7.
const V2: [u8; 28] =
    *b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xcb\0\x71\x07\x7f\0\0\x01\x30\x39\x01\xbb";

#[test]
fn a_balancer_says_who_the_client_is_and_nobody_else_does() {
    let one = start(&[("PROXY_FROM", "127.0.0.0/8, ::1"), ("LOG", "json")]);
    let said = |client: &str, id: &str| {
        wait_until(&format!("{client} in the log"), || {
            let (stdout, id) = (one.server.stdout(), format!("\"id\":\"{id}\""));
            let mut lines = stdout.lines().filter(|line| line.contains(&id));
            lines.any(|line| line.contains(&format!("\"client\":\"{client}\"")))
        });
    };
    let ask = |mut client: Client, headers: &[(&str, &str)]| {
        client.request("GET", "/", headers, b"").expect(200)
    };
    ask(
        through(&one, b"PROXY TCP4 203.0.113.8 127.0.0.1 1 2\r\n"),
        &[("X-Request-Id", "v1")],
    );
    said("203.0.113.8", "v1");
    ask(through(&one, &V2), &[("X-Request-Id", "v2"), ("X-Forwarded-For", "1.1.1.1")]);
    said("203.0.113.7", "v2");
    ask(one.server.connect(), &[("X-Request-Id", "xff"), ("X-Forwarded-For", "1.1.1.1")]);
    said("1.1.1.1", "xff");
    // Only the header that the balancer writes counts: the other one is the client's own.
    ask(
        one.server.connect(),
        &[
            ("X-Request-Id", "both"),
            ("Forwarded", "for=9.9.9.9"),
            ("X-Forwarded-For", "1.1.1.2"),
        ],
    );
    said("1.1.1.2", "both");
    let answer = ask(
        one.server.connect(),
        &[("X-Request-Id", "bad id"), ("Traceparent", "00-a-b-01")],
    );
    assert_ne!(answer.get("x-request-id"), Some("bad id"));
    assert_eq!(answer.get("traceparent"), Some("00-a-b-01"));

    // In pieces, as a network may bring it.
    let mut tcp = one.server.connect_tcp();
    for byte in V2 {
        tcp.write_all(&[byte]).expect("a byte");
    }
    ask(one.server.connect_tls_over(tcp, &["http/1.1"]), &[("X-Request-Id", "slow")]);
    said("203.0.113.7", "slow");

    let other = start(&[("LOG", "json")]);
    ask(other.server.connect(), &[("X-Forwarded-For", "1.1.1.1")]);
    wait_until("a line", || other.server.stdout().contains("\"status\":200"));
    assert!(!other.server.stdout().contains("1.1.1.1"));
    let in_front = |one: &Running, line: &str| {
        let mut client = Client::connect(one.server.authority());
        client.send(format!("{line}GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        client.read_answer().status
    };
    let line = "PROXY TCP4 203.0.113.8 127.0.0.1 1 2\r\n";
    assert_eq!((in_front(&one, line), in_front(&one, "")), (308, 308));
    assert_eq!((in_front(&other, line), in_front(&other, "")), (400, 308));
}

#[test]
fn one_client_has_limits_and_its_own_only() {
    let one = start(&[
        ("CONNECTIONS_PER_CLIENT", "2"),
        ("REQUESTS_PER_SEC_PER_CLIENT", "1"),
        ("PROXY_FROM", "::1,127.0.0.1"),
    ]);
    let line =
        |last: u8| format!("PROXY TCP4 203.0.113.{last} 127.0.0.1 1 2\r\n").into_bytes();
    let mut first = through(&one, &line(1));
    let _second = through(&one, &line(1));
    let mut tcp = one.server.connect_tcp();
    tcp.write_all(&line(1)).expect("a line");
    let third = Client::tls_over(tcp, one.server.authority(), Trust::Anybody, &[]);
    assert!(third.is_err(), "the third connection is closed");
    let answers: Vec<_> =
        (0..9).map(|_| first.request("GET", "/site.css", &[], b"").status).collect();
    assert!(answers[0] == 200 && answers.contains(&429), "{answers:?}");
    through(&one, &line(2)).request("GET", "/", &[], b"").expect(200);
}

/// Nobody locks an account by being wrong from an address of their own.
#[test]
fn an_account_has_more_attempts_than_an_address() {
    let one = start(&[("LOGINS_PER_MIN", "1"), ("PROXY_FROM", "127.0.0.0/8, ::1")]);
    let log_in = |name: &str, from: u32| {
        let from = format!("192.0.2.{from}");
        let form = format!("name={name}&password=wrong+one");
        one.server.request("POST", "/login", &[("X-Forwarded-For", &*from)], form).status
    };
    assert_eq!((log_in("annie", 1), log_in("annie", 1)), (401, 429));
    let others: Vec<_> = (2..=11).map(|from| log_in("annie", from)).collect();
    assert_eq!(others, [&[401; 9][..], &[429]].concat());
    assert_eq!(log_in("bob", 12), 401);
}

#[test]
fn while_redis_is_away_pages_are_served_and_the_balancer_is_told() {
    let Some(mut redis) = RedisServer::start() else { return };
    let one = start(&[("REDIS_URL", &redis.url()), ("WORKERS", "2")]);
    one.ready_is("ready");
    let annie = one.sign_up("annie");
    redis.signal("STOP");
    let began = Instant::now();
    let answer = one.with(&annie, "GET", "/me", "").expect(503);
    assert!(answer.get("retry-after").is_some());
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "a limit of 2 s, and a slow machine"
    );
    one.ready_is("redis is away");
    one.admin("/livez").expect(200);
    one.server.get("/").expect(200).contains("/login");
    one.server.get("/site.css").expect(200);
    redis.signal("CONT");
    one.ready_is("ready");
    one.with(&annie, "GET", "/me", "").expect(200);
    assert!(one.metric("production_redis_errors_total ") > 0.0);
    redis.restart();
    one.ready_is("ready");
    one.with(&annie, "GET", "/me", "").expect(401); // it has kept nothing on disk
}

#[test]
fn before_it_stops_the_balancer_finds_out() {
    let mut one = start(&[("DRAIN_DELAY_SECS", "2")]);
    one.ready_is("ready");
    one.server.signal("TERM");
    one.ready_is("draining");
    one.server.get("/").expect(200);
    assert_eq!(one.server.wait().code(), Some(0), "{}", one.server.stderr());
}

#[test]
fn a_worker_that_hangs_is_replaced() {
    let one = start(&[]);
    one.wait_for("production_workers ", 1.0);
    let worker = one.workers()[0].to_string();
    assert!(
        Command::new("kill").args(["-STOP", &worker]).status().expect("kill").success()
    );
    wait_until("another worker", || {
        one.server.stderr().contains("code null signal SIGKILL")
            && one.workers().first().is_some_and(|pid| pid.to_string() != worker)
    });
    one.server.get("/").expect(200);
    wait_until("the count", || one.metric("production_worker_exits_total ") == 1.0);
}

#[test]
fn a_master_that_was_stopped_kills_nobody() {
    let Some(redis) = RedisServer::start() else { return };
    let one = start(&[("REDIS_URL", &redis.url()), ("WORKERS", "2")]);
    one.wait_for("production_workers ", 2.0);
    let workers = one.workers();
    one.server.signal("STOP");
    thread::sleep(Duration::from_secs(6)); // longer than a worker may be silent
    one.server.get("/").expect(200); // they serve without it
    one.server.signal("CONT");
    // It has looked at them again by the time that it answers a second later.
    let seen = one.metric("production_requests_total{route=\"/\",status=\"200\"}");
    one.server.get("/").expect(200);
    wait_until("a new report", || {
        one.metric("production_requests_total{route=\"/\",status=\"200\"}") > seen
    });
    assert_eq!(one.workers(), workers);
    assert_eq!(one.metric("production_worker_exits_total "), 0.0);
}

#[test]
fn systemd_is_told_and_its_sockets_outlive_the_process() {
    let Some(redis) = RedisServer::start() else { return };
    let url = redis.url();
    let folder = TempDir::new();
    let path = folder.path().join("notify");
    let notify = UnixDatagram::bind(&path).expect("a socket");
    notify.set_read_timeout(Some(testkit::PATIENCE)).expect("time limit");
    let hear = |wanted: &str| {
        let mut said = Vec::new();
        while !said.iter().any(|line: &String| line.contains(wanted)) {
            let mut buffer = [0; 512];
            let length =
                notify.recv(&mut buffer).unwrap_or_else(|e| panic!("{said:?}: {e}"));
            said.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    // As systemd starts it: the socket is descriptor 3, and the pid is that of the process.
    let start = || {
        let command = command(&[
            ("NOTIFY_SOCKET", text(&path)),
            ("REDIS_URL", &url),
            ("WORKERS", "3"),
        ]);
        let mut shell = Command::new("sh");
        shell.args([
            "-c",
            "exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\"",
            BIN,
        ]);
        shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let fd = OwnedFd::from(listener.try_clone().expect("a clone"));
        shell
            .stdin(Stdio::from(fd))
            .stdout(Stdio::null())
            .spawn()
            .map(Process)
            .expect("sh")
    };
    let mut first = start();
    hear("READY=1");
    (0..3).for_each(|_| hear("WATCHDOG=1")); // also while workers report all the time
    let load = {
        let url = format!("https://localhost:{port}/");
        let mut server = Server::quiet(&mut Command::new("true"), Stdio::null());
        server.url = url;
        Load::on(&server)
    };
    let signal = |name: &str, pid: u32| {
        let status = Command::new("kill").args([name, &pid.to_string()]).status();
        assert!(status.expect("kill").success());
    };
    signal("-HUP", first.0.id());
    hear("RELOADING=1");
    hear("READY=1");
    signal("-TERM", first.0.id());
    hear("STOPPING=1");
    assert_eq!(first.0.wait().expect("its end").code(), Some(0));
    thread::sleep(Duration::from_millis(300)); // nobody is there; clients wait in the backlog
    let mut second = start();
    hear("READY=1");
    load.none_failed();
    signal("-TERM", second.0.id());
    assert_eq!(second.0.wait().expect("its end").code(), Some(0));
}

#[test]
fn plain_http_leads_to_https_and_answers_acme() {
    let folder = TempDir::new();
    fs::write(folder.path().join("token-1"), "token-1.key").expect("a file");
    let one = start(&[("ACME_DIR", text(folder.path()))]);
    let plain = |path: &str| Client::connect(&one.plain).request("GET", path, &[], b"");
    let there = format!("{}a/b?c=d", one.server.url);
    plain("/a/b?c=d").expect(308).header("location", &there);
    plain("/.well-known/acme-challenge/token-1").expect(200).body("token-1.key");
    for path in ["token-2", "../../etc/passwd", "..%2ftoken-1", ""] {
        plain(&format!("/.well-known/acme-challenge/{path}")).expect(404);
    }
    // Nothing but files is opened: a pipe would take for ever.
    fs::create_dir(folder.path().join("folder")).expect("a folder");
    let pipe = Command::new("mkfifo").arg(folder.path().join("pipe")).status();
    assert!(pipe.expect("mkfifo").success());
    for path in ["folder", "pipe"] {
        plain(&format!("/.well-known/acme-challenge/{path}")).expect(404);
    }
    let mut old = Client::connect(&one.plain);
    old.send("GET / HTTP/1.0\r\n\r\n");
    old.read_answer().expect(400);
    let on_tls_port =
        Client::connect(one.server.authority()).request("GET", "/x", &[], b"");
    on_tls_port.expect(308);
    let other = start(&[("PUBLIC_PORT", "443")]);
    let answer = Client::connect(&other.plain).request("GET", "/x", &[], b"");
    answer.expect(308).header("location", "https://localhost/x");
}

#[test]
fn the_log_has_a_line_for_each_request_and_nothing_secret() {
    let one = start(&[("LOG", "json")]);
    let annie = one.sign_up("annie");
    one.with(&annie, "GET", "/me?token=hidden", "").expect(200);
    one.with(&annie, "GET", "/nowhere%0a", "").expect(404);
    one.with(&annie, "HEAD", "/", "").expect(200);
    one.server.raw("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n");
    let evil = [("Origin", "https://evil.example"), ("X-Request-Id", "refused-1")];
    one.server.request("POST", "/login", &evil, "").expect(403);
    wait_until("all lines", || one.server.stdout().contains("refused-1"));
    let stdout = one.server.stdout();
    let lines: Vec<_> = stdout.lines().filter(|line| line.starts_with('{')).collect();
    assert_eq!(lines.len(), 6, "{stdout}");
    let id = annie.rsplit('=').next().unwrap_or_default();
    for secret in ["correct", "hidden", id] {
        assert!(!stdout.contains(secret), "{secret} in {stdout}");
    }
    for (part, times) in [
        ("\"method\":\"HEAD\"", 1),
        ("\"route\":\"/me\"", 1),
        ("\"status\":404", 1),
        ("\"status\":400", 1),
        ("\"status\":403", 1),
    ] {
        assert_eq!(stdout.matches(part).count(), times, "{part} in {stdout}");
    }
}

fn kill(worker: u32) {
    let status = Command::new("kill").args(["-9", &worker.to_string()]).status();
    assert!(status.expect("kill").success());
}

/// One that dies before it can serve, but not at once: its place must not stay empty.
#[test]
fn a_worker_that_dies_while_it_starts_is_replaced() {
    let folder = TempDir::new();
    let keys = folder.path().join("keys");
    fs::write(&keys, [7; 80]).expect("keys");
    let one = start(&[("TICKET_KEY_FILE", text(&keys))]);
    // Reading this takes for ever.
    fs::remove_file(&keys).expect("keys");
    let made = Command::new("mkfifo").arg(&keys).status();
    assert!(made.expect("mkfifo").success());
    let first = one.workers();
    kill(first[0]);
    wait_until("one that starts", || one.workers().iter().any(|pid| *pid != first[0]));
    let second = one.workers();
    thread::sleep(Duration::from_millis(1500)); // longer than one that fails at once lives
    fs::remove_file(&keys).expect("keys");
    fs::write(&keys, [7; 80]).expect("keys");
    kill(second[0]);
    one.server.get("/").expect(200);
}

/// Both outputs in one pipe, as a service often has them.
#[test]
fn who_does_not_read_the_log_holds_nobody_up() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let vars = command(&[("LOG", "json")]);
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" 2>&1", BIN]);
    for (name, value) in vars.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let mut last_bytes = writer.try_clone().expect("a pipe");
    let mut server = Server::quiet(&mut command, writer);
    drop(command); // it holds the writer's end
    let mut lines = BufReader::new(reader).lines().map(|line| line.expect("a line"));
    let mut said = String::new();
    while !said.contains("대기 중입니다") || !said.contains("/metrics: http") {
        said = said + &lines.next().expect("a line") + "\n";
    }
    let url = said.split("대기 중입니다 ").nth(1).and_then(|rest| rest.lines().next());
    server.url = url.expect("a url").to_owned();
    let mut one = running(server, &said);
    // More lines than a pipe takes, and than may wait for their reader.
    let mut client = one.server.connect();
    for _ in 0..12_000 {
        client.request("GET", "/", &[], b"");
    }
    one.wait_for("production_request_seconds_count ", 12_000.0);
    let lost = one.metric("production_log_lines_lost_total ");
    assert!((1.0..2_000.0).contains(&lost), "{lost} lines are lost");
    // All others are there, and whole.
    let written = lines.by_ref().take(12_000 - lost as usize);
    assert!(written.into_iter().all(|line| line.starts_with('{') && line.ends_with('}')));

    // Neither is the master held up, which has lines too.
    (0..3000).for_each(|_| _ = client.request("GET", "/", &[], b""));
    thread::spawn(move || (0..5000).for_each(|_| _ = last_bytes.write(b"\n")));
    thread::sleep(Duration::from_millis(200)); // now it is full to the last byte
    let old = one.workers();
    kill(old[0]);
    wait_until("a new worker", || {
        one.workers().first().is_some_and(|new| *new != old[0])
    });
    one.server.get("/").expect(200);
    one.admin("/livez").expect(200);
    lines.find(|line| line.contains("signal SIGKILL")).expect("what the master said");
    // And again there are new lines, up to the last.
    one.server.get("/nowhere").expect(404);
    one.server.signal("TERM");
    assert!(one.server.wait().success());
    assert_eq!(lines.filter(|line| line.contains("/nowhere")).count(), 1);
}

#[test]
fn what_cannot_be_written_into_the_log_is_counted() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
    let server = Server::quiet(&mut command(&[]), full);
    wait_until("its other ports", || server.stderr().contains("/metrics: http"));
    let said = server.stderr();
    let one = running(server, &said);
    wait_until("a count", || {
        Client::connect(&one.plain).request("GET", "/", &[], b"").expect(308);
        one.metric("production_log_lines_lost_total ") > 0.0
    });
}

#[test]
fn check_says_in_words_what_is_wrong() {
    let run = |vars: &[(&str, &str)]| {
        let output = command(vars).arg("--check").output().expect("a run");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (status, said) = run(&[]);
    assert_eq!(status, Some(0), "{said}");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("an address").port().to_string();
    for (vars, wrong) in [
        (&[("PORT", &*taken)][..], "in use"),
        (&[("REDIS_URL", "redis://localhost:1")], "wrong REDIS_URL"),
        (&[("REDIS_URL", "nonsense://secret@x")], "wrong REDIS_URL"),
        (&[("CERT", "/nowhere")], "wrong certificate"),
        (&[("HOST", "0.0.0.0")], "CERT and KEY"),
        (&[("TICKET_KEY_FILE", "/dev/null")], "80"),
        (&[("WORKERS", "0")], "WORKERS"),
        (&[("PROXY_FROM", "10.0.0.0/99")], "PROXY_FROM"),
        (&[("LOG", "xml")], "LOG"),
        (&[("SETTINGS_FILE", "/nowhere")], ""),
    ] {
        let (status, said) = run(vars);
        assert_eq!(status, Some(1), "{vars:?}: {said}");
        assert!(said.contains(wrong) && !said.contains("secret"), "{vars:?}: {said}");
        assert!(said.matches("wrong ").count() <= 1, "{vars:?}: {said}");
    }
    // Without --check the master looks at what workers would stumble over; and what it advises
    // is not to write over a file that is there.
    let (status, stderr) = Server::fails(command(&[("TICKET_KEY_FILE", "/dev/null")]));
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("openssl rand 80 > /dev/null.new;"), "{stderr}");
    let (status, stderr) = Server::fails(command(&[("REDIS_URL", "nonsense")]));
    assert!(status.code() == Some(1) && stderr.contains("REDIS_URL"), "{stderr}");
    let mut argument = command(&[]);
    argument.arg("--help");
    let (status, stderr) = Server::fails(argument);
    assert!(status.code() == Some(1) && stderr.contains("--check"), "{stderr}");
}

#[test]
fn a_flood_of_log_ins_does_not_stop_the_pages() {
    let one = start(&[
        ("LOGINS_PER_MIN", "0"),
        ("CONNECTIONS_PER_CLIENT", "1000"),
        ("REQUESTS_PER_SEC_PER_CLIENT", "100000"),
    ]);
    // More than are hashed at once, and than may wait for it.
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let mut flood: Vec<Client> = (0..cores + 300).map(|_| one.server.connect()).collect();
    let form = "name=nobody&password=wrong+one";
    for client in &mut flood {
        client.send(format!(
            "POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        ));
    }
    // It is answered while most of them are not.
    one.server.get("/").expect(200);
    let statuses: Vec<u16> =
        flood.iter_mut().map(|client| client.read_answer().status).collect();
    assert!(statuses.iter().all(|status| [401, 503].contains(status)), "{statuses:?}");
    assert!(statuses.contains(&401) && statuses.contains(&503), "{statuses:?}");
}

#[test]
fn a_redis_that_speaks_tls() {
    let folder = TempDir::new();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let now = std::time::SystemTime::now();
    certs::make(folder.path(), now - Duration::from_secs(60), now + certs::LIFETIME)
        .expect("a certificate");
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
    let port = port.port().to_string();
    let redis = Command::new("redis-server")
        .args(["--port", "0", "--tls-port", &port, "--bind", "127.0.0.1", "--save", ""])
        .args(["--tls-cert-file", &path("cert.pem"), "--tls-key-file", &path("key.pem")])
        .args(["--tls-ca-cert-file", &path("ca.pem"), "--tls-auth-clients", "no"])
        .args(["--requirepass", "a secret"])
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .spawn();
    let Ok(_redis) = redis.map(Process) else { return }; // the others say how to install it
    wait_until("redis-server", || {
        TcpStream::connect(format!("127.0.0.1:{port}")).is_ok()
    });
    let url = format!("rediss://:a%20secret@localhost:{port}");
    let one =
        start(&[("REDIS_URL", &url), ("REDIS_CA", &path("ca.pem")), ("WORKERS", "1")]);
    one.ready_is("ready");
    one.sign_up("annie");
    let stranger = start(&[("REDIS_URL", &url), ("WORKERS", "1")]);
    stranger.ready_is("redis is away"); // an authority that nobody has named
    assert!(!stranger.server.stderr().contains("secret"), "{}", stranger.server.stderr());
}

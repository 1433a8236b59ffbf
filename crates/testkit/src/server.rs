//! The server under test: a lesson's own binary, or whatever `TEST_URL` names.

use std::env;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::answer::hint_line;
use crate::{Answer, Client, PATIENCE};

/// How long an answer may take in an exercise: who has just written a hang should not have to
/// wait for the news.
const EXERCISE: Duration = Duration::from_secs(3);

/// A running server. Dropping it kills the process that it started.
pub struct Server {
    /// `http://localhost:41234/`, as its first line gave it.
    pub url: String,
    /// The folder of its certificate, for servers with one.
    pub certs: Option<PathBuf>,
    process: Option<Process>,
    exercise: Option<String>,
}

struct Process {
    child: Child,
    stdout: Output,
    stderr: Output,
}

/// What a pipe has brought so far, and whether it has ended.
type Output = Arc<Mutex<(String, bool)>>;

impl Server {
    /// For `mod parity`: the server at `TEST_URL` if that is set (the learner's own, the Node
    /// twin), else the lesson's binary.
    pub fn parity(binary: &str) -> Self {
        match env::var("TEST_URL") {
            Ok(url) => {
                let url = if url.ends_with('/') { url } else { url + "/" };
                Self { url, certs: None, process: None, exercise: None }
            }
            Err(_) => Self::start(binary),
        }
    }

    /// For `mod hardened`: the lesson's binary, on a free port.
    pub fn start(binary: &str) -> Self {
        Self::start_with(binary, &[])
    }

    /// The same with these environment variables.
    #[track_caller]
    pub fn start_with(binary: &str, vars: &[(&str, &str)]) -> Self {
        Self::start_command(command(binary, vars))
    }

    /// A lesson's binary with a free port and, but for `vars`, none of the variables that
    /// lessons read.
    pub fn command(binary: &str, vars: &[(&str, &str)]) -> Command {
        command(binary, vars)
    }

    /// Runs a command that [`Server::command`] made and waits for its first line.
    #[track_caller]
    pub fn start_command(command: Command) -> Self {
        let (mut server, lines) = Self::spawn(command);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = lines.recv_timeout(left) else {
                panic!(
                    "no first line on standard output; on stderr: {}",
                    server.stderr()
                );
            };
            // In the cluster lesson the lines of master and workers may come before it.
            if line.contains("서버 대기 중입니다") {
                server.url =
                    line.split_whitespace().last().unwrap_or_default().to_owned();
                return server;
            }
        }
    }

    /// Runs a command whose standard output goes elsewhere; the URL is for the caller to find.
    #[track_caller]
    pub fn quiet(command: &mut Command, stdout: impl Into<Stdio>) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (stderr, _) = collect(child.stderr.take().expect("piped"));
        let stdout = Arc::new(Mutex::new((String::new(), true)));
        let process = Process { child, stdout, stderr };
        let mut vars = command.get_envs();
        let certs =
            vars.find(|(name, _)| *name == "CERTS_DIR").and_then(|(_, value)| value);
        Self {
            url: String::new(),
            certs: certs.map(PathBuf::from),
            process: Some(process),
            exercise: None,
        }
    }

    /// For `mod exercise`: every answer must come within 3 s, and every failure of this
    /// server's answers shows the hint.
    pub fn exercise(mut self, hint: &str) -> Self {
        self.exercise = Some(hint.to_owned());
        self
    }

    /// Runs a command that [`Server::command`] made and waits for nothing.
    #[track_caller]
    pub fn spawned(command: Command) -> Self {
        Self::spawn(command).0
    }

    /// Runs a lesson's binary to its end, for what cannot start: its status and its stderr.
    #[track_caller]
    pub fn fails(command: Command) -> (ExitStatus, String) {
        let (mut server, _) = Self::spawn(command);
        let status = server.wait();
        (status, server.stderr())
    }

    /// Expects that a lesson does not start with these variables: status 1 and one line on
    /// stderr that has all these parts.
    #[track_caller]
    pub fn cannot_start(binary: &str, vars: &[(&str, &str)], parts: &[&str]) {
        let (status, stderr) = Self::fails(command(binary, vars));
        assert_eq!(status.code(), Some(1), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "one line, not {stderr}");
        for part in parts {
            assert!(stderr.contains(part), "expected {part:?} in {stderr}");
        }
    }

    #[track_caller]
    fn spawn(mut command: Command) -> (Self, Receiver<String>) {
        let mut server = Self::quiet(&mut command, Stdio::piped());
        let process = server.process_mut();
        let (stdout, lines) = collect(process.child.stdout.take().expect("piped"));
        process.stdout = stdout;
        (server, lines)
    }

    /// `localhost:41234`.
    pub fn authority(&self) -> &str {
        let rest = self.url.split_once("://").map_or(&*self.url, |(_, rest)| rest);
        rest.split('/').next().unwrap_or(rest)
    }

    /// The port that the server took.
    pub fn port(&self) -> u16 {
        let port = self.authority().rsplit(':').next().unwrap_or_default();
        port.parse().unwrap_or(if self.url.starts_with("https") { 443 } else { 80 })
    }

    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.process().child.id()
    }

    /// A new connection; with TLS, where the URL says so, and HTTP/1.1 over it.
    #[track_caller]
    pub fn connect(&self) -> Client {
        let mut client = self.connect_plain_or_tls();
        if let Some(hint) = &self.exercise {
            client.set_patience(EXERCISE);
            client.hint.clone_from(hint);
        }
        client
    }

    #[track_caller]
    fn connect_plain_or_tls(&self) -> Client {
        if !self.url.starts_with("https:") {
            return Client::connect(self.authority());
        }
        #[cfg(feature = "tls")]
        return self.connect_tls(&["http/1.1"]);
        #[cfg(not(feature = "tls"))]
        panic!("{}: testkit was built without its feature tls", self.url);
    }

    /// A plain connection, as far as it has come when nothing was said yet.
    #[track_caller]
    pub fn connect_tcp(&self) -> TcpStream {
        Client::tcp(self.authority())
    }

    /// Goes on with a plain connection as [`Server::connect`] does.
    #[track_caller]
    pub fn connect_over(&self, tcp: TcpStream) -> Client {
        if !self.url.starts_with("https:") {
            let stream = Box::new(tcp.try_clone().expect("clone of a socket"));
            return Client::over(stream, tcp, self.authority(), "http");
        }
        #[cfg(feature = "tls")]
        return self.connect_tls_over(tcp, &["http/1.1"]);
        #[cfg(not(feature = "tls"))]
        panic!("{}: testkit was built without its feature tls", self.url);
    }

    /// Goes on with a plain connection as [`Server::connect_tls`] does.
    #[cfg(feature = "tls")]
    #[track_caller]
    pub fn connect_tls_over(&self, tcp: TcpStream, protocols: &[&str]) -> Client {
        let client = Client::tls_over(tcp, self.authority(), self.trust(), protocols);
        client.expect("a handshake")
    }

    /// A new TLS connection that offers these protocols. It believes the authority of the
    /// server's own folder of certificates; of a server at `TEST_URL` it believes anything.
    #[cfg(feature = "tls")]
    #[track_caller]
    pub fn connect_tls(&self, protocols: &[&str]) -> Client {
        Client::connect_tls(self.authority(), self.trust(), protocols)
    }

    #[cfg(feature = "tls")]
    fn trust(&self) -> crate::Trust {
        let certs = self.certs.as_ref();
        certs.map_or(crate::Trust::Anybody, |c| crate::Trust::Authority(c.join("ca.pem")))
    }

    /// GET over a connection of its own.
    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], b"")
    }

    /// Any request over a connection of its own.
    #[track_caller]
    pub fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl AsRef<[u8]>,
    ) -> Answer {
        self.connect().request(method, path, headers, body.as_ref())
    }

    /// Bytes as they are, over a connection of their own; what comes back until it closes.
    #[track_caller]
    pub fn raw(&self, bytes: impl AsRef<[u8]>) -> Vec<u8> {
        let mut client = self.connect();
        client.send(bytes.as_ref());
        client.read_to_end()
    }

    /// Asks for a path again and again until its body is this; fails with the last answer.
    #[track_caller]
    pub fn get_until(&self, path: &str, body: &str) -> Answer {
        self.get_while(path, |answer| answer.body != body.as_bytes()).body(body)
    }

    /// The same until its body is this JSON.
    #[track_caller]
    pub fn get_until_json(&self, path: &str, json: &str) -> Answer {
        self.get_while(path, |answer| !answer.is_json(json)).json(json)
    }

    #[track_caller]
    fn get_while(&self, path: &str, goes_on: impl Fn(&Answer) -> bool) -> Answer {
        let deadline = Instant::now() + PATIENCE / 2;
        loop {
            let answer = self.get(path).expect(200);
            if !goes_on(&answer) || Instant::now() > deadline {
                return answer;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Fails the test with the hint of this exercise.
    #[track_caller]
    pub fn fail(&self, what: impl std::fmt::Display) -> ! {
        panic!("{what}\n{}", hint_line(self.exercise.as_deref().unwrap_or_default()))
    }

    /// What the server has printed so far.
    pub fn stdout(&self) -> String {
        text(&self.process().stdout)
    }

    /// What the server has said on standard error so far.
    pub fn stderr(&self) -> String {
        text(&self.process().stderr)
    }

    /// Waits for a text on standard output.
    #[track_caller]
    pub fn wait_for_output(&self, part: &str) {
        wait_until(&format!("{part:?} on standard output"), || {
            self.stdout().contains(part)
        });
    }

    /// Sends a signal by name (`TERM`, `INT`, `HUP`), as `kill` does.
    #[track_caller]
    pub fn signal(&self, name: &str) {
        let mut kill = Command::new("kill");
        kill.args([format!("-{name}"), self.pid().to_string()]);
        let status = kill.status().expect("kill");
        assert!(status.success(), "kill -{name} {}", self.pid());
    }

    /// The memory that the process holds, in KiB: `VmRSS` of proc(5).
    #[cfg(target_os = "linux")]
    #[track_caller]
    pub fn memory(&self) -> u64 {
        let status = format!("/proc/{}/status", self.pid());
        let status = std::fs::read_to_string(status).expect("a running process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next());
        kib.and_then(|kib| kib.parse().ok()).expect("a number of KiB")
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.process_mut().child.try_wait(), Ok(None))
    }

    /// Waits until the process has ended by itself.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Ok(Some(status)) = self.process_mut().child.try_wait() {
                let Process { stdout, stderr, .. } = self.process();
                wait_until("the end of its output", || ended(stdout) && ended(stderr));
                return status;
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("the server did not end; on stderr: {}", self.stderr());
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("a server that this test started, not TEST_URL")
    }

    fn process_mut(&mut self) -> &mut Process {
        self.process.as_mut().expect("a server that this test started, not TEST_URL")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            if thread::panicking() {
                // The harness shows it of a test that fails.
                let state = match process.child.try_wait() {
                    Ok(Some(status)) => format!("has ended ({status})"),
                    _ => "is still running".into(),
                };
                match &*text(&process.stderr) {
                    "" => eprintln!("the server {state}"),
                    stderr => {
                        eprintln!("the server {state}; its standard error:\n{stderr}");
                    }
                }
            }
            let _ = process.child.kill();
            let _ = process.child.wait();
        }
    }
}

fn command(binary: &str, vars: &[(&str, &str)]) -> Command {
    const READ_BY_LESSONS: [&str; 19] = [
        "HOST",
        "HTML_DIR",
        "CERTS_DIR",
        "WIRE",
        "REDIS_URL",
        "SESSION_TTL_SECS",
        "CERT",
        "KEY",
        "CA",
        "ALPN",
        "CLUSTER_SCHED",
        "CRASH_AFTER_MS",
        "RESPAWN",
        "WORKERS",
        "RUST_BACKTRACE",
        "H1_PORT",
        "TEST_URL",
        "PORT",
        "CLUSTER_PROGRAM",
    ];
    // `TEST_WRAPPER="strace …"` runs every server under another program.
    let wrapper = env::var("TEST_WRAPPER").unwrap_or_default();
    let mut words =
        wrapper.split_whitespace().map(OsStr::new).chain([OsStr::new(binary)]);
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    for name in READ_BY_LESSONS {
        command.env_remove(name);
    }
    command.env("PORT", "0").env("H1_PORT", "0").env("LC_ALL", "ko_KR.UTF-8");
    // The learner's own certificates are none of a test's business.
    let certs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/test-certs");
    command.env("CERTS_DIR", certs).envs(vars.iter().copied());
    command
}

/// Reads a pipe to its end on a thread: all of it as text, and each line as it comes.
fn collect(pipe: impl Read + Send + 'static) -> (Output, Receiver<String>) {
    let all = Output::default();
    let (sender, lines) = channel();
    let writer = all.clone();
    thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        while pipe.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            let text = String::from_utf8_lossy(&line).into_owned();
            lock(&writer).0.push_str(&text);
            let _ = sender.send(text);
            line.clear();
        }
        lock(&writer).1 = true;
    });
    (all, lines)
}

fn lock(output: &Output) -> MutexGuard<'_, (String, bool)> {
    output.lock().unwrap_or_else(PoisonError::into_inner)
}

fn text(output: &Output) -> String {
    lock(output).0.clone()
}

fn ended(output: &Output) -> bool {
    lock(output).1
}

/// Waits until `condition` holds; fails after [`PATIENCE`].
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

//! Lesson 9 over the wire, down to the signals.
#![cfg(unix)]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use testkit::{Answer, Client, RedisServer, Server, TempDir, wait_until};

const BIN: &str = env!("CARGO_BIN_EXE_cluster");
const PAGE: &str = "<h1>Hello Node!</h1><p>Hello Cluster!</p>";
const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
const LAST_GET: &str = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

testkit::every_lesson!(super::BIN);

/// The number of the worker that answered.
#[track_caller]
fn worker(answer: &Answer) -> u32 {
    let pid = answer.get("x-worker").and_then(|pid| pid.parse().ok());
    pid.unwrap_or_else(|| answer.fail("expected X-Worker: <process id>"))
}

/// What the Node original does too: these run against any server, by `TEST_URL`.
mod parity {
    use super::*;

    #[test]
    fn any_path_is_the_page_and_says_which_worker_made_it() {
        let server = Server::parity(BIN);
        for path in ["/", "/favicon.ico", "/any/path?query"] {
            let answer = server
                .get(path)
                .expect(200)
                .header("content-type", "text/html; charset=utf-8")
                .body(PAGE);
            worker(&answer);
        }
    }

    #[test]
    fn more_than_one_worker_answers() {
        let server = Server::parity(BIN);
        let first = worker(&server.get("/favicon.ico").expect(200));
        wait_until("an answer of another worker", || {
            worker(&server.get("/favicon.ico").expect(200)) != first
        });
    }

    #[test]
    fn a_worker_that_was_asked_is_replaced() {
        let server = Server::parity(BIN);
        let gone = worker(&server.get("/").expect(200));
        let mut others = 0;
        // Whoever asks again and again meets everybody in turn, and this one no more.
        wait_until("answers of others alone", || {
            let again = who(&server) == Some(gone);
            others = if again { 0 } else { others + 1 };
            others > 60
        });
    }

    /// Who answers; or nobody does: Node's master hands connections to a worker that has just
    /// ended, too, and these hang; and with no worker left nobody listens for a moment.
    fn who(server: &Server) -> Option<u32> {
        let mut tcp = TcpStream::connect(server.authority()).ok()?;
        tcp.set_read_timeout(Some(Duration::from_millis(500))).expect("time limit");
        tcp.write_all(LAST_FAVICON).ok()?;
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).ok()?;
        let answer = answer.to_ascii_lowercase();
        let pid = answer.lines().find_map(|line| line.strip_prefix("x-worker: "));
        pid?.parse().ok()
    }

    const LAST_FAVICON: &[u8] =
        b"GET /favicon.ico HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

    #[test]
    fn visits_counts_what_this_worker_answered() {
        let server = Server::parity(BIN);
        let answer = server.get("/visits").expect(200);
        let answer = answer.header("content-type", "application/json; charset=utf-8");
        let start = format!("{{\"pid\":{},\"own\":", worker(&answer));
        assert!(answer.text().starts_with(&start), "{}", answer.text());
        assert!(answer.text().contains(",\"all\":"), "{}", answer.text());
    }
}

/// A cluster whose workers stay up.
#[track_caller]
fn calm(workers: usize) -> Server {
    let workers = workers.to_string();
    Server::start_with(BIN, &[("WORKERS", &workers), ("CRASH_AFTER_MS", "off")])
}

/// The numbers of all workers that ever came up.
fn came_up(server: &Server) -> Vec<u32> {
    let stdout = server.stdout();
    let lines = stdout.lines().filter_map(|line| line.strip_suffix("번 워커 실행"));
    lines.map(|pid| pid.parse().expect("a process id")).collect()
}

/// How many workers have ended.
fn ended(server: &Server) -> usize {
    server.stdout().matches("번 워커가 종료되었습니다.").count()
}

/// What is printed when a worker ends.
fn exit_lines(pid: u32, how: &str) -> String {
    format!("{pid}번 워커가 종료되었습니다.\n{how}\n")
}

#[track_caller]
fn kill(signal: &str, who: impl ToString) {
    let mut kill = Command::new("kill");
    kill.args([&format!("-{signal}"), "--", &who.to_string()]);
    assert!(kill.status().expect("kill").success());
}

/// A worker that does not move. It hears of no end, its master's neither: so it is killed when
/// the test is over, however that ends.
struct Stopped(u32);

impl Stopped {
    fn new(pid: u32) -> Self {
        kill("STOP", pid);
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let mut kill = Command::new("kill");
        kill.args(["-KILL", &self.0.to_string()]).stderr(std::process::Stdio::null());
        let _ = kill.status();
    }
}

/// `ps` of one process: nothing where there is none, `Z…` for one that nobody has reaped.
fn state(pid: u32) -> String {
    let ps = Command::new("ps").args(["-o", "stat=", "-p", &pid.to_string()]).output();
    String::from_utf8_lossy(&ps.expect("ps").stdout).trim().to_owned()
}

/// One request over a connection of its own: the number of the worker, or what came instead.
fn ask(server: &Server) -> Result<u32, String> {
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\n");
    // Long enough for a worker to have it, and to end with half a request in its hands.
    thread::sleep(Duration::from_millis(1));
    client.send("Host: a\r\nConnection: close\r\n\r\n");
    let answer = String::from_utf8(client.read_to_end()).expect("UTF-8");
    let pid = answer.lines().find_map(|line| line.strip_prefix("x-worker: "));
    let pid = pid.and_then(|pid| pid.parse().ok());
    let whole = answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with(PAGE);
    pid.filter(|_| whole).ok_or(answer)
}

/// Has four clients ask over fresh connections as long as `during` runs. How many were
/// answered, and what came instead of an answer.
fn load(server: &Server, during: impl FnOnce()) -> (usize, Vec<String>) {
    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let client = || {
        let mut lost = Vec::new();
        while !stop.load(Relaxed) {
            match ask(server) {
                Ok(_) => _ = answered.fetch_add(1, Relaxed),
                Err(instead) => lost.push(instead),
            }
        }
        lost
    };
    let lost = thread::scope(|scope| {
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(client)).collect();
        during();
        stop.store(true, Relaxed);
        clients.into_iter().flat_map(|client| client.join().expect("a client")).collect()
    });
    (answered.into_inner(), lost)
}

/// Where ours is better than the original.
mod hardened {
    use super::*;

    #[test]
    fn the_lines_at_the_start() {
        let server = calm(3);
        let stdout = server.stdout();
        let lines: Vec<&str> = stdout.lines().collect();
        assert_eq!(lines[0], format!("마스터 프로세스 아이디: {}", server.pid()));
        assert_eq!(came_up(&server).len(), 3, "{stdout}");
        assert!(!came_up(&server).contains(&server.pid()), "{stdout}");
        assert!(lines[4].contains("서버 대기 중입니다"), "{stdout}");
        assert_eq!(lines.len(), 5, "{stdout}");
    }

    #[test]
    fn forty_connections_on_four_workers_are_ten_each_in_strict_turn() {
        let server = calm(4);
        let turns: Vec<u32> = (0..40).map(|_| worker(&server.get("/"))).collect();
        assert!(turns.windows(5).all(|five| five[0] == five[4]), "{turns:?}");
        // All open at once, too.
        let mut clients: Vec<Client> = (0..40).map(|_| server.connect()).collect();
        let together =
            clients.iter_mut().map(|c| worker(&c.request("GET", "/", &[], b"")));
        for turns in [turns, together.collect()] {
            let mut each = BTreeMap::new();
            turns.iter().for_each(|pid| *each.entry(*pid).or_insert(0) += 1);
            assert_eq!(each.values().collect::<Vec<_>>(), [&10; 4], "{each:?}");
        }
    }

    #[test]
    fn workers_may_share_the_sockets_instead() {
        let vars = [("CLUSTER_SCHED", "shared"), ("WORKERS", "2")];
        let mut server = Server::start_with(BIN, &vars);
        for _ in 0..40 {
            let pid = worker(&server.get("/favicon.ico").expect(200));
            assert!(came_up(&server).contains(&pid));
        }
        if std::net::TcpListener::bind("[::1]:0").is_ok() {
            let mut client = Client::connect(&format!("[::1]:{}", server.port()));
            client.request("GET", "/favicon.ico", &[], b"").expect(200);
        }
        let (answered, lost) = load(&server, || {
            wait_until("three exits", || ended(&server) >= 3);
        });
        assert!(lost.is_empty(), "{} of {answered}: {lost:?}", lost.len());
        server.signal("TERM");
        assert_eq!(server.wait().code(), Some(0), "{}", server.stderr());
    }

    #[test]
    fn a_favicon_visits_and_the_live_page_end_nobody() {
        let vars = [("CRASH_AFTER_MS", "0"), ("WORKERS", "1")];
        let server = Server::start_with(BIN, &vars);
        for path in ["/favicon.ico", "/visits", "/cluster", "/cluster/status"] {
            for _ in 0..3 {
                server.get(path).expect(200);
            }
        }
        server.request("POST", "/", &[], "").expect(405);
        let pid = worker(&server.get("/").expect(200));
        assert_eq!(came_up(&server)[0], pid, "the first, and the only one until now");
        server.wait_for_output(&exit_lines(pid, "code 1 signal null"));
        assert_ne!(worker(&server.get("/favicon.ico").expect(200)), pid);
        assert_eq!(ended(&server), 1);
    }

    #[test]
    fn no_request_is_lost_to_the_exits_of_the_demonstration() {
        let vars = [("CRASH_AFTER_MS", "100"), ("WORKERS", "3")];
        let server = Server::start_with(BIN, &vars);
        let (answered, lost) = load(&server, || thread::sleep(Duration::from_secs(8)));
        assert!(lost.is_empty(), "{} of {answered}: {lost:?}", lost.len());
        assert!(answered > 100 && ended(&server) > 3, "{answered}, {}", ended(&server));
        wait_until("code 1 of each of them", || {
            let stdout = server.stdout();
            let exits = stdout.matches("번 워커가 종료되었습니다.").count();
            stdout.matches("code 1 signal null").count() == exits
        });
    }

    #[test]
    fn a_worker_that_leaves_answers_what_it_has() {
        let vars = [("CRASH_AFTER_MS", "0"), ("WORKERS", "1")];
        let server = Server::start_with(BIN, &vars);
        let mut half = server.connect();
        half.send("GET /half HTTP/1.1\r\nHo");
        let mut silent = server.connect();
        let pid = worker(&server.get("/").expect(200));
        wait_until("its successor", || came_up(&server).len() == 2);
        assert_eq!(ended(&server), 0, "it waits for the rest of that request");
        half.send("st: a\r\n\r\n");
        let answer = half.read_answer().expect(200).header("connection", "close");
        assert_eq!(worker(&answer), pid);
        silent.expect_closed();
        server.wait_for_output(&exit_lines(pid, "code 1 signal null"));
    }

    #[test]
    fn no_request_is_lost_when_the_workers_are_replaced() {
        let server = calm(2);
        let (answered, lost) = load(&server, || {
            for roll in 1..=5 {
                server.signal("HUP");
                wait_until("two new workers and the end of two old ones", || {
                    came_up(&server).len() == 2 + 2 * roll && ended(&server) == 2 * roll
                });
            }
        });
        assert!(lost.is_empty(), "{} of {answered}: {lost:?}", lost.len());
        wait_until("code 0 of each of them", || {
            server.stdout().matches("code 0 signal null").count() == 10
        });
    }

    #[test]
    fn only_what_is_inside_a_killed_worker_is_lost() {
        const KILLS: usize = 6;
        let server = calm(3);
        let (answered, lost) = load(&server, || {
            for n in 0..KILLS {
                // The oldest that still lives.
                kill("KILL", came_up(&server)[n]);
                wait_until("its successor", || came_up(&server).len() == 4 + n);
            }
        });
        // Each of the four clients has one request under way when a worker dies.
        assert!(lost.len() <= 4 * KILLS, "{} of {answered}: {lost:?}", lost.len());
        assert!(lost.iter().all(String::is_empty), "half an answer: {lost:?}");
        assert!(answered > lost.len(), "{answered} answered, {} lost", lost.len());
        wait_until("the signal of each of them", || {
            server.stdout().matches("code null signal SIGKILL").count() == KILLS
        });
        for _ in 0..6 {
            ask(&server).expect("an answer, now as ever");
        }
    }

    #[test]
    fn what_a_dead_worker_had_not_taken_goes_to_another() {
        let server = calm(2);
        let stopped = came_up(&server)[0];
        let _stopped = Stopped::new(stopped);
        let mut clients: Vec<Client> = (0..20).map(|_| server.connect()).collect();
        clients.iter_mut().for_each(|client| assert!(client.send(GET)));
        // Half of them lie before the one that does not move; the other half is answered.
        let waiting = waiting(&server, stopped);
        assert!(waiting > 0, "nothing was handed to it");
        kill("KILL", stopped);
        for client in &mut clients {
            assert_ne!(worker(&client.read_answer().expect(200)), stopped);
        }
    }

    /// How many connections this worker has not taken yet, as the live page shows it.
    fn waiting(server: &Server, pid: u32) -> usize {
        // The worker that is stopped does not answer this, but the other one does.
        let mut clients = [server.connect(), server.connect(), server.connect()];
        for client in &mut clients {
            client.send("GET /cluster/status HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        let clients = clients.map(|mut client| {
            thread::spawn(move || {
                client.set_patience(Duration::from_secs(2));
                client.read_answer().text().to_owned()
            })
        });
        let answers = clients.map(|client| client.join().unwrap_or_default());
        let status = answers.iter().find(|text| !text.is_empty()).expect("an answer");
        let of_worker =
            status.split('{').find(|w| w.contains(&format!("\"pid\":{pid},")));
        let (_, waiting) =
            of_worker.and_then(|w| w.split_once("\"waiting\":")).expect(status);
        waiting.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().expect("a number")
    }

    #[test]
    fn a_stopped_worker_is_passed_over_and_holds_up_nobody_else() {
        let server = calm(2);
        let stopped = came_up(&server)[0];
        let _stopped = Stopped::new(stopped);
        // More than any worker is given unless it takes them.
        let mut clients: Vec<Client> = (0..200).map(|_| server.connect()).collect();
        clients.iter_mut().for_each(|client| assert!(client.send(GET)));
        // They have reached the workers when a later one is answered; from then on all are.
        for _ in 0..20 {
            assert_ne!(ask(&server).expect("an answer"), stopped);
        }
        kill("CONT", stopped);
        for client in &mut clients {
            client.read_answer().expect(200);
        }
        wait_until("its turn again", || ask(&server) == Ok(stopped));
    }

    /// What was handed to a worker that hangs cannot be called back. So it is killed, and others
    /// serve what it had not taken.
    #[test]
    fn a_worker_that_hangs_is_replaced_and_what_it_had_not_taken_is_served() {
        let server = calm(2);
        let hangs = came_up(&server)[0];
        let _stopped = Stopped::new(hangs);
        let mut clients: Vec<Client> = (0..20).map(|_| server.connect()).collect();
        clients.iter_mut().for_each(|client| assert!(client.send(GET)));
        for client in &mut clients {
            assert_ne!(worker(&client.read_answer().expect(200)), hangs);
        }
        server.wait_for_output(&exit_lines(hangs, "code null signal SIGKILL"));
        wait_until("its successor", || came_up(&server).len() == 3);
        assert_eq!(ended(&server), 1);
    }

    /// Where nobody can take a connection, it is told so by its end, and does not wait for ever.
    #[test]
    fn without_workers_a_client_waits_10_s_at_most() {
        let folder = TempDir::new();
        let program = folder.path().join("cluster");
        std::os::unix::fs::symlink(BIN, &program).expect("a link");
        let vars = [("WORKERS", "1"), ("CRASH_AFTER_MS", "off")];
        let server = Server::start_with(program.to_str().expect("UTF-8"), &vars);
        std::fs::remove_file(&program).expect("removed");
        kill("KILL", came_up(&server)[0]);
        server.wait_for_output("signal SIGKILL");
        let mut client = server.connect();
        let start = Instant::now();
        client.send(GET);
        client.expect_closed();
        assert!(start.elapsed() > Duration::from_secs(9), "given up too early");
        std::os::unix::fs::symlink(BIN, &program).expect("a link");
        server.get("/").expect(200);
    }

    /// Each pause after a bad start doubles; an exit that was asked for is no bad start.
    #[test]
    fn exits_that_were_asked_for_cost_nobody_a_pause() {
        // One slot, and a worker that has just come up: each exit would be a bad start.
        let server = calm(1);
        let start = Instant::now();
        for n in 0..25 {
            let path = format!("/cluster/crash/{}", came_up(&server)[n]);
            server.request("POST", &path, &[], "").expect(202);
            wait_until("its successor", || came_up(&server).len() == 2 + n);
        }
        // With pauses it would be half a minute.
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
        wait_until("all their ends", || ended(&server) == 25);
    }

    /// Workers that leave have 10 s for what they have; so that they cannot pile up, the oldest
    /// of too many ends at once.
    #[cfg(target_os = "linux")]
    #[test]
    fn there_are_never_more_than_twice_the_workers_and_one() {
        let server = calm(2);
        let children = || {
            let pid = server.pid();
            let list = format!("/proc/{pid}/task/{pid}/children");
            std::fs::read_to_string(list).expect("a process").split_whitespace().count()
        };
        let mut unfinished = Vec::new();
        for n in 0..12 {
            // A request that never ends, in each worker.
            for _ in 0..2 {
                let mut half = server.connect();
                half.send(&GET[..20]);
                unfinished.push(half);
            }
            let path = format!("/cluster/crash/{}", came_up(&server)[n]);
            server.request("POST", &path, &[], "").expect(202);
            wait_until("its successor", || {
                assert!(children() <= 5, "{} workers", children());
                came_up(&server).len() == 3 + n
            });
        }
        assert!(ended(&server) >= 8, "{} have ended", ended(&server));
        server.get("/").expect(200);
    }

    /// `current -> releases/1` becomes `current -> releases/2`: what was typed counts.
    #[test]
    fn a_roll_follows_the_link_anew_and_says_what_it_runs() {
        let folder = TempDir::new();
        let path = |name: &str| folder.path().join(name);
        let link = |to: &str, name: &str| {
            let made = std::os::unix::fs::symlink(to, path("new"));
            made.and_then(|()| std::fs::rename(path("new"), path(name))).expect("a link");
        };
        let log = path("log");
        let script = "printf '#!/bin/sh\necho start >> \"%s\"\nexec \"%s\"\n' \"$1\" \"$2\" > \"$3\"; chmod +x \"$3\"";
        let mut sh = Command::new("sh");
        sh.args(["-c", script, "sh"]).arg(&log).arg(BIN).arg(path("release-2"));
        assert!(sh.status().expect("sh").success());
        link(BIN, "current");
        let vars = [("WORKERS", "2"), ("CRASH_AFTER_MS", "off")];
        let server = Server::start_with(path("current").to_str().expect("UTF-8"), &vars);
        link("release-2", "current");
        server.signal("HUP");
        wait_until("two new workers", || ended(&server) == 2);
        assert_eq!(std::fs::read_to_string(&log).expect("its log"), "start\nstart\n");
        assert!(server.stderr().contains("/release-2"), "{}", server.stderr());
        server.get("/").expect(200);
    }

    /// Eight workers that cannot start say so at the same moment: a line each.
    #[test]
    fn lines_of_several_workers_do_not_mix() {
        let html = TempDir::new();
        let pages = html.path().join("html");
        std::fs::create_dir(&pages).expect("a folder");
        let vars = [
            ("WORKERS", "8"),
            ("CRASH_AFTER_MS", "off"),
            ("HTML_DIR", pages.to_str().expect("UTF-8")),
        ];
        let server = Server::start_with(BIN, &vars);
        std::fs::remove_dir(&pages).expect("removed");
        came_up(&server).into_iter().for_each(|pid| kill("KILL", pid));
        wait_until("24 errors", || server.stderr().lines().count() >= 24);
        for line in server.stderr().lines() {
            assert_eq!(line.matches("Error: ").count(), 1, "{line}");
            assert!(line.starts_with("Error: ") && line.contains("HTML_DIR"), "{line}");
        }
    }

    #[test]
    fn a_stopped_worker_does_not_cost_the_master_all_its_files() {
        let lesson = Server::command(BIN, &[("WORKERS", "2"), ("CRASH_AFTER_MS", "off")]);
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n 64; exec '{BIN}'")]);
        for (name, value) in lesson.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let server = Server::start_command(command);
        let stopped = came_up(&server)[0];
        let _stopped = Stopped::new(stopped);
        // Half of these would be too many for the master to keep.
        let _waiting: Vec<Client> = (0..100)
            .map(|_| {
                let mut client = server.connect();
                client.send(LAST_GET);
                client
            })
            .collect();
        for _ in 0..20 {
            assert_ne!(ask(&server).expect("an answer"), stopped);
        }
    }

    /// As a supervisor of services does it: SIGTERM to every process at once.
    #[test]
    fn sigterm_to_all_at_once_starts_nobody_anew() {
        use std::os::unix::process::CommandExt;
        let vars = [("WORKERS", "4"), ("CRASH_AFTER_MS", "off")];
        let mut command = Server::command(BIN, &vars);
        command.process_group(0);
        let mut server = Server::start_command(command);
        let mut half = server.connect();
        half.send(&GET[..20]);
        server.get("/").expect(200);
        kill("TERM", format!("-{}", server.pid()));
        half.send(&GET[20..]);
        half.read_answer().expect(200);
        assert_eq!(server.wait().code(), Some(0), "{}", server.stderr());
        assert_eq!(came_up(&server).len(), 4);
        assert_eq!(server.stdout().matches("code 0 signal null").count(), 4);
    }

    #[test]
    fn without_respawn_the_last_one_takes_the_master_along() {
        let vars = [("CRASH_AFTER_MS", "0"), ("WORKERS", "2"), ("RESPAWN", "off")];
        let mut server = Server::start_with(BIN, &vars);
        let first = worker(&server.get("/").expect(200));
        wait_until("its exit", || ended(&server) == 1);
        assert_ne!(worker(&server.get("/").expect(200)), first);
        assert_eq!(server.wait().code(), Some(1));
        assert_eq!((came_up(&server).len(), ended(&server)), (2, 2));
        assert!(server.stderr().contains("RESPAWN=off"), "{}", server.stderr());
    }

    /// A deployment gone wrong: the program is another one now, and does not start.
    #[test]
    fn a_program_that_does_not_start_stops_a_roll_and_is_tried_ever_more_rarely() {
        let folder = TempDir::new();
        let path = |name: &str| folder.path().join(name);
        let program = path("cluster");
        // A link, and not a copy: while another test forks, a file that was just written may
        // still be open for writing, and then it cannot be started.
        std::os::unix::fs::symlink(BIN, &program).expect("a link");
        let vars = [("WORKERS", "1"), ("CRASH_AFTER_MS", "off")];
        let server = Server::start_with(program.to_str().expect("UTF-8"), &vars);
        let first = worker(&server.get("/").expect(200));

        let log = path("starts");
        let script = format!("#!/bin/sh\necho start >> '{}'\nexit 3\n", log.display());
        let write = "printf %s \"$2\" > \"$1\"; chmod +x \"$1\"";
        let mut sh = Command::new("sh");
        sh.args(["-c", write, "sh"]).arg(path("broken")).arg(script);
        assert!(sh.status().expect("sh").success());
        std::fs::rename(&program, path("good")).expect("renamed");
        std::fs::rename(path("broken"), &program).expect("renamed");
        let starts = || std::fs::read_to_string(&log).unwrap_or_default().lines().count();
        server.signal("HUP");
        wait_until("the end of the roll", || server.stderr().contains("교체를 멈춥니다"));
        assert_eq!(starts(), 1);
        assert_eq!(worker(&server.get("/").expect(200)), first);

        let killed = Instant::now();
        kill("KILL", first);
        wait_until("five more starts", || starts() >= 6);
        // Pauses of 0.1, 0.2, 0.4, 0.8 s lie between them: on no machine is it quicker.
        assert!(killed.elapsed() >= Duration::from_millis(1500), "a busy loop");
        server.wait_for_output("code 3 signal null");

        // Connections wait meanwhile. With a good program they are answered.
        let mut waiting = server.connect();
        waiting.send(GET);
        std::fs::rename(path("good"), &program).expect("renamed");
        server.signal("HUP");
        assert_ne!(worker(&waiting.read_answer().expect(200)), first);
    }

    #[test]
    fn sigterm_leaves_no_process_and_a_free_port() {
        let mut server = calm(3);
        server.get("/").expect(200);
        server.signal("TERM");
        assert_eq!(server.wait().code(), Some(0), "{}", server.stderr());
        assert_eq!(server.stdout().matches("code 0 signal null").count(), 3);
        for pid in came_up(&server) {
            assert_eq!(state(pid), "", "{pid}");
        }
        let port = server.port().to_string();
        Server::start_with(BIN, &[("PORT", &port)]).get("/").expect(200);
    }

    #[test]
    fn without_their_master_workers_finish_and_go() {
        for schedule in ["rr", "shared"] {
            let vars = [("WORKERS", "2"), ("CLUSTER_SCHED", schedule)];
            let mut server = Server::start_with(BIN, &vars);
            let mut half = server.connect();
            half.send("GET /favicon.ico HTTP/1.1\r\nHo");
            for _ in 0..8 {
                server.get("/favicon.ico").expect(200);
            }
            server.signal("KILL");
            half.send("st: a\r\n\r\n");
            half.read_answer().expect(200);
            // Their output is the master's, so its end is theirs.
            server.wait();
            for pid in came_up(&server) {
                wait_until("its end", || matches!(&*state(pid), "" | "Z" | "Z+"));
            }
            let port = server.port().to_string();
            Server::start_with(BIN, &[("PORT", &port)]).get("/").expect(200);
        }
    }

    /// Ctrl+C goes to the whole group of processes, not to the master alone.
    #[test]
    fn a_terminals_sigint_cuts_nobody_off() {
        use std::os::unix::process::CommandExt;
        let vars = [("WORKERS", "2"), ("CRASH_AFTER_MS", "off")];
        let mut command = Server::command(BIN, &vars);
        command.process_group(0);
        let mut server = Server::start_command(command);
        let mut half = [server.connect(), server.connect()];
        half.iter_mut().for_each(|client| assert!(client.send(&GET[..20])));
        (0..2).for_each(|_| _ = server.get("/").expect(200));
        kill("INT", format!("-{}", server.pid()));
        for client in &mut half {
            client.send(&GET[20..]);
            client.read_answer().expect(200);
        }
        assert_eq!(server.wait().code(), Some(0), "{}", server.stderr());
        assert_eq!(server.stdout().matches("code 0 signal null").count(), 2);
    }

    #[test]
    fn a_worker_that_is_told_to_end_leaves_politely_and_is_replaced() {
        let server = calm(2);
        let told = came_up(&server)[0];
        kill("TERM", told);
        server.wait_for_output(&exit_lines(told, "code 0 signal null"));
        wait_until("its successor", || came_up(&server).len() == 3);
    }

    #[test]
    fn twenty_exits_leave_no_zombie() {
        let vars = [("WORKERS", "20"), ("CRASH_AFTER_MS", "0")];
        let server = Server::start_with(BIN, &vars);
        let first = came_up(&server);
        (0..20).for_each(|_| _ = server.get("/").expect(200));
        for pid in first {
            server.wait_for_output(&exit_lines(pid, "code 1 signal null"));
            assert_eq!(state(pid), "", "{pid}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_thousand_connections_leave_no_file_open() {
        let server = calm(2);
        let mut pids = came_up(&server);
        pids.push(server.pid());
        let files = || -> Vec<usize> {
            let folders = pids.iter().map(|pid| format!("/proc/{pid}/fd"));
            folders.map(|fd| std::fs::read_dir(fd).expect("a process").count()).collect()
        };
        let before = files();
        for _ in 0..1000 {
            ask(&server).expect("an answer");
        }
        wait_until(&format!("{before:?} open files as before"), || files() == before);
    }

    #[test]
    fn wire_shows_who_said_what_to_whom() {
        let vars = [("WIRE", "1"), ("WORKERS", "2"), ("CRASH_AFTER_MS", "off")];
        let server = Server::start_with(BIN, &vars);
        let pid = worker(&server.get("/").expect(200));
        for line in [
            "< {\"Start\":true}",
            "> \"Ready\"",
            "< \"Connection\"",
            "> {\"Took\":1}",
            "#1 > GET / HTTP/1.1\\r\\n",
            "#1 < HTTP/1.1 200 OK\\r\\n",
        ] {
            let line = format!("{pid} {line}\n");
            wait_until(&line, || server.stderr().contains(&line));
        }
    }

    #[test]
    fn a_variable_left_over_makes_nobody_a_worker() {
        for socket in ["1", "8:12345", "abc"] {
            let vars = [("CLUSTER_SOCKET", socket), ("WORKERS", "1")];
            let server = Server::start_with(BIN, &vars);
            assert_ne!(worker(&server.get("/").expect(200)), server.pid());
        }
    }

    #[test]
    fn values_that_mean_nothing_are_refused() {
        for (name, value, right) in [
            ("WORKERS", "0", "1–256"),
            ("WORKERS", "257", "1–256"),
            ("WORKERS", "many", "1–256"),
            ("WORKERS", "-1", "1–256"),
            ("CLUSTER_SCHED", "random", "shared"),
            ("CRASH_AFTER_MS", "soon", "off"),
            ("CRASH_AFTER_MS", "-1", "off"),
            ("CRASH_AFTER_MS", "99999999999", "off"),
            ("RESPAWN", "no", "off"),
        ] {
            let parts = [name, value, right, "cargo run -p cluster"];
            Server::cannot_start(BIN, &[(name, value)], &parts);
        }
    }

    #[test]
    fn the_live_page_shows_all_workers() {
        let server = calm(2);
        for path in ["/cluster", "/cluster/cluster.css", "/cluster/cluster.js"] {
            server.get(path).expect(200);
        }
        for path in ["/cluster/nosuch", "/cluster/../server-html.html"] {
            server.get(path).expect(404);
        }
        (0..4).for_each(|_| _ = server.get("/").expect(200));
        wait_until("two requests of each", || {
            let status = server.get("/cluster/status").expect(200);
            let status = status.header("cache-control", "no-store");
            let has = |part: &str| status.text().matches(part).count();
            let pids = came_up(&server);
            pids.iter().all(|pid| has(&format!("\"pid\":{pid},")) == 1)
                && has("\"requests\":2,") == 2
                && has("\"state\":\"ready\"") == 2
        });
        for path in ["/cluster", "/cluster/status", "/cluster/cluster.js"] {
            server.request("POST", path, &[], "").expect(405).allows(&["GET", "HEAD"]);
        }
    }

    #[test]
    fn the_live_page_ends_a_worker_and_no_other_page_does() {
        let server = calm(2);
        let pid = came_up(&server)[1];
        let path = format!("/cluster/crash/{pid}");
        for foreign in [
            ("Sec-Fetch-Site", "cross-site"),
            ("Sec-Fetch-Site", "same-site"),
            ("Origin", "http://evil.example"),
            ("Origin", "null"),
        ] {
            server.request("POST", &path, &[foreign], "").expect(403);
        }
        server.get(&path).expect(405).allows(&["POST"]);
        for nobody in ["1", "x", "", "-1", "99999999999"] {
            let path = format!("/cluster/crash/{nobody}");
            server.request("POST", &path, &[], "").expect(404);
        }
        assert_eq!(ended(&server), 0);
        let own = ("Origin", server.url.trim_end_matches('/'));
        server.request("POST", &path, &[own], "").expect(202);
        server.wait_for_output(&exit_lines(pid, "code 1 signal null"));
        wait_until("its successor", || came_up(&server).len() == 3);
    }

    #[test]
    fn visits_are_counted_by_each_worker_for_itself() {
        let server = calm(2);
        let first = worker(&server.get("/favicon.ico"));
        for n in 1..=4 {
            for _ in 0..2 {
                let answer = server.get("/visits").expect(200);
                let pid = worker(&answer);
                answer.body(&format!(r#"{{"pid":{pid},"own":{n},"all":null}}"#));
            }
        }
        assert!(came_up(&server).contains(&first));
    }
}

/// With `REDIS_URL`. Without redis-server these are skipped, and say so.
mod redis {
    use super::*;

    fn start(redis: &RedisServer) -> Server {
        let url = redis.url();
        let vars = [("REDIS_URL", &*url), ("WORKERS", "2"), ("CRASH_AFTER_MS", "off")];
        Server::start_with(BIN, &vars)
    }

    #[track_caller]
    fn all(server: &Server) -> Option<u64> {
        let answer = server.get("/visits").expect(200);
        let (_, all) = answer.text().split_once("\"all\":").expect("all");
        all.trim_end_matches('}').parse().ok()
    }

    #[test]
    fn redis_is_how_workers_share() {
        let Some(redis) = RedisServer::start() else { return };
        let server = start(&redis);
        let counts: Vec<_> = (0..8).map(|_| all(&server)).collect();
        assert_eq!(counts, (1..=8).map(Some).collect::<Vec<_>>());
        server.get("/visits").contains("\"own\":5,\"all\":9}");
    }

    #[test]
    fn while_redis_is_away_all_is_null_and_nothing_fails() {
        let Some(mut redis) = RedisServer::start() else { return };
        let server = start(&redis);
        (0..2).for_each(|_| assert_ne!(all(&server), None));
        redis.kill();
        // A worker that is born meanwhile, too.
        kill("KILL", came_up(&server)[0]);
        wait_until("its successor", || came_up(&server).len() == 3);
        (0..4).for_each(|_| assert_eq!(all(&server), None));
        redis.restart();
        wait_until("a number from both", || (0..2).all(|_| all(&server).is_some()));
        redis.signal("STOP");
        (0..2).for_each(|_| assert_eq!(all(&server), None));
        redis.signal("CONT");
    }

    #[test]
    fn no_redis_at_the_start_is_said_once() {
        let Some(mut redis) = RedisServer::start() else { return };
        redis.kill();
        let at = format!("127.0.0.1:{}", redis.port());
        Server::cannot_start(BIN, &[("REDIS_URL", &redis.url())], &[&at, "REDIS_URL= "]);
    }
}

/// Yours to solve; README.md, "Try it", says how to begin: `cargo test -p cluster -- --ignored`.
mod exercise {
    use super::*;

    #[test]
    #[ignore = "exercise: POST /crash ends its worker at once"]
    fn crash_ends_its_worker_at_once() {
        let server = calm(2).exercise(
            "a row in route(): (\"POST\", \"/crash\"), with crash_after(Duration::ZERO)",
        );
        // Not by a link on some other site's page.
        let elsewhere = [("Origin", "http://evil.example")];
        server.request("POST", "/crash", &elsewhere, "").expect(403);
        server.get("/crash").expect(405).allows(&["POST"]);
        let answer = server.request("POST", "/crash", &[], "").expect(200);
        let answer = answer.header("content-type", "application/json; charset=utf-8");
        let pid = worker(&answer);
        answer.json(&format!("{{\"pid\":{pid}}}"));
        server.wait_for_output(&exit_lines(pid, "code 1 signal null"));
        server.get("/").expect(200);
        if ended(&server) != 1 {
            server.fail(format_args!("one worker was to end:\n{}", server.stdout()));
        }
    }

    #[test]
    #[ignore = "exercise: GET /workers says how many workers are ready"]
    fn ready_workers_are_counted() {
        let vars = [("WORKERS", "3"), ("CRASH_AFTER_MS", "off"), ("RESPAWN", "off")];
        let server = Server::start_with(BIN, &vars).exercise(
            "master.status().await is what /cluster/status shows, as text; serde_json::from_str \
             makes a Value of it",
        );
        let answer = server.get("/workers").expect(200);
        worker(&answer.header("content-type", "application/json; charset=utf-8"));
        server.get_until_json("/workers", r#"{"ready":3}"#);
        let pids = came_up(&server);
        kill("KILL", pids[0]);
        server.get_until_json("/workers", r#"{"ready":2}"#);
        kill("TERM", pids[1]);
        server.get_until_json("/workers", r#"{"ready":1}"#);
        server.request("POST", "/workers", &[], "").expect(405).allows(&["GET", "HEAD"]);
    }
}

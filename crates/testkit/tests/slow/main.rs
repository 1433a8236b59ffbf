//! The rows of the contract whose clocks run for many seconds, in all lessons at once: one
//! after the other they would take minutes.
//!
//! The lessons' binaries are those that `cargo test` has built for the whole workspace.

#[cfg(unix)]
mod many_clients;

use std::io::{ErrorKind, Read, Write, stderr};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use testkit::{LESSONS, Server, every_lesson, read};

/// The path of a lesson's binary.
fn binary(lesson: &str) -> String {
    let test = std::env::current_exe().expect("the path of this test");
    let folder = test.ancestors().nth(2).expect("target/debug/deps/");
    let binary = folder.join(lesson);
    let there = binary.is_file();
    assert!(there, "{} is not there: cargo test for all lessons", binary.display());
    binary.to_str().expect("UTF-8").to_owned()
}

/// Starts a lesson; of the cluster, one whose workers stay.
fn start(lesson: &str) -> Server {
    Server::start_with(&binary(lesson), &[("CRASH_AFTER_MS", "off")])
}

/// One test, so that all clocks run at once, however few cores there are. A failure names its
/// part in the thread's name.
#[test]
fn clocks() {
    let parts: &[(&str, fn())] = &[
        (
            "slow_heads_and_idle_clients_are_closed_after_10_s",
            slow_heads_and_idle_clients_are_closed_after_10_s,
        ),
        (
            "handshakes_that_do_not_come_are_closed_after_10_s",
            handshakes_that_do_not_come_are_closed_after_10_s,
        ),
        (
            "a_client_that_takes_nothing_is_closed_after_30_s",
            a_client_that_takes_nothing_is_closed_after_30_s,
        ),
        (
            "a_client_that_reads_30_kib_a_second_is_served",
            a_client_that_reads_30_kib_a_second_is_served,
        ),
        #[cfg(unix)]
        (
            "a_blocking_call_that_hangs_does_not_keep_the_process_alive",
            a_blocking_call_that_hangs_does_not_keep_the_process_alive,
        ),
    ];
    // Not by eprintln!, which the harness keeps back until a test has failed.
    writeln!(
        stderr(),
        "testkit: the clocks of all lessons run for 35 s or a little more"
    )
    .expect("standard error");
    thread::scope(|scope| {
        for (name, part) in parts {
            let named = thread::Builder::new().name((*name).to_owned());
            named.spawn_scoped(scope, part).expect("a thread");
        }
    });
}

/// Runs a test for each of these lessons, all at once; a failure names the lesson.
fn for_each(lessons: &[&str], test: impl Fn(Server) + Sync) {
    thread::scope(|scope| {
        let test = &test;
        for lesson in lessons {
            let named = thread::Builder::new().name((*lesson).to_owned());
            named.spawn_scoped(scope, || test(start(lesson))).expect("a thread");
        }
    });
}

fn slow_heads_and_idle_clients_are_closed_after_10_s() {
    for_each(&LESSONS, |server| {
        every_lesson::slow_heads_and_idle_clients_are_closed(&server);
    });
}

fn handshakes_that_do_not_come_are_closed_after_10_s() {
    for_each(&["https", "http2"], |server| {
        let start = Instant::now();
        let mut silent: Vec<TcpStream> = (0..50).map(|_| server.connect_tcp()).collect();
        for half in silent.iter_mut().step_by(2) {
            half.write_all(b"\x16\x03\x01").expect("the beginning of a handshake");
        }
        for _ in 0..10 {
            server.get("/").expect(200);
        }
        for client in &mut silent {
            // The end, or a reset: there may be bytes that nobody has read.
            assert!(
                !matches!(read(client, &mut [0; 100]), Ok(1..)),
                "an answer to what?"
            );
            assert!(start.elapsed() > Duration::from_secs(9), "too early");
        }
    });
}

/// 60 lists of 1 MiB, asked for at once: more than lies in the buffers of both sides.
const LISTS: usize = 60;

fn ask_for_lists(server: &Server) -> TcpStream {
    let mut client = server.connect();
    let name = "x".repeat(100);
    let body = format!(r#"{{"name":"{name}"}}"#);
    for _ in 0..8000 {
        client.request("POST", "/user", &[], body.as_bytes()).expect(201);
    }
    let mut tcp = server.connect_tcp();
    let get = "GET /users HTTP/1.1\r\nHost: localhost\r\n\r\n";
    tcp.write_all(get.repeat(LISTS).as_bytes()).expect("sixty requests");
    tcp
}

fn a_client_that_takes_nothing_is_closed_after_30_s() {
    for_each(&["rest"], |server| {
        let mut deaf = ask_for_lists(&server);
        let start = Instant::now();
        deaf.set_nonblocking(true).expect("nonblocking");
        // What is sent to a server that has closed comes back as a reset.
        let closed = || match deaf.write(b"G") {
            Err(error) => error.kind() != ErrorKind::WouldBlock,
            Ok(_) => false,
        };
        wait(closed);
        assert!(start.elapsed() > Duration::from_secs(28), "too early");
        server.get("/about").expect(200);
    });
}

fn a_client_that_reads_30_kib_a_second_is_served() {
    for_each(&["rest"], |server| {
        let mut slow = ask_for_lists(&server);
        let start = Instant::now();
        let mut taken = 0;
        let mut piece = [0; 3 * 1024];
        while start.elapsed() < Duration::from_secs(33) {
            slow.read_exact(&mut piece).expect("a server that waits for slow clients");
            taken += piece.len();
            thread::sleep(Duration::from_millis(100));
        }
        let mut rest = Vec::new();
        let mut whole = |rest: &mut Vec<u8>| {
            let mut buffer = [0; 64 * 1024];
            let length = read(&mut slow, &mut buffer).expect("the rest of it");
            rest.extend_from_slice(&buffer[..length]);
            length > 0
        };
        let list = server.get("/users").expect(200).body.len();
        while taken + rest.len() < LISTS * list && whole(&mut rest) {}
        assert!(taken + rest.len() >= LISTS * list, "{taken} and {} bytes", rest.len());
    });
}

/// A blocking call that hangs cannot be stopped by anything. The process ends all the same, when
/// the 10 s of what is in flight are over.
#[cfg(unix)]
fn a_blocking_call_that_hangs_does_not_keep_the_process_alive() {
    let mut server = start("examples/hangs");
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    server.wait_for_output("waiting");
    server.signal("TERM");
    let start = Instant::now();
    assert_eq!(server.wait().code(), Some(0), "{}", server.stderr());
    assert!(start.elapsed() > Duration::from_secs(9), "too early");
}

fn wait(mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited in vain");
        thread::sleep(Duration::from_millis(100));
    }
}

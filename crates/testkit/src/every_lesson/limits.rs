//! Limits: what one client, or many, may cost the others.

use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use super::GET;
use crate::{Client, Server, wait_until};

/// Fewer files than clients: said once, and served again.
#[cfg(unix)]
pub fn running_out_of_files_is_not_the_end(binary: &str) {
    let mut command = Command::new("sh");
    let shell = format!("ulimit -n 64; exec '{binary}'");
    // In the cluster lesson workers that stay: 100 clients are to be served in turn, within 10 s.
    let lesson = Server::command(binary, &[("CRASH_AFTER_MS", "off")]);
    for (name, value) in lesson.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.args(["-c", &shell]);
    let mut server = Server::start_command(command);
    let clients: Vec<TcpStream> = (0..100).map(|_| server.connect_tcp()).collect();
    // Those whose turn it is are served, and leave their place to the others.
    for client in clients {
        server.connect_over(client).request("GET", "/", &[], b"").expect(200);
    }
    server.get("/").expect(200);
    assert!(server.is_running());
    let stderr = server.stderr();
    let said = |part: &str| stderr.lines().filter(|line| line.contains(part)).count();
    // Once by each process: in the cluster lesson there are more than one.
    let processes = 1 + server.stdout().matches("번 워커 실행").count();
    let failed = said("받지 못했습니다");
    assert!(failed <= processes, "said {failed} times: {stderr}");
    // Full, free again, full again: each is said once.
    let (full, free) = (said("가득 찼습니다"), said("새로 받을 수 있습니다"));
    assert!(full <= free + processes && full + failed > 0, "{full}, {free}: {stderr}");
}

/// Nothing to run out of where there is no `ulimit`.
#[cfg(not(unix))]
pub fn running_out_of_files_is_not_the_end(_: &str) {}

/// Ten seconds for a head, and for the pause before one; not less, and hardly more.
pub fn slow_heads_and_idle_clients_are_closed(server: &Server) {
    let mut fresh = server.connect();
    let mut idle = server.connect();
    idle.request("GET", "/", &[], b"").expect(200);
    let mut half = server.connect();
    half.send("GET / HTTP/1.1\r\nHost: loc");
    let mut dribble = server.connect();
    let start = std::time::Instant::now();
    let not_at_once = || assert!(start.elapsed() > Duration::from_secs(9), "too early");
    std::thread::scope(|scope| {
        scope.spawn(|| (fresh.expect_closed(), not_at_once()));
        scope.spawn(|| (idle.expect_closed(), not_at_once()));
        scope.spawn(|| (half.read_to_end(), not_at_once()));
        // A byte now and then does not help: the clock is for the whole head.
        scope.spawn(|| {
            dribble.send("GET / HTTP/1.1\r\n");
            wait_until("the end of a dribbling client", || {
                std::thread::sleep(Duration::from_millis(500));
                !dribble.send("X: y\r\n")
            });
            not_at_once();
        });
        for _ in 0..20 {
            server.get("/").expect(200);
        }
    });
}

/// Clients that say nothing, or half of something, or take nothing, cost nobody else anything.
pub fn silent_clients_keep_nobody_out(binary: &str) {
    let server = Server::start(binary);
    let mut silent: Vec<Client> = (0..200).map(|_| server.connect()).collect();
    for half in silent.iter_mut().step_by(2) {
        half.send("GET / HTTP/1.1\r\n");
    }
    // Asks and never reads, until the server can write no more and so reads no more.
    let mut deaf = server.connect();
    deaf.send_until_blocked(&GET.repeat(100));
    for _ in 0..20 {
        server.get("/").expect(200);
    }
}

/// 413 without waiting for a body that would be too large anyway; the client can read it
/// although it was still sending.
pub fn an_announced_length_over_the_limit_is_413_at_once(binary: &str) {
    let server = Server::start(binary);
    for length in ["65537", "1000000000000"] {
        let mut client = server.connect();
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"
        ));
        client.read_answer().expect(413).contains("65536").header("connection", "close");
    }
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n");
    client.send([b'x'; 500_000]);
    client.read_answer().expect(413);
}

/// Answered before its body was there: the answer says `Connection: close`, or the connection
/// lives on and the next request is answered.
pub fn a_request_after_a_body_that_nobody_reads_is_not_swallowed(binary: &str) {
    let server = Server::start(binary);
    for (method, length) in [("PROPFIND", 5), ("GET", 5), ("DELETE", 60_000)] {
        for all_at_once in [false, true] {
            let head = format!(
                "{method} /about HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
            );
            let rest = "x".repeat(length) + GET;
            let mut client = server.connect();
            if all_at_once {
                client.send(head + &rest);
            } else {
                client.send(head);
            }
            let answer = client.read_answer();
            let closes = answer.get("connection") == Some("close");
            if !all_at_once {
                client.send(rest);
            }
            if closes {
                client.read_to_end();
            } else {
                client.read_answer().hint("it was told to go on").expect(200);
            }
        }
    }
}

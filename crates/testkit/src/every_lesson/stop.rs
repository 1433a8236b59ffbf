//! Stopping: signals, and what is in flight.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use super::GET;
use crate::{Server, wait_until};

/// SIGTERM: what has begun is answered, and the process ends with status 0. Whoever finds the
/// listener closed can rely on it that every connection has been told.
#[cfg(unix)]
pub fn what_is_in_flight_is_finished(binary: &str) {
    for signal in ["TERM", "INT"] {
        wait_until("a try that was quick enough to prove something", || {
            in_flight_is_finished(binary, signal)
        });
    }
}

#[cfg(unix)]
fn in_flight_is_finished(binary: &str, signal: &str) -> bool {
    let mut server = Server::start(binary);
    let mut half = server.connect();
    half.send("GET / HTTP/1.1\r\nHo");
    let mut second = server.connect();
    second.request("GET", "/", &[], b"").expect(200);
    second.send("GET / HTTP/1.1\r\nHo");
    let mut idle = server.connect();
    idle.request("GET", "/", &[], b"").expect(200);
    // The answer on another connection, accepted later, shows that those bytes are there.
    server.get("/").expect(200);
    let mut fresh = server.connect();
    let told = Instant::now();
    server.signal(signal);
    wait_for_the_end_of_the_listener(&server);
    fresh.send(GET);
    // It had a second for its first byte. On a machine that is too busy that may be over.
    let in_time = told.elapsed() < Duration::from_millis(900);
    if in_time {
        fresh.read_answer().expect(200).header("connection", "close");
    }
    idle.expect_closed();
    for client in [&mut half, &mut second] {
        client.send("st: localhost\r\n\r\n");
        client.read_answer().expect(200).header("connection", "close");
        client.expect_closed();
    }
    assert_eq!(server.wait().code(), Some(0), "{}", server.stderr());
    in_time
}

/// Waits until nobody listens any more. A connect that races the closing listener may lose its
/// SYN and would try again after a second; this one does not wait for that.
fn wait_for_the_end_of_the_listener(server: &Server) {
    let address = SocketAddr::from(([127, 0, 0, 1], server.port()));
    wait_until("the end of the listener", || {
        let connect = TcpStream::connect_timeout(&address, Duration::from_millis(50));
        connect.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    });
}

/// Nothing to send where there are no signals.
#[cfg(not(unix))]
pub fn what_is_in_flight_is_finished(_: &str) {}

/// A second signal does not wait for what is in flight.
#[cfg(unix)]
pub fn a_second_signal_ends_at_once(binary: &str) {
    let mut server = Server::start(binary);
    let mut half = server.connect();
    half.send("GET / HTTP/1.1\r\nHo");
    server.get("/").expect(200);
    server.signal("TERM");
    wait_for_the_end_of_the_listener(&server);
    assert!(server.is_running(), "half a request is in flight");
    server.signal("TERM");
    assert_ne!(server.wait().code(), Some(0));
    assert!(half.read_to_end().is_empty());
}

/// Nothing to send where there are no signals.
#[cfg(not(unix))]
pub fn a_second_signal_ends_at_once(_: &str) {}

/// Signals at any moment of a start, in any order: the process ends, and so do its children,
/// which have its output.
#[cfg(unix)]
pub fn signals_during_the_start_are_the_end(binary: &str) {
    for signals in [&["TERM"][..], &["HUP", "TERM"], &["TERM", "HUP"]] {
        for delay in (0..120).step_by(20) {
            let mut server = Server::spawned(Server::command(binary, &[]));
            std::thread::sleep(Duration::from_millis(delay));
            for signal in signals {
                if server.is_running() {
                    server.signal(signal);
                }
            }
            let status = server.wait();
            let by_signal = std::os::unix::process::ExitStatusExt::signal(&status);
            // Before signals are caught by the signal; at a second one at once, with status 1.
            let code = status.code();
            let at_once = code == Some(1) && signals.len() == 2;
            let ended = code == Some(0) || at_once || matches!(by_signal, Some(1 | 15));
            assert!(ended, "{signals:?} after {delay} ms: {status}, {}", server.stderr());
        }
    }
}

/// Nothing to send where there are no signals.
#[cfg(not(unix))]
pub fn signals_during_the_start_are_the_end(_: &str) {}

/// A browser that keeps a connection for later does not keep the server.
#[cfg(unix)]
pub fn idle_clients_do_not_hold_up_the_end(binary: &str) {
    let mut server = Server::start(binary);
    let mut idle = server.connect();
    idle.request("GET", "/", &[], b"").expect(200);
    let _silent = server.connect();
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    assert!(!server.stderr().contains("끊습니다"), "{}", server.stderr());
    idle.expect_closed();
}

/// Nothing to send where there are no signals.
#[cfg(not(unix))]
pub fn idle_clients_do_not_hold_up_the_end(_: &str) {}

/// The window is closed, or ssh breaks off: the port is free again. `script` is a terminal.
#[cfg(target_os = "linux")]
pub fn a_closed_terminal_is_the_end(binary: &str) {
    let mut terminal = Command::new("script");
    terminal.args(["--quiet", "--flush", "--command", binary, "/dev/null"]);
    for (name, value) in Server::command(binary, &[]).get_envs() {
        match value {
            Some(value) => terminal.env(name, value),
            None => terminal.env_remove(name),
        };
    }
    let server = Server::start_command(terminal);
    server.get("/").expect(200);
    server.signal("KILL");
    wait_for_the_end_of_the_listener(&server);
}

/// Elsewhere `script` has other options.
#[cfg(not(target_os = "linux"))]
pub fn a_closed_terminal_is_the_end(_: &str) {}

/// `nohup` has SIGHUP ignored, and so it stays.
#[cfg(target_os = "linux")]
pub fn under_nohup_a_closed_terminal_is_not_the_end(binary: &str) {
    let mut nohup = Command::new("nohup");
    nohup.arg(binary);
    for (name, value) in Server::command(binary, &[]).get_envs() {
        match value {
            Some(value) => nohup.env(name, value),
            None => nohup.env_remove(name),
        };
    }
    let mut server = Server::start_command(nohup);
    server.signal("HUP");
    server.get("/").expect(200);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0), "{}", server.stderr());
}

/// Elsewhere it is not looked up.
#[cfg(not(target_os = "linux"))]
pub fn under_nohup_a_closed_terminal_is_not_the_end(_: &str) {}

/// A terminal that takes nothing (Ctrl+S) stops a server that prints, as it does in Node; but
/// whatever hangs, a second signal ends it. For lessons that print what they are asked.
#[cfg(unix)]
pub fn a_second_signal_ends_a_server_whose_output_is_stuck(binary: &str) {
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let mut command = Server::command(binary, &[]);
    let mut server = Server::quiet(&mut command, writer);
    drop(command); // it holds the writer's end
    let mut printed = Vec::new();
    while !printed.ends_with(b"/\n") {
        let mut byte = [0];
        let read = std::io::Read::read(&mut reader, &mut byte).expect("the pipe");
        assert_eq!(read, 1, "no first line");
        printed.push(byte[0]);
    }
    let printed = String::from_utf8(printed).expect("UTF-8");
    server.url = printed.trim().rsplit(' ').next().unwrap_or_default().to_owned();
    let long = "x".repeat(4000);
    // Each of these is printed, by cookie the one and by rest the other, until nobody is answered.
    wait_until("a pipe that is full", || {
        let mut client = server.connect();
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nCookie: {long}\r\n\r\n"));
        client.send(format!(
            "POST /user HTTP/1.1\r\nHost: a\r\nContent-Length: 4000\r\n\r\n{long}"
        ));
        client.set_patience(Duration::from_millis(500));
        let mut answers = String::new();
        while answers.matches("HTTP/1.1 ").count() < 2 {
            let Some(bytes) = client.try_read() else { return true };
            if bytes.is_empty() {
                break; // it was closed
            }
            answers += &String::from_utf8_lossy(&bytes);
        }
        false
    });
    server.signal("TERM");
    server.signal("TERM");
    // Two signals that come together may be one.
    wait_until("its end", || {
        if server.is_running() {
            server.signal("TERM");
        }
        !server.is_running()
    });
    // Not the 10 s of what is in flight: they end with status 0.
    assert_eq!(server.wait().code(), Some(1), "{}", server.stderr());
}

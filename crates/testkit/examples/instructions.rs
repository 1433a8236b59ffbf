//! User-space instructions per request, by valgrind's callgrind: repeatable to a percent,
//! whatever else the machine does.
//!
//! `cargo build --release -p rest && cargo run -p testkit --example instructions rest /users 100`
//!
//! N and then 2N requests over one connection; the difference is the requests' alone. The
//! third argument is how many users `rest` holds meanwhile.

use std::process::Command;

use testkit::Server;

const N: u64 = 1000;

fn main() {
    let mut args = std::env::args().skip(1);
    let lesson = args.next().expect("a lesson");
    let path = args.next().unwrap_or("/".into());
    let users: usize = args.next().map_or(0, |users| users.parse().expect("a number"));
    let once = count(&lesson, &path, users, N);
    let twice = count(&lesson, &path, users, 2 * N);
    println!(
        "{lesson} {path} {users} users: {} instructions per request",
        (twice - once) / N
    );
}

fn count(lesson: &str, path: &str, users: usize, requests: u64) -> u64 {
    let binary = format!("{}/../../target/release/{lesson}", env!("CARGO_MANIFEST_DIR"));
    let lesson = Server::command(&binary, &[]);
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", &binary]);
    valgrind.envs(lesson.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut server = Server::start_command(valgrind);
    let mut client = server.connect();
    for n in 0..users {
        let body = format!("{{\"name\":\"user {n}\"}}");
        client.request("POST", "/user", &[], body.as_bytes()).expect(201);
    }
    for _ in 0..requests {
        client.request("GET", path, &[], b"").expect(200);
    }
    drop(client);
    server.signal("TERM");
    server.wait();
    let stderr = server.stderr();
    let collected = stderr.lines().find_map(|line| line.split_once("Collected : "));
    collected.and_then(|(_, count)| count.trim().parse().ok()).expect("callgrind's count")
}

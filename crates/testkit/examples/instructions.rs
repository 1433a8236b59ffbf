//! User-space instructions per request, by valgrind's callgrind: repeatable to a percent,
//! whatever else the machine does.
//!
//! `cargo build --release && cargo run -p testkit --example instructions rest "POST /user"`
//!
//! The words: a lesson, or `bare:` and a lesson for bare hyper; the request; how many users
//! `rest` holds meanwhile. N and then 2N requests over one connection; the difference is the
//! requests' alone. Where the answer to `/login` sets a cookie, requests carry it.

use std::process::Command;

use testkit::Server;

const N: u64 = 1000;

fn main() {
    let mut args = std::env::args().skip(1);
    let lesson = args.next().expect("a lesson");
    let request = args.next().unwrap_or("GET /".into());
    let users: usize = args.next().map_or(0, |users| users.parse().expect("a number"));
    let (method, path) = request.split_once(' ').unwrap_or(("GET", &request));
    let once = count(&lesson, method, path, users, N);
    let twice = count(&lesson, method, path, users, 2 * N);
    let each = (twice - once) / N;
    println!("{lesson} {request} {users} users: {each} instructions per request");
}

fn count(lesson: &str, method: &str, path: &str, users: usize, requests: u64) -> u64 {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/release");
    let folder = std::env::var("BINARIES").unwrap_or(folder.into());
    let (binary, bare) = match lesson.strip_prefix("bare:") {
        Some(lesson) => (format!("{folder}/bare"), Some(lesson)),
        None => (format!("{folder}/{lesson}"), None),
    };
    let environment = Server::command(&binary, &[]);
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", &binary]);
    valgrind.args(bare);
    valgrind
        .envs(environment.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut server = Server::start_command(valgrind);
    let mut client = server.connect();
    let mut headers = Vec::new();
    if lesson.ends_with("session") {
        let login = client.request("GET", "/login?name=Annie", &[], b"").expect(302);
        let cookie = login.get("set-cookie").expect("a cookie");
        headers.push(("Cookie", cookie.split(';').next().unwrap_or_default().to_owned()));
    }
    let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, &**v)).collect();
    let mut path = path.to_owned();
    for n in 0..users {
        let body = format!("{{\"name\":\"user {n}\"}}");
        let added = client.request("POST", "/user", &[], body.as_bytes()).expect(201);
        if method == "PUT" {
            added.get("location").expect("Location").clone_into(&mut path);
        }
    }
    let body = if method == "GET" { "" } else { r#"{"name":"Annie"}"# };
    for _ in 0..requests {
        let answer = client.request(method, &path, &headers, body.as_bytes());
        assert!(answer.status < 300, "{method} {path}: {}", answer.status);
    }
    drop(client);
    server.signal(if bare.is_some() { "INT" } else { "TERM" });
    server.wait();
    let stderr = server.stderr();
    let collected = stderr.lines().find_map(|line| line.split_once("Collected : "));
    collected.and_then(|(_, count)| count.trim().parse().ok()).expect("callgrind's count")
}

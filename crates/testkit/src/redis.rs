//! A real Redis for one test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use crate::{PATIENCE, wait_until};

/// A redis-server of its own, on a free port of 127.0.0.1, that keeps nothing on disk.
/// Dropping it kills the process.
pub struct RedisServer {
    port: u16,
    process: Child,
}

impl RedisServer {
    /// Starts one. Where redis-server is not installed the test is to return: nothing comes
    /// back, and it is said how to install it; with `CI` in the environment that is a failure.
    #[track_caller]
    pub fn start() -> Option<Self> {
        if Command::new("redis-server").arg("--version").output().is_err() {
            let how = "redis-server is not installed: apt install redis-server, \
                       or brew install redis";
            assert!(std::env::var_os("CI").is_none(), "{how}");
            // Not `eprintln!`: of a test that passes, nobody would see it.
            let _ = writeln!(std::io::stderr(), "skipped, {how}");
            return None;
        }
        // Somebody else may take a free port before Redis does: then another one.
        for _ in 0..10 {
            let free = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
            let port = free.expect("a free port").port();
            let mut redis = Self { port, process: spawn(port) };
            if redis.comes_up() {
                return Some(redis);
            }
        }
        panic!("no redis-server came up");
    }

    /// `redis://127.0.0.1:41234`, for `REDIS_URL`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `kill -9`: all that it held is lost.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Starts it again, empty, on the same port.
    #[track_caller]
    pub fn restart(&mut self) {
        self.kill();
        // Whoever connects from here meanwhile may hold the port for a moment.
        wait_until("redis-server to come back", || {
            self.process = spawn(self.port);
            self.comes_up()
        });
    }

    /// `kill -STOP` and `kill -CONT`: a Redis that is there and does not answer.
    #[track_caller]
    pub fn signal(&self, name: &str) {
        let mut kill = Command::new("kill");
        kill.args([format!("-{name}"), self.process.id().to_string()]);
        assert!(kill.status().expect("kill").success(), "kill -{name}");
    }

    /// One command: `ask(&["GET", "session:1"])`. The answer as text, lists with a line for
    /// each member; nothing where Redis says that there is nothing.
    #[track_caller]
    pub fn ask(&self, words: &[&str]) -> Option<String> {
        let mut command = format!("*{}\r\n", words.len());
        for word in words {
            command += &format!("${}\r\n{word}\r\n", word.len());
        }
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("redis");
        stream.set_read_timeout(Some(PATIENCE)).expect("time limit");
        stream.write_all(command.as_bytes()).expect("redis");
        answer(&mut BufReader::new(stream))
    }

    /// Whether it answers before it ends: with its port taken it ends at once.
    fn comes_up(&mut self) -> bool {
        let mut up = false;
        wait_until("redis-server to come up", || {
            up = TcpStream::connect(("127.0.0.1", self.port)).is_ok();
            up || !matches!(self.process.try_wait(), Ok(None))
        });
        // It might be somebody else who took the port and answers there.
        up && matches!(self.process.try_wait(), Ok(None))
            && self.ask(&["INFO", "server"]).is_some_and(|info| {
                info.contains(&format!("process_id:{}\r\n", self.process.id()))
            })
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(port: u16) -> Child {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        // No file of another Redis in that folder is loaded.
        .args([
            "--save",
            "",
            "--appendonly",
            "no",
            "--dbfilename",
            &format!("{port}.rdb"),
        ])
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server")
}

/// One answer of the Redis protocol (RESP2).
#[track_caller]
fn answer(stream: &mut BufReader<TcpStream>) -> Option<String> {
    let mut line = String::new();
    stream.read_line(&mut line).expect("an answer of Redis in time");
    let line = line.trim_end();
    let (kind, rest) = line.split_at_checked(1).expect("an answer of Redis");
    match kind {
        "$" if rest == "-1" => None,
        "$" => {
            let mut bytes = vec![0; rest.parse::<usize>().expect("a length") + 2];
            stream.read_exact(&mut bytes).expect("an answer of Redis in time");
            bytes.truncate(bytes.len() - 2);
            Some(String::from_utf8(bytes).expect("UTF-8"))
        }
        "*" => {
            let count: usize = rest.parse().expect("a count");
            let members: Vec<_> = (0..count).filter_map(|_| answer(stream)).collect();
            Some(members.join("\n"))
        }
        "-" => panic!("Redis: {rest}"),
        _ => Some(rest.to_owned()),
    }
}

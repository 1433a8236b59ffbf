//! For tests only: starts a lesson's own binary on a free port, speaks HTTP to it over plain
//! sockets, and says what went wrong as a `curl` line that can be typed.

mod answer;
mod client;
pub mod every_lesson;
pub mod h2;
mod redis;
mod server;
mod temp_dir;
#[cfg(feature = "tls")]
mod tls;

pub use answer::Answer;
pub use client::{Client, Stream, read};
pub use redis::RedisServer;
pub use server::{Server, wait_until};
pub use temp_dir::TempDir;
#[cfg(feature = "tls")]
pub use tls::Trust;

use std::time::Duration;

/// How long anything in a test may take. A hang is a failure, never a wait.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// All lessons, in the order of the course.
pub const LESSONS: [&str; 9] = [
    "hello",
    "fs-html",
    "rest",
    "cookie",
    "cookie-login",
    "session",
    "https",
    "http2",
    "cluster",
];

//! What the environment asks of a cluster: `WORKERS`, `CLUSTER_SCHED`, `CRASH_AFTER_MS`,
//! `RESPAWN`.

use std::env;
use std::time::Duration;

use common::CannotStart;
use common::listen::program;

/// How a cluster runs. Master and workers read the same environment.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `WORKERS`: how many, 1 to 256. Without it as many as cores.
    pub workers: usize,
    /// `CLUSTER_SCHED`: who accepts connections.
    pub schedule: Schedule,
    /// `CRASH_AFTER_MS`: how long after its first request a worker ends; `off` for never.
    pub crash_after: Option<Duration>,
    /// `RESPAWN`: whether a dead worker is replaced.
    pub respawn: bool,
}

/// `CLUSTER_SCHED`; `cluster.schedulingPolicy` in Node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Schedule {
    /// `rr`, Node's `SCHED_RR`: the master accepts and deals connections out in turn.
    RoundRobin,
    /// `shared`, Node's `SCHED_NONE`: the workers accept from the same sockets.
    Shared,
}

/// More than the cores of most machines; what is over it is a slip of the finger.
const MAX_WORKERS: usize = 256;

impl Settings {
    /// Reads them all. A variable that is empty counts as not set.
    ///
    /// # Errors
    /// A value that means nothing, with one that would.
    pub fn from_env() -> Result<Self, CannotStart> {
        Ok(Self {
            workers: match variable("WORKERS") {
                None => std::thread::available_parallelism().map_or(1, Into::into),
                Some(text) => number(&text)
                    .filter(|n| (1..=MAX_WORKERS).contains(n))
                    .ok_or_else(|| {
                        wrong("WORKERS", &text, "1부터 256까지의 숫자여야 합니다", "4")
                    })?,
            },
            schedule: match variable("CLUSTER_SCHED").as_deref() {
                None | Some("rr") => Schedule::RoundRobin,
                Some("shared") => Schedule::Shared,
                Some(text) => {
                    let right = "rr 또는 shared여야 합니다";
                    return Err(wrong("CLUSTER_SCHED", text, right, "rr"));
                }
            },
            crash_after: match variable("CRASH_AFTER_MS").as_deref() {
                None => Some(Duration::from_millis(1000)),
                Some("off") => None,
                Some(text) => {
                    let right = "밀리초를 나타내는 숫자 또는 off여야 합니다";
                    let ms: u32 = number(text)
                        .ok_or_else(|| wrong("CRASH_AFTER_MS", text, right, "off"))?;
                    Some(Duration::from_millis(ms.into()))
                }
            },
            respawn: match variable("RESPAWN").as_deref() {
                None | Some("on") => true,
                Some("off") => false,
                Some(text) => {
                    return Err(wrong("RESPAWN", text, "on 또는 off여야 합니다", "off"));
                }
            },
        })
    }
}

fn variable(name: &str) -> Option<String> {
    let value = env::var_os(name).filter(|value| !value.is_empty())?;
    Some(value.to_string_lossy().into_owned())
}

/// Digits alone: `+4` is a number to Rust, but to nobody else.
fn number<N: std::str::FromStr>(text: &str) -> Option<N> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

fn wrong(name: &str, value: &str, right: &str, example: &str) -> CannotStart {
    CannotStart(format!(
        "{name}={value:?} 값이 잘못되었습니다: {right}. \
         예: {name}={example} cargo run -p {}",
        program()
    ))
}

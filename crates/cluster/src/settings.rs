//! What the environment asks of a cluster: `WORKERS`, `CLUSTER_SCHED`, `CRASH_AFTER_MS`,
//! `RESPAWN`, `CLUSTER_PROGRAM`.

use std::env;
use std::path::{MAIN_SEPARATOR, PathBuf, absolute};
use std::time::Duration;

use common::error::CannotStart;
use common::ko_en;
use common::settings::{digits, number, one_of, variable, wrong};

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
    /// `CLUSTER_PROGRAM`: what a worker is started from; without it what was typed to start
    /// this program. A link stays one, and is followed anew at each start.
    pub program: PathBuf,
}

/// `CLUSTER_SCHED`; `cluster.schedulingPolicy` in Node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Schedule {
    /// `rr`, Node's `SCHED_RR`: the master accepts, and workers have connections in turn.
    RoundRobin,
    /// `shared`, Node's `SCHED_NONE`: the workers accept from the same sockets.
    Shared,
}

impl Settings {
    /// Reads them all. A variable that is empty counts as not set.
    ///
    /// # Errors
    /// A value that means nothing, with one that would.
    pub fn from_env() -> Result<Self, CannotStart> {
        let cores = || std::thread::available_parallelism().map_or(1, Into::into);
        Ok(Self {
            workers: number("WORKERS", 1..=256, 4)?.unwrap_or_else(cores),
            schedule: one_of(
                "CLUSTER_SCHED",
                &[("rr", Schedule::RoundRobin), ("shared", Schedule::Shared)],
            )?,
            crash_after: match variable("CRASH_AFTER_MS").as_deref() {
                None => Some(Duration::from_millis(1000)),
                Some("off") => None,
                Some(value) => {
                    let ms: Option<u32> = digits(value);
                    let wrong = || {
                        let right = ko_en!(
                            "off 또는 밀리초 숫자",
                            "off or a number of milliseconds"
                        );
                        wrong("CRASH_AFTER_MS", value, &right, "off")
                    };
                    Some(Duration::from_millis(ms.ok_or_else(wrong)?.into()))
                }
            },
            respawn: one_of("RESPAWN", &[("on", true), ("off", false)])?,
            program: program()?,
        })
    }
}

fn program() -> std::io::Result<PathBuf> {
    let typed = variable("CLUSTER_PROGRAM").or_else(|| env::args().next());
    let typed = typed.unwrap_or_default();
    if typed.contains(MAIN_SEPARATOR) {
        return absolute(typed);
    }
    // A bare name was found in one of these folders.
    let folders = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&folders).map(|folder| folder.join(&typed));
    match { found }.find(|path| !typed.is_empty() && path.is_file()) {
        Some(path) => absolute(path),
        None => env::current_exe(),
    }
}

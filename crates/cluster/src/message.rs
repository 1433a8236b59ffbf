//! What master and worker say to each other. Each message is a line of text on the channel
//! between them; with some of them goes an open socket. `process.send({ … })` in Node.
//!
//! | master says | and the worker |
//! | --- | --- |
//! | `listener` + socket | accepts from this socket itself (`CLUSTER_SCHED=shared`) |
//! | `start` | says `ready` when it can serve |
//! | `connection` + socket | serves it and says `took`, or cannot and says `refused` |
//! | `status {…}` | shows this to whoever asked for `/cluster/status` |
//! | `stop` | tells its connections that their next answer is the last; says `told` |
//! | `crash` | leaves, with status 1 |
//! | (end of the channel) | no connection will come any more: it finishes those that it has, and exits |
//!
//! | worker says | and the master |
//! | --- | --- |
//! | `ready` | hands it connections; where it replaces another worker, that one is to leave |
//! | `took 3` | forgets three connections that it kept in case this worker dies |
//! | `refused` | hands that connection to another worker |
//! | `leaving` | hands it no more, closes the channel, has it replaced |
//! | `told` | closes the listener once all have said so |
//! | `requests 7` | shows that number on the page |
//! | `status` | answers with `status {…}` |
//! | `crash 101` | passes it on to the worker with that process id |

use std::fmt::{self, Display};
use std::str::FromStr;

/// From the master to a worker.
#[derive(Clone, Debug, PartialEq)]
pub enum ToWorker {
    /// A listening socket goes with it.
    Listener,
    /// All listening sockets have come.
    Start {
        /// Whether the server listens on loopback addresses alone.
        loopback: bool,
    },
    /// An accepted connection goes with it.
    Connection,
    /// How all workers are, as JSON.
    Status(String),
    /// The server stops.
    Stop,
    /// Leave with status 1.
    Crash,
}

/// From a worker to the master.
#[derive(Clone, Debug, PartialEq)]
pub enum ToMaster {
    /// This worker can serve.
    Ready,
    /// It has taken the next so many connections.
    Took(usize),
    /// It cannot take the next connection: it has as many as it may have.
    Refused,
    /// It wants no more connections.
    Leaving,
    /// All its connections know that the server stops.
    Told,
    /// So many requests it has answered until now.
    Requests(u64),
    /// How are all workers?
    Status,
    /// The worker with this process id is to end.
    Crash(u32),
}

impl Display for ToWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listener => f.write_str("listener"),
            Self::Start { loopback } => write!(f, "start {loopback}"),
            Self::Connection => f.write_str("connection"),
            Self::Status(json) => write!(f, "status {json}"),
            Self::Stop => f.write_str("stop"),
            Self::Crash => f.write_str("crash"),
        }
    }
}

impl Display for ToMaster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("ready"),
            Self::Took(count) => write!(f, "took {count}"),
            Self::Refused => f.write_str("refused"),
            Self::Leaving => f.write_str("leaving"),
            Self::Told => f.write_str("told"),
            Self::Requests(count) => write!(f, "requests {count}"),
            Self::Status => f.write_str("status"),
            Self::Crash(pid) => write!(f, "crash {pid}"),
        }
    }
}

/// A line that is no message.
#[derive(Debug)]
pub struct Unknown;

impl FromStr for ToWorker {
    type Err = Unknown;

    fn from_str(line: &str) -> Result<Self, Unknown> {
        Ok(match line.split_once(' ').unwrap_or((line, "")) {
            ("listener", "") => Self::Listener,
            ("start", loopback) => {
                Self::Start { loopback: loopback.parse().map_err(|_| Unknown)? }
            }
            ("connection", "") => Self::Connection,
            ("status", json) => Self::Status(json.to_owned()),
            ("stop", "") => Self::Stop,
            ("crash", "") => Self::Crash,
            _ => return Err(Unknown),
        })
    }
}

impl FromStr for ToMaster {
    type Err = Unknown;

    fn from_str(line: &str) -> Result<Self, Unknown> {
        fn number<N: FromStr>(text: &str) -> Result<N, Unknown> {
            text.parse().map_err(|_| Unknown)
        }
        Ok(match line.split_once(' ').unwrap_or((line, "")) {
            ("ready", "") => Self::Ready,
            ("took", count) => Self::Took(number(count)?),
            ("refused", "") => Self::Refused,
            ("leaving", "") => Self::Leaving,
            ("told", "") => Self::Told,
            ("requests", count) => Self::Requests(number(count)?),
            ("status", "") => Self::Status,
            ("crash", pid) => Self::Crash(number(pid)?),
            _ => return Err(Unknown),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_message_is_read_as_it_was_written(count: usize, n: u64, pid: u32, json in "[^\n]*") {
            for message in [
                ToWorker::Listener,
                ToWorker::Start { loopback: n % 2 == 0 },
                ToWorker::Connection,
                ToWorker::Status(json),
                ToWorker::Stop,
                ToWorker::Crash,
            ] {
                prop_assert_eq!(message.to_string().parse::<ToWorker>().unwrap(), message);
            }
            for message in [
                ToMaster::Ready,
                ToMaster::Took(count),
                ToMaster::Refused,
                ToMaster::Leaving,
                ToMaster::Told,
                ToMaster::Requests(n),
                ToMaster::Status,
                ToMaster::Crash(pid),
            ] {
                prop_assert_eq!(message.to_string().parse::<ToMaster>().unwrap(), message);
            }
        }

        #[test]
        fn any_line_is_a_message_or_none(line: String) {
            let _ = (line.parse::<ToWorker>(), line.parse::<ToMaster>());
        }
    }
}

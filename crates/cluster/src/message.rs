//! What master and worker say to each other: a line of JSON for each message, as Node's
//! `process.send({ … })` does it; with some of them goes an open socket.
//!
//! | master says | and the worker |
//! | --- | --- |
//! | `Listener` + socket | accepts from this socket itself (`CLUSTER_SCHED=shared`) |
//! | `Start` | says `Ready` when it can serve |
//! | `Connection` + socket | serves it and says `Took`, or cannot and says `Refused` |
//! | `Status` | shows this to whoever asked for `/cluster/status` |
//! | `Stop` | tells its connections that their next answer is the last; says `Told` |
//! | `Crash` | leaves, with status 1 |
//! | (end of the channel) | no connection will come any more: it finishes those that it has, and exits |
//!
//! | worker says | and the master |
//! | --- | --- |
//! | `Ready` | hands it connections; where it replaces another worker, that one is to leave |
//! | `Took(3)` | closes its copies of three connections, kept in case this worker dies |
//! | `Refused` | hands that connection to another worker |
//! | `Leaving` | hands it no more, closes the channel, has it replaced |
//! | `Told` | closes the listener once all have said so |
//! | `Requests(7)` | shows that number on the page |
//! | `Report` | passes it on to `main`; none for 5 s after the last one, and it kills the worker |
//! | `Status` | answers with `Status` |
//! | `Crash(101)` | passes it on to the worker with that process id |

use serde::{Deserialize, Serialize};

/// From the master to a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ToWorker {
    /// A listening socket goes with it.
    Listener,
    /// All listening sockets have come. Whether they are on loopback addresses alone.
    Start(bool),
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// How it is, in words that its program chooses.
    Report(String),
    /// How are all workers?
    Status,
    /// The worker with this process id is to end.
    Crash(u32),
}

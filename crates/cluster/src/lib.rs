//! What a server borrows to become a cluster: [`master::run`] starts the workers and hands
//! them connections, [`Worker`] is one of them. Node's `cluster` module, in three files: read
//! `master`, `worker`, and `channel`, which is how they speak.

#[cfg(unix)]
pub mod channel;
#[cfg(unix)]
pub mod master;
mod settings;
#[cfg(unix)]
pub mod worker;

// Elsewhere the same names, and a master that says that it needs Unix.
#[cfg(not(unix))]
mod elsewhere;
#[cfg(not(unix))]
pub use elsewhere::{master, worker};

pub use settings::{Schedule, Settings};
pub use worker::{ToMaster, Worker};

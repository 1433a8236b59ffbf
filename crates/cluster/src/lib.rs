//! What a server borrows to become a cluster, as Node's `cluster` module is borrowed: a
//! [`Master`] starts workers and hands them connections; a [`Worker`] is one of them.
//!
//! Unix alone: elsewhere no socket can be handed from one process to another.
#![cfg(unix)]

pub mod channel;
pub mod master;
mod master_handle;
pub mod message;
mod settings;
pub mod worker;

pub use master::{Event, Master};
pub use master_handle::MasterHandle;
pub use settings::{Schedule, Settings};
pub use worker::Worker;

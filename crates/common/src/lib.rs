//! What more than one lesson borrows.
//!
//! Lesson 1 (`hello`) writes the accept loop by hand; from lesson 2 on it is [`serve()`], the
//! same loop with what a real server needs. Read in this order: `listen` (where connections
//! come from), `serve` (the loop), `room` (who may stay), `connection` (what is done with one),
//! `io` (its clocks); for https and http2 then `tls` and `connection/http2`.

pub mod body;
pub mod connection;
#[cfg(feature = "cookie")]
pub mod cookie;
pub mod error;
pub mod files;
mod io;
pub mod listen;
pub mod log;
pub mod query;
pub mod reply;
mod room;
pub mod serve;
pub mod signal;
#[cfg(feature = "tls")]
pub mod tls;
mod wire;

pub use error::{CannotStart, Error};
pub use files::Files;
pub use listen::listen;
pub use reply::Reply;
pub use serve::serve;

/// What hyper gives a handler: the head of a request, and a body that is still arriving.
pub type Request = hyper::Request<hyper::body::Incoming>;

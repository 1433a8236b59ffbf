//! What more than one lesson borrows.
//!
//! A request comes down through [`mod@serve`] (the accept loop), [`mod@http1`] (one connection)
//! and [`guard`] (what every request is checked for) to a lesson's `handle`, and its [`Reply`]
//! goes back the same way. Each lesson's README says which of these files to read, and when.
//! `guard` is on no lesson's list: it is for whoever takes a lesson into production.

pub mod body;
pub mod connection;
#[cfg(feature = "cookie")]
pub mod cookie;
pub mod error;
pub mod guard;
pub mod http1;
pub mod language;
pub mod listen;
pub mod log;
pub mod query;
pub mod reply;
pub mod serve;
pub mod settings;
pub mod stop;
pub mod wire;

pub use error::{CannotStart, Error};
pub use http1::http1;
pub use listen::listen;
pub use reply::Reply;
pub use serve::serve;

/// What hyper gives a handler: the head of a request, and a body that is still arriving.
pub type Request = hyper::Request<hyper::body::Incoming>;

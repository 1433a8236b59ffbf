//! The two ways to fail: a request that gets no good answer, and a server that cannot start.

use std::borrow::Cow;
use std::{fmt, io};

use hyper::StatusCode;
use hyper::header::{ALLOW, HeaderValue, RETRY_AFTER};

use crate::ko_en;
use crate::log::{Escaped, warn};
use crate::reply::{self, Reply};

/// An answer that is an error: a status and one line of plain text that says what was wrong
/// and what would be right. Handlers return it with `?` or `Err`.
#[derive(Debug)]
pub struct Error {
    /// 4xx or 5xx.
    pub status: StatusCode,
    /// For the client.
    pub message: Cow<'static, str>,
    /// For the log only: what the client must not see (paths, addresses, causes).
    pub detail: Option<String>,
    /// The methods that a 405 names (RFC 9110 section 15.5.6).
    pub allow: Option<HeaderValue>,
    /// In how many seconds a 429 or 503 may have passed (RFC 9110 section 10.2.3).
    pub retry_after: Option<u32>,
}

impl Error {
    /// An error with this status and this line.
    pub fn new(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        let message = message.into();
        Self { status, message, detail: None, allow: None, retry_after: None }
    }

    /// 400: the request is wrong; `message` says what would be right.
    pub fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 404 `NOT FOUND`.
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "NOT FOUND")
    }

    /// The same error with a cause that goes to the log and not to the client.
    pub fn with_detail(mut self, detail: impl fmt::Display) -> Self {
        self.detail = Some(detail.to_string());
        self
    }

    /// The same error with the advice to come again in so many seconds.
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The reply that the client gets. The detail, if there is one, is logged.
    pub fn into_reply(self) -> Reply {
        if let Some(detail) = self.detail {
            let message = self.message.trim_end_matches('.');
            let line = format!("{} {message}: {detail}", self.status.as_str());
            warn(Escaped(&line));
        }
        let mut reply = reply::text(self.status, self.message);
        if let Some(allow) = self.allow {
            reply.headers_mut().insert(ALLOW, allow);
        }
        if let Some(seconds) = self.retry_after {
            reply.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        reply
    }
}

/// `?` on an I/O error is a 500. What went wrong is for the log: the client learns no paths.
impl From<io::Error> for Error {
    fn from(cause: io::Error) -> Self {
        let message = ko_en!("서버 내부 오류입니다.", "An error inside the server.");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message).with_detail(cause)
    }
}

/// Why a server cannot start: one line with what, why and the command that gets round it.
///
/// `main` returns it, and Rust prints the `Debug` form of such an error as `Error: …` and
/// exits with status 1; so `Debug` here is the line itself.
pub struct CannotStart(pub String);

impl fmt::Debug for CannotStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<io::Error> for CannotStart {
    fn from(cause: io::Error) -> Self {
        Self(ko_en!("시작할 수 없습니다: {cause}", "Cannot start: {cause}"))
    }
}

//! Reading a request's body: with a limit, with a clock, and with errors that help.

use std::cell::Cell;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::{Body, Incoming};
use serde_json::Value;
use tokio::time::timeout;

use crate::{Error, Request, ko_en};

/// The largest body that any lesson takes, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;

/// How long a client may take over the whole of its body.
pub const TIME_LIMIT: Duration = Duration::from_secs(30);

/// How long what a client is still sending is read and thrown away.
const DISCARD_LIMIT: Duration = Duration::from_secs(1);

/// Reads a request's body whole; Node collects `data` events until `end` for this.
///
/// # Errors
/// 413 over [`MAX_BYTES`], 408 after [`TIME_LIMIT`], 400 when it breaks off or its chunks are
/// malformed (RFC 9112 section 7.1).
pub async fn read(request: Request) -> Result<Bytes, Error> {
    let mut body = request.into_body();
    let all = async {
        let mut whole = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| broken())?.into_data() else { continue };
            if whole.len() + data.len() > MAX_BYTES {
                return Err(too_large());
            }
            if whole.is_empty() && body.is_end_stream() {
                WAS_READ.set(true);
                return Ok(data); // it came in one piece
            }
            whole.extend_from_slice(&data); // many small pieces end up in one
        }
        WAS_READ.set(true);
        Ok(whole.into())
    };
    timeout(TIME_LIMIT, all).await.unwrap_or_else(|_| {
        let seconds = TIME_LIMIT.as_secs();
        let message =
            ko_en!("본문은 {seconds}초까지입니다.", "A body may take {seconds} s.");
        Err(Error::new(StatusCode::REQUEST_TIMEOUT, message))
    })
}

thread_local! {
    /// Set while a handler is polled that has read its body to the end.
    static WAS_READ: Cell<bool> = const { Cell::new(false) };
}

/// Whether the handler that was just polled on this thread has read its body to the end.
pub(crate) fn was_read() -> bool {
    WAS_READ.replace(false)
}

/// Takes what the client is still sending and throws it away, for a second at most.
///
/// A body that is dropped half-way resets its HTTP/2 stream. That is allowed (RFC 9113
/// section 8.1), but many a client then throws away the answer that it has already.
pub(crate) async fn discard(mut body: Incoming) {
    let all = async { while let Some(Ok(_)) = body.frame().await {} };
    let _ = timeout(DISCARD_LIMIT, all).await;
}

/// 413: more than [`MAX_BYTES`].
pub fn too_large() -> Error {
    let message = ko_en!(
        "본문은 {MAX_BYTES}바이트까지입니다.",
        "A body may have {MAX_BYTES} bytes."
    );
    Error::new(StatusCode::PAYLOAD_TOO_LARGE, message)
}

fn broken() -> Error {
    Error::bad_request(ko_en!(
        "본문이 중간에 끊겼거나 청크 형식이 잘못되었습니다 (RFC 9112 7.1).",
        "The body breaks off, or its chunks are malformed (RFC 9112 7.1)."
    ))
}

/// Parses a body as JSON (RFC 8259).
///
/// # Errors
/// 400 that names the line and the column (both from 1, the column in bytes).
pub fn json(body: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let reason = error.to_string();
        let reason = reason.split(" at line ").next().unwrap_or_default();
        Error::bad_request(ko_en!(
            "올바른 JSON이 아닙니다: {line}행 {column}열, {reason}",
            "This is no JSON: line {line}, column {column}: {reason}"
        ))
    })
}

#[cfg(test)]
mod tests;

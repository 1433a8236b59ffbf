//! Reading a request's body: with a limit, with a clock, and with errors that help.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::StatusCode;
use hyper::body::{Body, Incoming};
use serde_json::Value;

use crate::Error;
use crate::io::LINGER;

/// The largest body that any lesson takes, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;

/// How long a client may take over the whole of its body.
pub const TIME_LIMIT: Duration = Duration::from_secs(30);

/// Reads a body whole; Node collects `data` events until `end` for this.
///
/// # Errors
/// 413 over [`MAX_BYTES`], 408 after [`TIME_LIMIT`], 400 when it breaks off or its chunks are
/// malformed (RFC 9112 section 7.1).
pub async fn read<B>(body: B) -> Result<Bytes, Error>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let whole = Limited::new(body, MAX_BYTES).collect();
    match tokio::time::timeout(TIME_LIMIT, whole).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(cause)) if cause.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Error::bad_request(
            "본문이 중간에 끊겼거나 청크 형식이 잘못되었습니다 (RFC 9112 7.1).",
        )),
        Err(_) => Err(Error::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("본문은 {}초 안에 모두 보내야 합니다.", TIME_LIMIT.as_secs()),
        )),
    }
}

/// Takes what the client is still sending and throws it away, for a second at most.
///
/// A body that is dropped half-way resets its HTTP/2 stream. That is allowed (RFC 9113
/// section 8.1), but many a client then throws away the answer that it has already.
pub(crate) async fn discard(mut body: Incoming) {
    let all = async { while let Some(Ok(_)) = body.frame().await {} };
    let _ = tokio::time::timeout(LINGER, all).await;
}

/// 413: more than [`MAX_BYTES`].
pub fn too_large() -> Error {
    Error::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("본문이 너무 큽니다. {MAX_BYTES}바이트까지 보낼 수 있습니다."),
    )
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
        Error::bad_request(format!(
            "올바른 JSON이 아닙니다: {line}행 {column}열, {reason}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_error_names_line_and_column() {
        let error = json(b"{\n  \"name\": Annie\n}").unwrap_err();
        assert_eq!(error.status, StatusCode::BAD_REQUEST);
        assert!(error.message.contains("2행 11열"), "{}", error.message);
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_crash() {
        assert!(json(&b"[".repeat(MAX_BYTES)).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_json_or_one_line_of_reason(bytes: Vec<u8>) {
            if let Err(error) = json(&bytes) {
                prop_assert_eq!(error.status, StatusCode::BAD_REQUEST);
                prop_assert!(!error.message.contains(['\n', '\r']));
            }
        }

        #[test]
        fn any_text_survives_json(name: String) {
            let body = serde_json::json!({ "name": name }).to_string();
            let parsed = json(body.as_bytes()).unwrap();
            prop_assert_eq!(parsed["name"].as_str(), Some(&*name));
        }
    }
}

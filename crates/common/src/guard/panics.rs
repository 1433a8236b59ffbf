//! A handler that panics is a 500 to its own client and to nobody else.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use hyper::StatusCode;

use crate::{Error, ko_en};

/// Runs a handler. The message of a panic, and its place, are on standard error already.
///
/// # Errors
/// The handler's, or 500 where it panicked.
pub async fn catch<T, F>(handler: impl FnOnce() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut handling = pin!(async { handler().await });
    poll_fn(|cx| {
        let poll = AssertUnwindSafe(|| handling.as_mut().poll(cx));
        catch_unwind(poll).unwrap_or_else(|_| {
            let message = ko_en!(
                "요청을 처리하다 서버에서 오류가 났습니다.",
                "The server failed while it handled this request."
            );
            Poll::Ready(Err(Error::new(StatusCode::INTERNAL_SERVER_ERROR, message)))
        })
    })
    .await
}

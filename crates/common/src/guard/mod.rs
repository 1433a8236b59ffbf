//! What a lesson must survive. No lesson's README sends its reader here; read this before you
//! copy a lesson into production.
//!
//! | danger | row of the contract | file |
//! | --- | --- | --- |
//! | a request for no host, or for two | odd requests | `host.rs` |
//! | a page of another site writes through a visitor's browser; DNS rebinding | writes from other sites | `origin.rs` |
//! | a handler panics | a handler that panics | `panics.rs` |
//! | a client takes nothing of its answer; an answer is lost to a reset | slow or dead clients; a body nobody reads | `stream.rs` |
//! | a terminal is closed, and the server lives on and holds its port | SIGHUP | `terminal.rs` |
//! | a timer for each request costs more than it guards | slow or dead clients | `timer.rs` |
//! | more clients than open files | many clients; running out | `open_files.rs` |
//! | a body in chunks beside a length (request smuggling), a body that nobody reads | bad input; a body nobody reads | this file |
//! | a body that is too large, or endless | bad input; slow or dead clients | [`crate::body`] |
//! | a head that is too large, or never ends | slow or dead clients | [`mod@crate::http1`] |
//! | text from outside drives the terminal | (rest) control characters escaped | [`crate::log::Escaped`] |

mod host;
pub mod open_files;
mod origin;
mod panics;
pub mod stream;
pub mod terminal;
pub mod timer;

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, OnceLock};

use hyper::body::Body;
use hyper::header::{ALLOW, CONNECTION, HeaderValue, TRANSFER_ENCODING};
use hyper::{Method, StatusCode, Uri, Version};

use crate::connection::Connection;
use crate::{Error, Reply, Request, body, ko_en};

/// Called with each request that is refused here and that no handler sees: for an access log.
pub static ON_REFUSAL: OnceLock<fn(&Request, &Connection, StatusCode)> = OnceLock::new();

/// Tells [`ON_REFUSAL`] of a request that is answered with this error.
pub fn refused(request: &Request, connection: &Connection, error: Error) -> Error {
    ON_REFUSAL.get().inspect(|tell| tell(request, connection, error.status));
    error
}

/// One request: what every lesson refuses, then the lesson's own handler.
///
/// # Errors
/// Never: an [`Error`] becomes an answer here.
pub async fn answer<H, F>(
    mut request: Request,
    connection: &Arc<Connection>,
    handle: &H,
) -> Result<Reply, Infallible>
where
    H: Fn(Request) -> F,
    F: Future<Output = Result<Reply, Error>>,
{
    let is_http1 = request.version() < Version::HTTP_2;
    let has_body = !request.body().is_end_stream();
    // A body in chunks beside a Content-Length is how requests are smuggled. hyper believes
    // the chunks, and we do not go on with that connection (RFC 9112 section 6.1).
    let mut close = has_body && request.headers().contains_key(TRANSFER_ENCODING);
    let mut was_read = !has_body;
    let result = match check(&request, connection) {
        Ok(()) => {
            let method = as_handled(&mut request);
            let mut handling = pin!(panics::catch(|| handle(request)));
            let result = poll_fn(|cx| {
                let poll = handling.as_mut().poll(cx);
                was_read |= body::was_read();
                poll
            })
            .await;
            if method == Method::CONNECT || method == Method::TRACE {
                Err(not_traced(&method, result))
            } else {
                result
            }
        }
        Err(error) => {
            let error = refused(&request, connection, error);
            if !is_http1 {
                tokio::spawn(body::discard(request.into_body()));
            }
            Err(error)
        }
    };
    let mut reply = result.unwrap_or_else(Error::into_reply);
    if is_http1 {
        close |= !was_read;
        if !close {
            connection.answers();
        }
        if close || connection.stop.is_cancelled() {
            reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
    Ok(reply)
}

/// What no lesson takes, whatever its handler would say.
fn check(request: &Request, connection: &Connection) -> Result<(), Error> {
    host::check(request)?;
    origin::check(request, connection.loopback)?;
    // `body::read` counts what arrives; what is announced can be refused before it does.
    if request.body().size_hint().lower() > body::MAX_BYTES as u64 {
        return Err(body::too_large());
    }
    Ok(())
}

/// What a handler sees: GET for HEAD (hyper remembers, and leaves the body out; for a log it is
/// in the extensions), `OPTIONS /` for `OPTIONS *`, and OPTIONS for what is always 405. Returns
/// the method as it came.
fn as_handled(request: &mut Request) -> Method {
    let method = request.method().clone();
    if method == Method::HEAD {
        *request.method_mut() = Method::GET;
        request.extensions_mut().insert(method.clone());
    } else if method == Method::CONNECT || method == Method::TRACE {
        *request.method_mut() = Method::OPTIONS;
    } else if method == Method::OPTIONS && request.uri().path() == "*" {
        *request.uri_mut() = Uri::from_static("/");
    }
    method
}

/// 405 for CONNECT and TRACE, with what the path answers to OPTIONS as `Allow`; an empty one
/// where there is no such path (RFC 9110 section 10.2.1).
fn not_traced(method: &Method, options: Result<Reply, Error>) -> Error {
    let allow = options.ok().and_then(|mut reply| reply.headers_mut().remove(ALLOW));
    let allow = allow.unwrap_or(HeaderValue::from_static(""));
    let message = ko_en!(
        "{method} 메서드는 쓸 수 없습니다.",
        "The method {method} is not allowed."
    );
    Error { allow: Some(allow), ..Error::new(StatusCode::METHOD_NOT_ALLOWED, message) }
}

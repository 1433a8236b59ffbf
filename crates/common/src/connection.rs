//! What is done with one connection: hyper reads requests from it and writes answers to it,
//! and this file adds what hyper leaves to us.

#[cfg(feature = "tls")]
mod http2;

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderValue, TRANSFER_ENCODING};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Response, StatusCode, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::io::Io;
use crate::log::warn;
use crate::{Error, Request, body, reply};

#[cfg(feature = "tls")]
pub use http2::http2;

/// How long a client may take over the head of a request; also how long it may idle before
/// its next one, since hyper's clock starts when it begins to wait.
pub const HEAD: Duration = Duration::from_secs(10);

/// The largest head of a request, in bytes.
pub const MAX_HEAD: usize = 64 * 1024;

/// How long a client that has sent nothing yet may take for its first byte, while the server
/// is draining or has no room.
pub const FIRST_BYTE: Duration = Duration::from_secs(1);

/// While draining: the same between two requests. It only bridges what is on its way already.
const NEXT_BYTE: Duration = Duration::from_millis(100);

/// A body that a handler may answer with.
pub trait Answer:
    Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static
{
}
impl<B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static> Answer for B {}

/// What hyper takes as the error of a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Serves HTTP/1.1 on one connection until either side ends it.
pub async fn http1<S, H, F, B>(stream: S, seat: Arc<Seat>, handle: H)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(Request) -> F + Send + Sync,
    F: Future<Output = Result<Response<B>, Error>> + Send,
    B: Answer,
{
    let io = TokioIo::new(Io::new(stream, seat.clone()));
    let service = service_fn(|request| answer(request, &seat, &handle));
    let connection = http1::Builder::new()
        // Without a timer the header clock does nothing, and says nothing.
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(MAX_HEAD)
        // A client may say that it will send no more (`nc -N`) and still wait for the answer.
        .half_close(true)
        .serve_connection(io, service);
    drive(pin!(connection), &seat, http1::Connection::graceful_shutdown).await;
}

/// Runs a connection to its end. An error here is the client's: it went away, was too slow, or
/// sent what is no HTTP (hyper has answered that with 400). Nobody else needs to know.
pub async fn drive<C: Future>(
    mut connection: Pin<&mut C>,
    seat: &Seat,
    graceful_shutdown: impl Fn(Pin<&mut C>),
) {
    loop {
        tokio::select! {
            biased;
            _ = connection.as_mut() => return,
            () = seat.told.notified() => {}
        }
        if seat.is_draining() {
            break;
        }
        if seat.is_waiting() {
            return;
        }
    }
    // hyper's graceful_shutdown closes a connection between two requests at once, even when
    // the next one is half there. Whoever has begun to ask gets an answer first; it says
    // `Connection: close`.
    let mut first_byte =
        pin!(sleep(if seat.is_fresh() { FIRST_BYTE } else { NEXT_BYTE }));
    let ended = poll_fn(|cx| {
        if connection.as_mut().poll(cx).is_ready() {
            return Poll::Ready(true);
        }
        let silent = seat.is_waiting() && !seat.is_asking();
        if !seat.is_waiting() || (silent && first_byte.as_mut().poll(cx).is_ready()) {
            return Poll::Ready(false);
        }
        Poll::Pending
    });
    if !ended.await {
        graceful_shutdown(connection.as_mut());
        let _ = connection.await;
    }
}

/// One request: what every lesson refuses, then the lesson's own handler.
pub async fn answer<H, F, B>(
    mut request: Request,
    seat: &Arc<Seat>,
    handle: &H,
) -> Result<Response<Tracked<B>>, Infallible>
where
    H: Fn(Request) -> F,
    F: Future<Output = Result<Response<B>, Error>>,
{
    let in_flight = InFlight::new(seat);
    // A body in chunks beside a Content-Length is how requests are smuggled. hyper believes
    // the chunks, and we do not go on with that connection (RFC 9112 section 6.1).
    let mut close = !request.body().is_end_stream()
        && request.headers().contains_key(TRANSFER_ENCODING);
    let http1 = request.version() < Version::HTTP_2;
    let result = match refuse(&request) {
        Some(error) => {
            close = true;
            if !http1 {
                tokio::spawn(body::discard(request.into_body()));
            }
            Err(error)
        }
        None => {
            // For a handler HEAD is GET. hyper remembers, and leaves the body out.
            if request.method() == Method::HEAD {
                *request.method_mut() = Method::GET;
            }
            isolated(|| handle(request)).await
        }
    };
    let mut response = match result {
        Ok(response) => {
            response.map(|body| Tracked { body: Either::Left(body), in_flight })
        }
        Err(mut error) => {
            if let Some(detail) = error.detail.take() {
                warn(format_args!(
                    "{} {}: {detail}",
                    error.status.as_str(),
                    error.message
                ));
            }
            close |= matches!(
                error.status,
                StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT
            );
            let reply = error.into_reply();
            reply.map(|body| Tracked { body: Either::Right(body), in_flight })
        }
    };
    if http1 && (close || seat.is_draining()) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// What no lesson takes, whatever its handler would say.
fn refuse(request: &Request) -> Option<Error> {
    if request.version() < Version::HTTP_2
        && let Some(wrong) = wrong_host(request.version(), request.headers())
    {
        return Some(Error::bad_request(wrong));
    }
    if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
        return reply::not_allowed(request.method(), "GET, HEAD, OPTIONS").err();
    }
    if request.body().is_end_stream() {
        return None;
    }
    // `Limited` counts what arrives; what is announced can be refused before it does.
    let announced = request.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse::<u64>();
    // A length that is no u64 was refused by hyper.
    announced.is_ok_and(|length| length > body::MAX_BYTES as u64).then(body::too_large)
}

/// HTTP/1.1 asks for exactly one `Host`, and hyper does not look (RFC 9112 section 3.2).
fn wrong_host(version: Version, headers: &HeaderMap) -> Option<&'static str> {
    let mut hosts = headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if version == Version::HTTP_11 => {
            Some("HTTP/1.1 요청에는 Host 헤더가 있어야 합니다. 예: Host: localhost")
        }
        (None, _) => None,
        (Some(_), Some(_)) => Some("Host 헤더는 하나여야 합니다."),
        (Some(host), None) if is_host(host.as_bytes()) => None,
        (Some(_), None) => {
            Some("Host 헤더의 형식이 잘못되었습니다. 예: Host: localhost:8082")
        }
    }
}

/// `host [":" port]`, where host is a name, an IPv4 address or an IPv6 address in brackets
/// (RFC 3986 section 3.2.2).
fn is_host(host: &[u8]) -> bool {
    let (name_is_good, rest) = if let Some(inner) = host.strip_prefix(b"[") {
        let end = inner.iter().position(|b| *b == b']').unwrap_or(inner.len());
        let address = std::str::from_utf8(&inner[..end]).ok();
        let good = address.is_some_and(|a| a.parse::<std::net::Ipv6Addr>().is_ok());
        (good && end < inner.len(), inner.get(end + 1..).unwrap_or_default())
    } else {
        let allowed =
            |b: &u8| b.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(b);
        let end = host.iter().position(|b| !allowed(b)).unwrap_or(host.len());
        (end > 0, &host[end..])
    };
    let port_is_good = match rest.strip_prefix(b":") {
        Some(port) => port.len() <= 5 && port.iter().all(u8::is_ascii_digit),
        None => rest.is_empty(),
    };
    name_is_good && port_is_good
}

/// Runs a handler. One that panics is a 500 to its own client and to nobody else; the panic's
/// message and place are on standard error already.
async fn isolated<T, F>(handler: impl FnOnce() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let panicked = |_| {
        Error::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "요청을 처리하다 서버에서 오류가 났습니다.",
        )
    };
    let future = catch_unwind(AssertUnwindSafe(handler)).map_err(panicked)?;
    let mut future = pin!(future);
    poll_fn(|cx| {
        let poll = AssertUnwindSafe(|| future.as_mut().poll(cx));
        catch_unwind(poll).unwrap_or_else(|panic| Poll::Ready(Err(panicked(panic))))
    })
    .await
}

/// What the accept loop and one connection know of each other.
pub struct Seat {
    /// Counts connections from 1.
    pub id: u64,
    opened: Instant,
    /// When the last byte came, in ms since `opened`.
    heard_at: AtomicU64,
    heard: AtomicBool,
    asking: AtomicBool,
    blocked: AtomicBool,
    in_flight: AtomicU32,
    order: AtomicU8,
    told: Notify,
}

const MAKE_ROOM: u8 = 1;
const DRAIN: u8 = 2;

// Each flag stands alone and its readers are woken through `told`, which orders them.
impl Seat {
    /// The seat of the `id`th connection.
    pub fn new(id: u64) -> Self {
        Self {
            id,
            opened: Instant::now(),
            heard_at: AtomicU64::new(0),
            heard: AtomicBool::new(false),
            asking: AtomicBool::new(false),
            blocked: AtomicBool::new(false),
            in_flight: AtomicU32::new(0),
            order: AtomicU8::new(0),
            told: Notify::new(),
        }
    }

    /// No byte has come yet.
    pub fn is_fresh(&self) -> bool {
        !self.heard.load(Relaxed)
    }

    /// How long nothing has come.
    pub fn quiet(&self) -> Duration {
        let heard_at = Duration::from_millis(self.heard_at.load(Relaxed));
        self.opened.elapsed().saturating_sub(heard_at)
    }

    /// Bytes have come since the last answer began.
    pub fn is_asking(&self) -> bool {
        self.asking.load(Relaxed)
    }

    /// There is no request whose answer is not yet with the system.
    pub fn is_waiting(&self) -> bool {
        // hyper lets go of a body when it has taken all of it, not when the client has.
        self.in_flight.load(Relaxed) == 0 && !self.blocked.load(Relaxed)
    }

    /// The server is stopping: this connection's next answer is its last.
    pub fn is_draining(&self) -> bool {
        self.order.load(Relaxed) == DRAIN
    }

    /// Asks the connection to close if it has no request.
    pub fn make_room(&self) {
        self.order.fetch_max(MAKE_ROOM, Relaxed);
        self.told.notify_one();
    }

    /// Asks the connection to finish what it has and to close.
    pub fn drain(&self) {
        self.order.fetch_max(DRAIN, Relaxed);
        self.told.notify_one();
    }

    /// Waits until [`Seat::drain`] or [`Seat::make_room`] was called.
    pub async fn told(&self) {
        self.told.notified().await;
    }

    pub(crate) fn asking(&self) {
        self.heard_at.store(self.opened.elapsed().as_millis() as u64, Relaxed);
        self.heard.store(true, Relaxed);
        self.asking.store(true, Relaxed);
    }

    pub(crate) fn answering(&self) {
        self.asking.store(false, Relaxed);
        self.caught_up();
    }

    /// The client is behind: a part of an answer waits for it to read.
    pub(crate) fn blocked(&self) {
        self.blocked.store(true, Relaxed);
    }

    pub(crate) fn caught_up(&self) {
        self.blocked.store(false, Relaxed);
    }
}

/// Counts one request, from its head to the last byte of its answer.
struct InFlight(Arc<Seat>);

impl InFlight {
    fn new(seat: &Arc<Seat>) -> Self {
        seat.in_flight.fetch_add(1, Relaxed);
        Self(seat.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

/// The body of an answer, the handler's or an error's. hyper drops it when it has taken all.
pub struct Tracked<B> {
    body: Either<B, Full<Bytes>>,
    #[expect(dead_code, reason = "it counts as long as it lives")]
    in_flight: InFlight,
}

impl<B: Answer> Body for Tracked<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.body {
            Either::Left(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Either::Right(text) => {
                Pin::new(text).poll_frame(cx).map_err(|never| match never {})
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for good in [
            "localhost",
            "localhost:8082",
            "127.0.0.1:1",
            "[::1]",
            "[::1]:65535",
            "a-b.c_d",
            "a:",
        ] {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            ":80",
            "a b",
            "a/b",
            "user@host",
            "[::1",
            "[zz]",
            "[]",
            "a:b",
            "a:1:2",
            "a:123456",
            "[::1]x",
            "::1",
            "a\\b",
            "a\u{e9}",
            "http://a",
        ] {
            assert!(!is_host(bad.as_bytes()), "{bad}");
        }
    }
}

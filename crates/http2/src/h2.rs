//! HTTP/2 on one connection (RFC 9113): hyper's builder with its limits, and the two clocks that
//! it does not have, for a client that asks nothing and for one that takes nothing.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use common::connection::Connection;
use common::guard::stream::{GuardedStream, WRITE_TIMEOUT};
use common::http1::{FIRST_BYTE, MAX_HEAD, idle_limit};
use common::{Error, Reply, Request, body, guard, ko_en, wire};
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::CONTENT_LENGTH;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Method, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};

use crate::frames;

/// Requests that one client may have under way at once.
const STREAMS: u32 = 256;

/// Requests that all clients together may have under way: as many as over HTTP/1.1, where each
/// connection has one. The head of one can hold 37 KiB of memory, so all of them 145 MiB.
static REQUESTS: Semaphore = Semaphore::const_new(4000);

/// Streams that a client may reset before we have looked at them, and streams that we reset
/// for its mistakes. Beyond these it is "rapid reset" (CVE-2023-44487), and the end.
const RESETS: usize = 20;
const ERRORS: usize = 100;

/// A connection that is silent for so long while it has requests is asked for a sign of life,
/// and closed if none comes.
const PING: Duration = Duration::from_secs(10);
const PONG: Duration = Duration::from_secs(20);

/// Serves HTTP/2 on one connection until either side ends it, or the server is to stop.
///
/// For a connection whose ALPN says `h2`: the client has 10 s for its preface and its first
/// request, and as long for each pause between requests.
pub async fn http2<S, H, F>(stream: S, connection: Arc<Connection>, handle: H)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Reply, Error>> + Send + 'static,
{
    let stream = wire::shown(stream, frames::shown(connection.id));
    let stream = TokioIo::new(GuardedStream::new(stream, connection.clone()));
    let streams = Arc::new(Streams::new());
    let (opened, served) = (streams.clone(), connection.clone());
    let service = service_fn(move |request: Request| {
        let open = Open::new(&opened);
        let (connection, handle) = (served.clone(), handle.clone());
        // Boxed: hyper moves what a service returns from hand to hand, and this is kilobytes.
        Box::pin(async move {
            let is_head = request.method() == Method::HEAD;
            let mut reply = match REQUESTS.try_acquire() {
                Ok(_until_answered) => {
                    guard::answer(request, &connection, &handle).await?
                }
                Err(_) => guard::refused(&request, &connection, too_many_requests())
                    .into_reply(),
            };
            // Over HTTP/1.1 hyper does this by itself.
            if is_head && reply.status() != StatusCode::NOT_MODIFIED {
                let length = reply.body().size_hint().exact().unwrap_or_default();
                reply.headers_mut().entry(CONTENT_LENGTH).or_insert(length.into());
            }
            let body = |body| Counted { body: (!is_head).then_some(body), open };
            Ok::<_, Infallible>(reply.map(body))
        })
    });
    let mut http = pin!(
        http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING)
            .keep_alive_timeout(PONG)
            .max_concurrent_streams(STREAMS)
            .max_pending_accept_reset_streams(RESETS)
            .max_local_error_reset_streams(ERRORS)
            // Also what bounds a flood of CONTINUATION frames (CVE-2024-27316).
            .max_header_list_size(MAX_HEAD as u32)
            // What a client may make us hold: of one body, and of all that arrive at once.
            .initial_stream_window_size(body::MAX_BYTES as u32)
            .initial_connection_window_size(1 << 20)
            .max_send_buf_size(64 * 1024)
            .serve_connection(stream, service)
    );
    tokio::select! {
        biased;
        _ = http.as_mut() => return,
        () = connection.stop.cancelled() => {}
        () = streams.idle_for(idle_limit()) => {}
        () = streams.stalled() => return,
    }
    if !connection.has_received() && !connection.stop.is_cancelled() {
        return; // nobody there to say anything to
    }
    // GOAWAY: requests that are on their way are still answered, later ones go elsewhere.
    // Unlike in HTTP/1.1 nothing can be lost here, so there is nothing to wait for first.
    http.as_mut().graceful_shutdown();
    tokio::select! {
        biased;
        _ = http => {}
        () = streams.idle_for(FIRST_BYTE) => {}
        () = streams.stalled() => {}
    }
}

fn too_many_requests() -> Error {
    let message = ko_en!(
        "지금 처리 중인 요청이 너무 많습니다. 잠시 뒤 다시 시도하세요.",
        "Too many requests are under way. Try again in a moment."
    );
    Error::new(StatusCode::SERVICE_UNAVAILABLE, message).retry_after(1)
}

/// What one client has under way.
///
/// A body that hyper has taken may lie in its buffers for as long as the client gives no
/// window for it (RFC 9113 section 5.2: back-pressure). The socket shows nothing of that: such
/// a client can answer pings all day. So each piece of a body counts until it was written.
struct Streams {
    start: Instant,
    /// Requests whose answer is not written yet.
    open: AtomicU32,
    /// Pieces of bodies that are not written yet.
    owed: AtomicU32,
    /// When something was last written or became due, in ms since `start`.
    moved: AtomicU64,
}

impl Streams {
    fn new() -> Self {
        let (open, owed) = (AtomicU32::new(0), AtomicU32::new(0));
        Self { start: Instant::now(), open, owed, moved: AtomicU64::new(0) }
    }

    fn touch(&self) {
        self.moved.store(self.start.elapsed().as_millis() as u64, Relaxed);
    }

    fn moved(&self) -> Instant {
        self.start + Duration::from_millis(self.moved.load(Relaxed))
    }

    /// Waits until the client has had no request for `limit`, from now on.
    async fn idle_for(&self, limit: Duration) {
        let mut since = Instant::now();
        loop {
            let now = Instant::now();
            if self.open.load(Relaxed) > 0 {
                since = now;
            }
            let end = since.max(self.moved()) + limit;
            if end <= now {
                return;
            }
            sleep_until(end).await;
        }
    }

    /// Waits until the client has taken nothing for [`WRITE_TIMEOUT`] of what it is owed.
    async fn stalled(&self) {
        loop {
            let now = Instant::now();
            let since = if self.owed.load(Relaxed) == 0 { now } else { self.moved() };
            if since + WRITE_TIMEOUT <= now {
                return;
            }
            sleep_until(since + WRITE_TIMEOUT).await;
        }
    }
}

/// Counts one request, from its head to the last byte of its answer.
struct Open(Arc<Streams>);

impl Open {
    fn new(streams: &Arc<Streams>) -> Self {
        streams.open.fetch_add(1, Relaxed);
        Self(streams.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Relaxed) == 1 {
            self.0.touch();
        }
    }
}

/// The body of an answer, whose pieces are counted. None in an answer to HEAD.
struct Counted {
    body: Option<Full<Bytes>>,
    open: Open,
}

impl Body for Counted {
    type Data = Piece;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, Infallible>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let poll = Pin::new(body).poll_frame(cx);
        poll.map_ok(|frame| frame.map_data(|bytes| Piece::new(bytes, &self.open.0)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

/// Bytes that the client is owed until they are written.
struct Piece {
    bytes: Bytes,
    open: Open,
}

impl Piece {
    fn new(bytes: Bytes, streams: &Arc<Streams>) -> Self {
        // A new answer is a sign of life, but not from a client that does not take the last.
        if streams.owed.fetch_add(1, Relaxed) == 0 {
            streams.touch();
        }
        Self { bytes, open: Open::new(streams) }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.open.0.touch();
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.open.0.owed.fetch_sub(1, Relaxed);
    }
}

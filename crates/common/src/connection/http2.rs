//! HTTP/2 on one connection: hyper's builder with its limits, and the two clocks that it does
//! not have, for a client that asks nothing and for one that takes nothing.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::CONTENT_LENGTH;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Method, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};

use super::{
    Answer, BoxError, FIRST_BYTE, HEAD, InFlight, MAX_HEAD, Seat, Tracked, answer,
};
use crate::io::{Io, STALL};
use crate::{Error, Request, body};

/// Requests that one client may have under way at once.
const STREAMS: u32 = 256;

/// Streams that a client may reset before we have looked at them, and streams that we reset
/// for its mistakes. Beyond these it is "rapid reset" (CVE-2023-44487), and the end.
const RESETS: usize = 20;
const ERRORS: usize = 100;

/// A connection that is silent for so long while it has requests is asked for a sign of life,
/// and closed if none comes.
const PING: Duration = Duration::from_secs(10);
const PONG: Duration = Duration::from_secs(20);

/// Serves HTTP/2 on one connection until either side ends it (RFC 9113).
///
/// For a connection whose ALPN says `h2`: the client has 10 s for its preface and its first
/// request, and as long for each pause between requests.
pub async fn http2<S, H, F, B>(stream: S, seat: Arc<Seat>, handle: H)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response<B>, Error>> + Send + 'static,
    B: Answer,
{
    let io = TokioIo::new(Io::new(stream, seat.clone()));
    let flow = Arc::new(Flow::new(seat.clone()));
    let shared = flow.clone();
    let service = service_fn(move |request: Request| {
        let (flow, handle) = (shared.clone(), handle.clone());
        async move {
            let is_head = request.method() == Method::HEAD;
            let mut response = answer(request, &flow.seat, &handle).await?;
            flow.answered();
            // Over HTTP/1.1 hyper does this by itself.
            if is_head && let Some(length) = response.size_hint().exact() {
                response.headers_mut().entry(CONTENT_LENGTH).or_insert(length.into());
            }
            let count = |body| Counted { body: (!is_head).then_some(body), flow };
            Ok::<_, Infallible>(response.map(count))
        }
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG)
        .max_concurrent_streams(STREAMS)
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(ERRORS)
        // Also what bounds a flood of CONTINUATION frames (CVE-2024-27316).
        .max_header_list_size(MAX_HEAD as u32)
        // What one client may make us hold: of one body, and of all that arrive at once.
        .initial_stream_window_size(body::MAX_BYTES as u32)
        .initial_connection_window_size(1 << 20)
        .max_send_buf_size(64 * 1024)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    let told_to_leave = async {
        loop {
            seat.told().await;
            if seat.is_draining() || seat.is_waiting() {
                return;
            }
        }
    };
    tokio::select! {
        biased;
        _ = connection.as_mut() => return,
        () = told_to_leave => {}
        () = flow.idle_for(HEAD) => {}
        () = flow.stalled() => return,
    }
    if seat.is_fresh() && !seat.is_draining() {
        return; // nobody there to say anything to
    }
    // GOAWAY: requests that are on their way are still answered, later ones go elsewhere.
    // Unlike in HTTP/1.1 nothing can be lost here, so there is nothing to wait for first.
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        biased;
        _ = connection => {}
        () = flow.idle_for(FIRST_BYTE) => {}
        () = flow.stalled() => {}
    }
}

/// What goes to one client.
///
/// A body that hyper has taken may lie in its buffers for as long as the client gives no
/// window for it (RFC 9113 section 5.2). The socket shows nothing of that: such a client can
/// answer pings all day. So each piece of a body counts until its last byte was written.
struct Flow {
    seat: Arc<Seat>,
    start: Instant,
    /// Pieces of bodies that are not written yet.
    owed: AtomicU32,
    /// When something was last written or became due, in ms since `start`.
    moved: AtomicU64,
}

impl Flow {
    fn new(seat: Arc<Seat>) -> Self {
        let start = Instant::now();
        Self { seat, start, owed: AtomicU32::new(0), moved: AtomicU64::new(0) }
    }

    fn touch(&self) {
        self.moved.store(self.start.elapsed().as_millis() as u64, Relaxed);
    }

    /// A new answer is a sign of life, but not from a client that does not take the last one.
    fn answered(&self) {
        if self.owed.load(Relaxed) == 0 {
            self.touch();
        }
    }

    fn moved(&self) -> Instant {
        self.start + Duration::from_millis(self.moved.load(Relaxed))
    }

    /// Waits until the client has had no request for `limit`, from now on.
    async fn idle_for(&self, limit: Duration) {
        let mut since = Instant::now();
        loop {
            let now = Instant::now();
            if !self.seat.is_waiting() {
                since = now;
            }
            let end = since.max(self.moved()) + limit;
            if end <= now {
                return;
            }
            sleep_until(end).await;
        }
    }

    /// Waits until the client has taken nothing for [`STALL`] of what it is owed.
    async fn stalled(&self) {
        loop {
            let now = Instant::now();
            let since = match self.owed.load(Relaxed) {
                0 => now,
                _ => self.moved(),
            };
            if since + STALL <= now {
                return;
            }
            sleep_until(since + STALL).await;
        }
    }
}

/// The body of an answer, whose pieces are counted.
struct Counted<B> {
    /// None in an answer to HEAD.
    body: Option<Tracked<B>>,
    flow: Arc<Flow>,
}

impl<B: Answer> Body for Counted<B> {
    type Data = Piece;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, BoxError>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        let count = |frame: Frame<Bytes>| frame.map_data(|b| Piece::new(b, &self.flow));
        Poll::Ready(frame.map(|frame| frame.map(count)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Tracked::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Tracked::size_hint)
    }
}

/// Bytes that the client is owed until they are written.
struct Piece {
    bytes: Bytes,
    flow: Arc<Flow>,
    #[expect(dead_code, reason = "it counts as long as it lives")]
    in_flight: InFlight,
}

impl Piece {
    fn new(bytes: Bytes, flow: &Arc<Flow>) -> Self {
        if flow.owed.fetch_add(1, Relaxed) == 0 {
            flow.touch();
        }
        Self { bytes, in_flight: InFlight::new(&flow.seat), flow: flow.clone() }
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
        self.flow.touch();
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.flow.owed.fetch_sub(1, Relaxed);
    }
}

//! HTTP/1.1 on one connection: hyper reads requests and writes answers; this file gives it its
//! limits and its end.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;

use crate::connection::Connection;
use crate::guard::stream::GuardedStream;
use crate::guard::timer::OneTimer;
use crate::{Error, Reply, Request, guard, wire};

/// How long a client may take over the head of a request. hyper's clock starts when it begins
/// to wait, so this is also how long a keep-alive connection may idle.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a keep-alive connection may idle in this process, where that is not
/// [`HEADER_TIMEOUT`]: behind a load balancer longer than the balancer keeps it.
pub static IDLE_LIMIT: OnceLock<Duration> = OnceLock::new();

/// How long a keep-alive connection may idle.
pub fn idle_limit() -> Duration {
    IDLE_LIMIT.get().copied().unwrap_or(HEADER_TIMEOUT)
}

/// The largest head of a request, in bytes; Node's limit, too.
pub const MAX_HEAD: usize = 16 * 1024;

/// During shutdown, how long a client that has sent nothing yet may take for its first byte.
pub const FIRST_BYTE: Duration = Duration::from_secs(1);

/// During shutdown, how long an idle keep-alive connection may still wait for a request that is
/// in the network.
const NEXT_REQUEST: Duration = Duration::from_millis(100);

/// Serves one connection until either side ends it, or the server is to stop.
pub async fn http1<S, H, F>(stream: S, connection: Arc<Connection>, handle: H)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(Request) -> F + Send + Sync,
    F: Future<Output = Result<Reply, Error>> + Send,
{
    let stream = wire::shown(stream, wire::text(connection.id));
    let stream = TokioIo::new(GuardedStream::new(stream, connection.clone()));
    let service = service_fn(|request| guard::answer(request, &connection, &handle));
    let mut http = pin!(
        http1::Builder::new()
            // Without a timer the header timeout does nothing, and says nothing.
            .timer(OneTimer::default())
            .header_read_timeout(idle_limit())
            .max_buf_size(MAX_HEAD)
            // A client may say that it sends no more (`nc -N`) and still wait for the answer.
            .half_close(true)
            .serve_connection(stream, service)
    );
    // An error here is the client's: it went away, was too slow, or sent what is no HTTP.
    tokio::select! {
        biased;
        _ = http.as_mut() => return,
        () = connection.stop.cancelled() => {}
    }
    // From here on `guard::answer` puts `Connection: close` into every answer.
    let wait = if connection.has_received() { NEXT_REQUEST } else { FIRST_BYTE };
    tokio::select! {
        biased;
        _ = http.as_mut() => return,
        () = sleep(wait) => {}
    }
    // hyper's graceful_shutdown closes a connection between two requests at once, even when
    // half of the next one is there. So not then: its answer ends the connection.
    if !connection.is_unanswered() {
        http.as_mut().graceful_shutdown();
    }
    let _ = http.await;
}

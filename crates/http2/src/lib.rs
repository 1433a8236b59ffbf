//! What a server borrows to speak HTTP/2 over TLS: [`speak`] asks ALPN which protocol it is.

mod frames;
mod h2;

use std::future::Future;
use std::sync::Arc;

use common::connection::Connection;
use common::error::CannotStart;
use common::settings::one_of;
use common::{Error, Reply, Request, http1};
use https::{HTTP1, Protocols};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

pub use h2::http2;

/// HTTP/2, and HTTP/1.1 for clients that have no HTTP/2.
pub const HTTP2: Protocols = &["h2", "http/1.1"];

/// What `ALPN` says: `http/1.1` to do without HTTP/2, `h2` to do without HTTP/1.1; not set,
/// both.
///
/// # Errors
/// `ALPN` names something else.
pub fn protocols_from_env() -> Result<Protocols, CannotStart> {
    one_of("ALPN", &[("h2,http/1.1", HTTP2), ("h2", &HTTP2[..1]), ("http/1.1", HTTP1)])
}

/// Serves one connection by the protocol that both sides chose in the handshake (ALPN).
///
/// Never by a look at the first bytes: hyper's `auto` builder does that, and waits for them
/// without a limit.
pub async fn speak<H, F>(
    tls: TlsStream<TcpStream>,
    connection: Arc<Connection>,
    handle: H,
) where
    H: Fn(Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Reply, Error>> + Send + 'static,
{
    match tls.get_ref().1.alpn_protocol() {
        Some(b"h2") => http2(tls, connection, handle).await,
        _ => http1(tls, connection, handle).await,
    }
}

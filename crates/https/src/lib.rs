//! HTTP over TLS: a handshake, and then HTTP over what comes out of it.

mod certificate;

use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use common::connection::{Connection, Connections};
use common::error::CannotStart;
use common::guard::open_files;
use common::http1::{FIRST_BYTE, http1};
use common::listen::Listener;
use common::log::{say, warn};
use common::serve::accept_loop;
use common::stop::{Hangup, Signals};
use common::{Error, Reply, Request, ko_en, reply};
use hyper::StatusCode;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{ClientHello, ProducesTickets, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

pub use certificate::Certificate;

/// How long a client may take over its handshake, from the first byte to the last.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Clients that do not trust our certificate often come in swarms; one line for each of these
/// spans is enough.
const ONE_WARNING: Duration = Duration::from_secs(10);

/// What a listener offers over ALPN (RFC 7301), the best first.
pub type Protocols = &'static [&'static str];

/// HTTP/1.1 and nothing else.
pub const HTTP1: Protocols = &["http/1.1"];

/// Reads the certificate: at the start, and again at every SIGHUP.
pub type ReadCertificate = fn() -> Result<Certificate, CannotStart>;

/// Serves HTTPS until SIGINT or SIGTERM; then finishes what is in flight and ends the process
/// with status 0. `https.createServer({ cert, key, ca }, …).listen(port)` in Node.
///
/// Each listener has its own protocols; the first line names the first listener. `speak` is
/// done with each connection after its handshake.
///
/// # Errors
/// The certificate cannot be read, or is none.
pub async fn serve<S, F, const N: usize>(
    read: ReadCertificate,
    listeners: [(Listener, Protocols); N],
    speak: S,
) -> Result<(), CannotStart>
where
    S: Fn(TlsStream<TcpStream>, Arc<Connection>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    // Before signals are caught: should this have to wait, Ctrl+C ends it.
    let certificate = Arc::new(Current::new(read()?));
    let tickets = ring::Ticketer::new().map_err(io::Error::other)?;
    let signals = Signals::catch(Hangup::Notifies)?;
    let loopback = listeners.iter().all(|(listener, _)| listener.loopback);
    let connections = Connections::new(open_files::limit(), signals.stop, loopback);
    let mut loops = Vec::with_capacity(N);
    for (listener, protocols) in listeners {
        if loops.is_empty() {
            say(listener.first_line("https"));
        }
        let (certificate, tickets) = (certificate.clone(), tickets.clone());
        let tls = Tls::new(certificate, protocols, tickets, listener.url("https"))?;
        let tls = Arc::new(tls);
        let speak = speak.clone();
        let connect = move |stream, connection: Arc<Connection>| {
            let (tls, speak) = (tls.clone(), speak.clone());
            async move {
                match tls.accept(stream, &connection).await {
                    Some(Accepted::Tls(stream)) => speak(stream, connection).await,
                    Some(Accepted::Plain(stream)) => {
                        let to_https = |request| plain_http(request, &tls.url);
                        http1(stream, connection, to_https).await;
                    }
                    None => {}
                }
            }
        };
        loops.push(tokio::spawn(accept_loop(listener, connections.clone(), connect)));
    }
    tokio::spawn(read_again(read, certificate, signals.hangup));
    for accepting in loops {
        accepting.await.map_err(io::Error::other)?;
    }
    connections.finish().await;
    std::process::exit(0);
}

/// How a client begins.
#[expect(
    clippy::large_enum_variant,
    reason = "a box would be an allocation a connection"
)]
pub enum Accepted {
    /// With a handshake.
    Tls(TlsStream<TcpStream>),
    /// With `http://` on the port of `https://`.
    Plain(TcpStream),
}

/// What one listener offers its clients.
pub struct Tls {
    url: String,
    acceptor: TlsAcceptor,
    warned: Mutex<Option<Instant>>,
}

impl Tls {
    /// TLS 1.2 and 1.3 with a certificate, for clients that came to `url`. Who was here already
    /// may resume with one of the `tickets`, which saves a signature and a round trip.
    ///
    /// # Errors
    /// None that a certificate could cause.
    pub fn new(
        certificate: Arc<Current>,
        protocols: Protocols,
        tickets: Arc<dyn ProducesTickets>,
        url: String,
    ) -> Result<Self, CannotStart> {
        let mut config = config(certificate, protocols).map_err(io::Error::other)?;
        config.ticketer = tickets;
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Ok(Self { url, acceptor, warned: Mutex::default() })
    }

    /// The handshake, under its time limit. Nothing comes back where there was none: the client
    /// was too slow, or does not trust us.
    pub async fn accept(
        &self,
        stream: TcpStream,
        connection: &Arc<Connection>,
    ) -> Option<Accepted> {
        let deadline = Instant::now() + HANDSHAKE_TIMEOUT;
        let first = first_byte(&stream, &connection.stop);
        let first = timeout_at(deadline, first).await.ok()??;
        // The first byte of TLS is 22 (RFC 8446 section 5.1); a letter begins a method of HTTP.
        if first.is_ascii_alphabetic() {
            return Some(Accepted::Plain(stream));
        }
        let handshake = timeout_at(deadline, self.acceptor.accept(stream));
        let tls = handshake.await.ok()?.inspect_err(|error| self.explain(error)).ok();
        tls.map(Accepted::Tls)
    }

    /// A failed handshake is the client's affair, but for one reason that every learner meets:
    /// the client does not trust the certificate, and says so by an alert.
    fn explain(&self, error: &io::Error) {
        let cause = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
        let Some(rustls::Error::AlertReceived(alert)) = cause else { return };
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_none_or(|last| last.elapsed() > ONE_WARNING) {
            *warned = Some(Instant::now());
            warn(ko_en!(
                "클라이언트가 핸드셰이크를 거절했습니다({alert:?}). 인증서를 믿게 하려면: cargo run -p certs",
                "A client refuses the handshake ({alert:?}). To make it trust the certificate: cargo run -p certs"
            ));
        }
    }
}

/// Waits for the first byte without taking it; nothing if none comes while the server stops.
async fn first_byte(stream: &TcpStream, stop: &CancellationToken) -> Option<u8> {
    let mut byte = [0];
    tokio::select! {
        biased;
        peeked = stream.peek(&mut byte) => matches!(peeked, Ok(1)).then_some(byte[0]),
        () = async { stop.cancelled().await; sleep(FIRST_BYTE).await } => None,
    }
}

/// `http://` on the port of `https://`: 400, and where to go instead.
async fn plain_http(request: Request, url: &str) -> Result<Reply, Error> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let there = format!("{}{path}", url.trim_end_matches('/'));
    let line = ko_en!(
        "이 포트는 HTTPS만 받습니다. http가 아니라 https로 여세요: {there}",
        "This port speaks HTTPS alone. Open it by https, not by http: {there}"
    );
    let mut reply = reply::text(StatusCode::BAD_REQUEST, line);
    let close = hyper::header::HeaderValue::from_static("close");
    reply.headers_mut().insert(hyper::header::CONNECTION, close);
    Ok(reply)
}

fn config(
    certificate: Arc<Current>,
    protocols: Protocols,
) -> Result<ServerConfig, rustls::Error> {
    // TLS 1.2 and 1.3; rustls has nothing older.
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().into()).collect();
    Ok(config)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The certificate that new connections get.
#[derive(Debug)]
pub struct Current(RwLock<Arc<CertifiedKey>>);

impl Current {
    /// This certificate.
    pub fn new(certificate: Certificate) -> Self {
        Self(RwLock::new(certificate.0))
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// SIGHUP: the next handshake has the new certificate; connections that are open go on. One
/// that cannot be read changes nothing.
async fn read_again(read: ReadCertificate, current: Arc<Current>, hangup: Arc<Notify>) {
    loop {
        hangup.notified().await;
        let why = match tokio::task::spawn_blocking(read).await {
            Ok(Ok(Certificate(new))) => {
                *current.0.write().unwrap_or_else(PoisonError::into_inner) = new;
                warn(ko_en!(
                    "인증서를 다시 읽었습니다. 새 연결부터 씁니다.",
                    "The certificate was read again. New connections use it."
                ));
                continue;
            }
            Ok(Err(CannotStart(why))) => why,
            Err(panic) => panic.to_string(),
        };
        warn(ko_en!(
            "인증서를 바꾸지 않고 계속합니다. {why}",
            "Going on with the same certificate. {why}"
        ));
    }
}

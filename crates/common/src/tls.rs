//! HTTPS: certificates, the handshake, and HTTP/1.1 or HTTP/2 above it, whichever the client
//! and we agree on (ALPN, RFC 7301).

mod certificate;

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use hyper::header::{CONNECTION, HeaderValue};
use hyper::{Response, StatusCode};
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, ServerConfig};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};
use tokio_rustls::{TlsAcceptor, TlsStream};

use crate::connection::{self, Answer, FIRST_BYTE, Seat};
use crate::error::CannotStart;
use crate::listen::{Listener, program};
use crate::log::{say, warn};
use crate::serve::{Source, run};
use crate::signal::stop_signal;
use crate::{Error, Reply, Request, reply};

pub use certificate::{Certificate, first, is_expired};

/// How long a client may take over its handshake, from the first byte to the last.
pub const HANDSHAKE: Duration = Duration::from_secs(10);

/// Clients that do not trust our certificate often come in swarms; one line for each of these
/// spans is enough.
const QUIET: Duration = Duration::from_secs(10);

/// What a listener offers over ALPN, the best first.
pub type Protocols = &'static [&'static str];

/// HTTP/1.1 and nothing else.
pub const HTTP1: Protocols = &["http/1.1"];

/// HTTP/2, and HTTP/1.1 for clients that have no HTTP/2.
pub const HTTP2: Protocols = &["h2", "http/1.1"];

/// What `ALPN` says: `http/1.1` to do without HTTP/2, `h2` to do without HTTP/1.1; not set,
/// [`HTTP2`].
///
/// # Errors
/// `ALPN` names something else.
pub fn protocols_from_env() -> Result<Protocols, CannotStart> {
    let value = std::env::var_os("ALPN").unwrap_or_default();
    match value.to_str() {
        Some("" | "h2,http/1.1") => Ok(HTTP2),
        Some("http/1.1") => Ok(HTTP1),
        Some("h2") => Ok(&HTTP2[..1]),
        _ => Err(CannotStart(format!(
            "ALPN={value:?} 값이 잘못되었습니다: h2, http/1.1 가운데 하나이거나 비워 둡니다. \
             예: ALPN=http/1.1 cargo run -p {}",
            program()
        ))),
    }
}

/// Serves HTTPS with `handle` until SIGINT or SIGTERM; reads the certificate again at SIGHUP.
///
/// Each listener has its own protocols. The first line names the first listener. Beside the
/// request a handler is given the number of its connection, counted from 1 over all listeners.
///
/// # Errors
/// The certificate cannot be read, or is none.
pub async fn serve<H, F, B, const N: usize>(
    certificate: fn() -> Result<Certificate, CannotStart>,
    listeners: [(Listener, Protocols); N],
    handle: H,
) -> Result<(), CannotStart>
where
    H: Fn(Request, u64) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response<B>, Error>> + Send + 'static,
    B: Answer,
{
    const { assert!(N == 1 || N == 2, "one listener or two") };
    let current = Arc::new(Current(RwLock::new(certificate()?.0)));
    let mut sources = Vec::with_capacity(N);
    let mut doors = Vec::with_capacity(N);
    for (listener, protocols) in listeners {
        doors.push(Arc::new(Door {
            port: listener.port(),
            url: listener.url("https"),
            acceptor: acceptor(current.clone(), protocols).map_err(io::Error::other)?,
            warned: Mutex::new(None),
        }));
        sources.push(listener);
    }
    let stop = stop_signal()?;
    read_again_at_sighup(certificate, current)?;
    if let Some(first) = sources.first() {
        say(first.first_line("https"));
    }
    run(Sources(sources), stop, move |stream, seat| {
        // Which of the listeners was it? The one with the port that the client came to.
        let port = stream.local_addr().map_or(0, |address| address.port());
        let door = doors.iter().find(|door| door.port == port).cloned();
        let handle = handle.clone();
        async move {
            if let Some(door) = door {
                connect(stream, seat, &door, handle).await;
            }
        }
    })
    .await;
    Ok(())
}

/// Several listeners as one source, so that they share one limit and one stop.
struct Sources(Vec<Listener>);

impl Source for Sources {
    async fn accept(&mut self) -> io::Result<TcpStream> {
        match &self.0[..] {
            [one] => one.accept().await,
            [one, two] => tokio::select! {
                accepted = one.accept() => accepted,
                accepted = two.accept() => accepted,
            },
            _ => std::future::pending().await, // `serve` takes no other number
        }
    }
}

/// What one listener offers its clients.
struct Door {
    port: u16,
    url: String,
    acceptor: TlsAcceptor,
    warned: Mutex<Option<Instant>>,
}

/// One connection: handshake, then the protocol that came out of it.
async fn connect<H, F, B>(stream: TcpStream, seat: Arc<Seat>, door: &Door, handle: H)
where
    H: Fn(Request, u64) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response<B>, Error>> + Send + 'static,
    B: Answer,
{
    let deadline = Instant::now() + HANDSHAKE;
    let Some(first) = first_byte(&stream, &seat, deadline).await else { return };
    // The first byte of TLS is 22 (RFC 8446 section 5.1); a letter begins a method of HTTP.
    if first.is_ascii_alphabetic() {
        if seat.is_draining() {
            seat.drain(); // for `http1` to hear, too
        }
        let to_https = |request| plain_http(request, &door.url);
        return connection::http1(stream, seat, to_https).await;
    }
    let tls = match handshake(stream, &seat, &door.acceptor, deadline).await {
        Ok(Some(tls)) => tls,
        Ok(None) => return,
        Err(error) => return door.explain(&error),
    };
    if seat.is_draining() {
        seat.drain();
    }
    let number = seat.id;
    let handle = move |request| handle(request, number);
    // From what both sides said, never by a look at the first bytes: hyper's `auto` builder
    // does that, and waits for them without a limit.
    match tls.get_ref().1.alpn_protocol() {
        Some(b"h2") => connection::http2(tls, seat, handle).await,
        _ => connection::http1(tls, seat, handle).await,
    }
}

/// Waits for the first byte without taking it; nothing if none comes in time.
async fn first_byte(
    stream: &TcpStream,
    seat: &Seat,
    mut deadline: Instant,
) -> Option<u8> {
    let mut byte = [0];
    loop {
        tokio::select! {
            biased;
            peeked = stream.peek(&mut byte) => {
                return matches!(peeked, Ok(1)).then_some(byte[0]);
            }
            () = sleep_until(deadline) => return None,
            () = seat.told() => {
                if !seat.is_draining() {
                    return None;
                }
                deadline = deadline.min(Instant::now() + FIRST_BYTE);
            }
        }
    }
}

/// The handshake under its limit; nothing if it took too long, or the room was needed.
async fn handshake(
    stream: TcpStream,
    seat: &Seat,
    acceptor: &TlsAcceptor,
    deadline: Instant,
) -> io::Result<Option<TlsStream<TcpStream>>> {
    let mut accept = pin!(acceptor.accept(stream));
    loop {
        tokio::select! {
            biased;
            tls = accept.as_mut() => return tls.map(|tls| Some(tls.into())),
            () = sleep_until(deadline) => return Ok(None),
            () = seat.told() => {
                if !seat.is_draining() {
                    return Ok(None);
                }
            }
        }
    }
}

impl Door {
    /// A failed handshake is the client's affair, but for one reason that every learner meets.
    fn explain(&self, error: &io::Error) {
        use AlertDescription::{
            BadCertificate, CertificateExpired, CertificateUnknown, DecryptError,
            UnknownCA,
        };
        let cause = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
        let Some(rustls::Error::AlertReceived(
            // The last one: it believes an older authority of the same name.
            alert @ (UnknownCA | CertificateUnknown | BadCertificate | CertificateExpired
            | DecryptError),
        )) = cause
        else {
            return;
        };
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_none_or(|last| last.elapsed() > QUIET) {
            *warned = Some(Instant::now());
            warn(format_args!(
                "클라이언트가 이 서버의 인증서를 아직 믿지 않습니다({alert:?}). 믿게 하는 \
                 세 가지 방법: cargo run -p certs"
            ));
        }
    }
}

/// `http://` on the port of `https://`: 400, and where to go instead.
async fn plain_http(request: Request, url: &str) -> Result<Reply, Error> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let line = format!(
        "이 포트는 HTTPS만 받습니다. http가 아니라 https로 여세요: {}{path}",
        url.trim_end_matches('/')
    );
    let mut reply = reply::text(StatusCode::BAD_REQUEST, line);
    reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    Ok(reply)
}

fn acceptor(
    certificate: Arc<Current>,
    protocols: Protocols,
) -> Result<TlsAcceptor, rustls::Error> {
    // TLS 1.2 and 1.3; rustls has nothing older.
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certificate);
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().into()).collect();
    // Who was here already may resume, which saves a signature and a round trip.
    config.ticketer = ring::Ticketer::new()?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The certificate that new connections get.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// SIGHUP: the next handshake has the new certificate; connections that are open go on. One
/// that cannot be read changes nothing.
#[cfg(unix)]
fn read_again_at_sighup(
    certificate: fn() -> Result<Certificate, CannotStart>,
    current: Arc<Current>,
) -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hangups = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            match tokio::task::spawn_blocking(certificate).await {
                Ok(Ok(Certificate(new))) => {
                    *current.0.write().unwrap_or_else(PoisonError::into_inner) = new;
                    warn("인증서를 다시 읽었습니다. 새 연결부터 씁니다.");
                }
                Ok(Err(CannotStart(why))) => {
                    warn(format_args!("인증서를 바꾸지 않고 계속합니다. {why}"));
                }
                Err(panic) => {
                    warn(format_args!("인증서를 바꾸지 않고 계속합니다. {panic}"))
                }
            }
        }
    });
    Ok(())
}

#[cfg(not(unix))]
fn read_again_at_sighup(
    _: fn() -> Result<Certificate, CannotStart>,
    _: Arc<Current>,
) -> io::Result<()> {
    Ok(())
}

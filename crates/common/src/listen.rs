//! Where connections come from: `HOST` and `PORT`, the listening sockets, the first line.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::sleep;

use crate::error::CannotStart;
use crate::ko_en;
use crate::log::warn;
use crate::settings::{cannot_start, number, variable};

/// The pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections that the kernel accepts for us before we take them. Linux cuts it to
/// `net.core.somaxconn`, 4,096 unless changed.
const BACKLOG: u32 = 4096;

/// What may lie in the kernel for one client, in bytes (Linux doubles it for its bookkeeping).
///
/// Without a limit it grows to megabytes, and only when a third of that is free again does
/// the kernel say that the client has taken something: one that reads 30 KiB a second would
/// look dead for half a minute. With this one it has to take some 80 KiB in 30 s. The price is
/// speed over long distances: at 100 ms of round trip about 2 MB/s for one connection.
pub const SEND_BUFFER: u32 = 128 * 1024;

/// The listening sockets of one server: one for each address of `HOST`, all on one port.
pub struct Listener {
    /// The sockets themselves, for whoever accepts in another way.
    pub sockets: Vec<TcpListener>,
    /// The port that was taken: the real one, also after `PORT=0`.
    pub port: u16,
    /// Whether only this machine itself can connect.
    pub loopback: bool,
    host: String,
    failing: AtomicBool,
    /// How often a connection was waited for.
    accepts: AtomicUsize,
}

/// Opens the sockets that `HOST` and `PORT` ask for; without them `localhost` and `port`.
///
/// `PORT=0` takes a free port. Where 443 is forbidden and nobody asked for it, it is 8443.
///
/// # Errors
/// Arguments on the command line, a bad `HOST` or `PORT`, a port that is taken or forbidden.
pub async fn listen(port: u16) -> Result<Listener, CannotStart> {
    no_arguments()?;
    listen_beside("PORT", port).await
}

/// A second listener of the same server, on the port that the environment variable `name`
/// gives, or on `port`.
///
/// # Errors
/// As [`listen`], with that variable's name.
pub async fn listen_beside(name: &str, port: u16) -> Result<Listener, CannotStart> {
    let asked = number(name, 0..=u16::MAX, 8090)?;
    let (host, addresses) = host_from_env().await?;
    let mut port = asked.unwrap_or(port);
    let mut opened = Listener::open(&host, &addresses, port);
    let forbidden = |e: &io::Error| e.kind() == ErrorKind::PermissionDenied;
    if port < 1024 && asked.is_none() && opened.as_ref().is_err_and(forbidden) {
        let instead = port + 8000;
        warn(ko_en!(
            "{port}번 포트는 관리자만 열 수 있어 {instead}번 포트를 씁니다.",
            "Port {port} is kept for the administrator: using port {instead}."
        ));
        port = instead;
        opened = Listener::open(&host, &addresses, port);
    }
    opened.map_err(|error| cannot_bind(name, &host, port, &error))
}

impl Listener {
    fn open(host: &str, addresses: &[IpAddr], port: u16) -> io::Result<Self> {
        let sockets = bind_all(addresses, port)?;
        Ok(Self { host: host.into(), ..Self::inherited(sockets) })
    }

    /// Listening sockets that this process has from another one.
    pub fn inherited(sockets: Vec<TcpListener>) -> Self {
        let addresses = sockets.iter().filter_map(|socket| socket.local_addr().ok());
        let addresses: Vec<_> = addresses.collect();
        let (host, port) =
            addresses.first().map(|a| (a.ip().to_string(), a.port())).unwrap_or_default();
        let loopback = addresses.iter().all(|a| a.ip().to_canonical().is_loopback());
        let (failing, accepts) = (AtomicBool::new(false), AtomicUsize::new(0));
        Self { sockets, port, loopback, host, failing, accepts }
    }

    /// Waits for the next connection on any of the sockets. Dropping the future loses none.
    ///
    /// # Errors
    /// Whatever `accept(2)` says: a client that left again, or no file descriptor to spare.
    pub async fn accept(&self) -> io::Result<TcpStream> {
        // Another one is the first to be asked each time: a flood on one holds up no other.
        let first = self.accepts.fetch_add(1, Relaxed) % self.sockets.len().max(1);
        let (last, next) = self.sockets.split_at(first);
        let any = poll_fn(|cx| {
            let in_turn = next.iter().chain(last);
            let mut accepted = in_turn.map(|socket| socket.poll_accept(cx));
            accepted.find(Poll::is_ready).unwrap_or(Poll::Pending)
        });
        any.await.map(|(stream, _)| stream)
    }

    /// As [`Listener::accept`], but a failure is not the end: it is logged once, and after a
    /// pause (without it this would spin at full speed until somebody closes a file) it is
    /// tried again. Dropping the future loses nothing.
    pub async fn next(&self) -> TcpStream {
        loop {
            match self.accept().await {
                Ok(stream) => {
                    self.failing.store(false, Relaxed);
                    return stream;
                }
                // A client that has gone before it was accepted: the next one is no worse.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    if !self.failing.swap(true, Relaxed) {
                        warn(ko_en!(
                            "연결을 받지 못했습니다. 다시 시도합니다: {error}",
                            "Cannot accept a connection, trying again: {error}"
                        ));
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// `http://localhost:8082/`, with the `HOST` that was given; IPv6 in brackets (RFC 3986).
    pub fn url(&self, scheme: &str) -> String {
        let Self { host, port, .. } = self;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        format!("{scheme}://{host}:{port}/")
    }

    /// The first line on standard output. Tools and tests wait for it and take the URL from it.
    pub fn first_line(&self, scheme: &str) -> String {
        format!("{}번 포트에서 서버 대기 중입니다 {}", self.port, self.url(scheme))
    }
}

fn no_arguments() -> Result<(), CannotStart> {
    let Some(argument) = std::env::args_os().nth(1) else { return Ok(()) };
    let what = ko_en!(
        "{argument:?}: 이 서버는 인자를 받지 않습니다. 설정은 환경 변수로 합니다",
        "{argument:?}: this server takes no arguments, its settings are environment variables"
    );
    Err(cannot_start(what, "PORT", 8090))
}

/// `HOST` and its addresses. `localhost` is both loopback addresses, whatever the system's hosts
/// file says: nothing listens beyond loopback unless `HOST` asks for it.
async fn host_from_env() -> Result<(String, Vec<IpAddr>), CannotStart> {
    let host = variable("HOST").unwrap_or("localhost".into());
    // `[::1]` as in a URL is as good as `::1`.
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    if host.eq_ignore_ascii_case("localhost") {
        return Ok((host, vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]));
    }
    let found = tokio::net::lookup_host((&*host, 0)).await;
    let why = found.as_ref().err().map(|error| format!(": {error}")).unwrap_or_default();
    let mut addresses: Vec<_> = found.into_iter().flatten().map(|a| a.ip()).collect();
    addresses.dedup();
    addresses.truncate(2);
    if addresses.is_empty() {
        let what = ko_en!(
            "HOST={host:?} 주소를 찾을 수 없습니다{why}",
            "There is no address for HOST={host:?}{why}"
        );
        return Err(cannot_start(what, "HOST", "localhost"));
    }
    Ok((host, addresses))
}

/// Binds every address to one port. With port 0 the first address chooses it; where it is
/// taken on the second address, both try again with another.
fn bind_all(addresses: &[IpAddr], port: u16) -> io::Result<Vec<TcpListener>> {
    let mut tries = if port == 0 { 20 } else { 1 };
    loop {
        let bound = bind_once(addresses, port);
        tries -= 1;
        if tries == 0 || !bound.as_ref().is_err_and(is_taken) {
            return bound;
        }
    }
}

fn bind_once(addresses: &[IpAddr], mut port: u16) -> io::Result<Vec<TcpListener>> {
    let mut sockets: Vec<TcpListener> = Vec::with_capacity(addresses.len());
    for address in addresses {
        match bind(SocketAddr::new(*address, port)) {
            Ok(socket) => {
                port = socket.local_addr()?.port();
                sockets.push(socket);
            }
            Err(error) if sockets.is_empty() || is_taken(&error) => return Err(error),
            Err(_) => {} // a machine without IPv6 still has 127.0.0.1
        }
    }
    Ok(sockets)
}

/// A listening socket. Those that it accepts have its options.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket =
        if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A server that is started again takes its port back at once (on Windows that means
    // something else).
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    // Without this a small write waits up to 40 ms for the ACK of the one before (Nagle).
    socket.set_nodelay(true)?;
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn is_taken(error: &io::Error) -> bool {
    error.kind() == ErrorKind::AddrInUse
}

fn cannot_bind(name: &str, host: &str, port: u16, error: &io::Error) -> CannotStart {
    let in_use = ko_en!("{port}번 포트는 이미 쓰이고 있습니다", "Port {port} is in use");
    let denied = ko_en!("{port}번 포트를 열 권한이 없습니다", "You may not open {port}");
    let other = ko_en!(
        "HOST={host}, {name}={port}에서 연결을 받을 수 없습니다: {error}",
        "Cannot listen at HOST={host}, {name}={port}: {error}"
    );
    match error.kind() {
        ErrorKind::AddrInUse => cannot_start(in_use, name, 0), // any free one
        ErrorKind::PermissionDenied if port == 443 => cannot_start(denied, name, 8443),
        ErrorKind::PermissionDenied => cannot_start(denied, name, 8090),
        _ => cannot_start(other, "HOST", "localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(host: &str) -> String {
        Listener { host: host.into(), port: 8082, ..Listener::inherited(Vec::new()) }
            .url("http")
    }

    #[tokio::test]
    async fn sockets_take_turns() {
        let one = || bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = Listener::inherited(vec![one(), one(), one()]);
        let ports: Vec<u16> =
            listener.sockets.iter().map(|s| s.local_addr().unwrap().port()).collect();
        let connect =
            |port: &u16| std::net::TcpStream::connect(("127.0.0.1", *port)).unwrap();
        let _clients: Vec<_> = ports.iter().chain(&ports).map(connect).collect();
        sleep(Duration::from_millis(50)).await;
        let mut taken = Vec::new();
        for _ in 0..6 {
            taken.push(listener.accept().await.unwrap().local_addr().unwrap().port());
        }
        for round in taken.chunks_mut(3) {
            round.sort_unstable();
        }
        assert_eq!(taken[..3], taken[3..], "{taken:?}, of {ports:?}");
    }

    #[test]
    fn a_url_names_the_host_and_puts_ipv6_in_brackets() {
        assert_eq!(url("localhost"), "http://localhost:8082/");
        assert_eq!(url("::1"), "http://[::1]:8082/");
    }
}

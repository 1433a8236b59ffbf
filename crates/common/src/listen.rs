//! Where connections come from: `HOST` and `PORT`, the listening sockets, the first line.

use std::env;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::{TcpListener, TcpStream};

use crate::error::CannotStart;
use crate::log::warn;

/// The listening sockets of one server: one for each address of `HOST`, all on one port.
pub struct Listener {
    sockets: Vec<TcpListener>,
    host: String,
    port: u16,
}

/// Opens the sockets that `HOST` and `PORT` ask for; without them `localhost` and `port`.
///
/// `PORT=0` takes a free port. Where 443 is forbidden and nobody asked for it, it is 8443.
///
/// # Errors
/// Arguments on the command line, a bad `HOST` or `PORT`, a port that is taken or forbidden.
pub async fn listen(port: u16) -> Result<Listener, CannotStart> {
    no_arguments()?;
    let asked = port_from_env("PORT")?;
    open("PORT", asked.unwrap_or(port), asked.is_none()).await
}

/// A second listener of the same server, on the port that the environment variable `name`
/// gives, or on `port`.
///
/// # Errors
/// As [`listen`], with that variable's name.
pub async fn listen_beside(name: &str, port: u16) -> Result<Listener, CannotStart> {
    open(name, port_from_env(name)?.unwrap_or(port), false).await
}

/// Opens `port`, which the variable `name` may have given. With `may_move`, 8443 stands in for
/// a 443 that the system keeps for its administrator.
async fn open(name: &str, port: u16, may_move: bool) -> Result<Listener, CannotStart> {
    let host = host_from_env();
    let addresses = resolve(&host).await?;
    let sockets = match bind_all(&addresses, port).await {
        Err(error)
            if error.kind() == ErrorKind::PermissionDenied && port == 443 && may_move =>
        {
            warn("443번 포트는 관리자만 열 수 있어 8443번 포트를 씁니다.");
            return Box::pin(open(name, 8443, false)).await;
        }
        bound => bound.map_err(|error| cannot_bind(name, &host, port, &error))?,
    };
    let address = sockets[0].local_addr();
    let port = address.map_err(|e| cannot_bind(name, &host, port, &e))?.port();
    Ok(Listener { sockets, host, port })
}

impl Listener {
    /// Waits for the next connection on any of the sockets. Dropping the future loses none.
    ///
    /// # Errors
    /// Whatever `accept(2)` says: a client that left again, or no file descriptor to spare.
    pub async fn accept(&self) -> io::Result<TcpStream> {
        accept_any(&self.sockets).await
    }

    /// The port that was taken: the real one, also after `PORT=0`.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The listening sockets themselves, for whoever accepts in another way.
    pub fn into_sockets(self) -> Vec<TcpListener> {
        self.sockets
    }

    /// `http://localhost:8082/`, with the `HOST` that was given; IPv6 in brackets (RFC 3986).
    pub fn url(&self, scheme: &str) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') {
            format!("{scheme}://[{host}]:{port}/")
        } else {
            format!("{scheme}://{host}:{port}/")
        }
    }

    /// The first line on standard output. Tools and tests wait for it and take the URL from it.
    pub fn first_line(&self, scheme: &str) -> String {
        format!("{}번 포트에서 서버 대기 중입니다 {}", self.port, self.url(scheme))
    }
}

/// Waits for the next connection on any of these sockets. Dropping the future loses none.
///
/// # Errors
/// See [`Listener::accept`].
pub async fn accept_any(sockets: &[TcpListener]) -> io::Result<TcpStream> {
    let (stream, _) = match sockets {
        [one] => one.accept().await?,
        [one, two, ..] => tokio::select! {
            accepted = one.accept() => accepted?,
            accepted = two.accept() => accepted?,
        },
        [] => return std::future::pending().await,
    };
    // Without this a small write waits up to 40 ms for the ACK of the one before (Nagle).
    // Where that fails the client is gone already, which its task will see.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// Reads a port from an environment variable; `None` when it is not set, or empty.
///
/// # Errors
/// Not a number from 0 to 65535.
pub fn port_from_env(name: &str) -> Result<Option<u16>, CannotStart> {
    let Some(value) = env::var_os(name).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    // `+80` is a number to Rust, but no port to anybody else.
    let digits = value.to_str().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    digits.and_then(|text| text.parse().ok()).map(Some).ok_or_else(|| {
        CannotStart(format!(
            "{name}={value:?} 값이 잘못되었습니다: 0부터 65535까지의 숫자여야 합니다. \
             예: {name}=8090 cargo run -p {}",
            program()
        ))
    })
}

/// The program's own name, for the commands in its messages.
pub fn program() -> String {
    let path = env::current_exe().unwrap_or_default();
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn no_arguments() -> Result<(), CannotStart> {
    match env::args_os().nth(1) {
        None => Ok(()),
        Some(argument) => Err(CannotStart(format!(
            "{argument:?}: 이 서버는 인자를 받지 않습니다. 설정은 환경 변수로 합니다. \
             예: PORT=8090 cargo run -p {}",
            program()
        ))),
    }
}

fn host_from_env() -> String {
    let host = env::var_os("HOST").filter(|host| !host.is_empty());
    let host = host.map_or("localhost".into(), |h| h.to_string_lossy().into_owned());
    // `[::1]` as in a URL is as good as `::1`.
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.to_owned(),
        None => host,
    }
}

/// `localhost` is both loopback addresses, whatever the system's hosts file says: nothing
/// listens beyond loopback unless `HOST` asks for it.
async fn resolve(host: &str) -> Result<Vec<IpAddr>, CannotStart> {
    if host.eq_ignore_ascii_case("localhost") {
        return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
    }
    let unknown = |why: String| {
        CannotStart(format!(
            "HOST={host:?} 주소를 찾을 수 없습니다: {why}. 이 컴퓨터에서만 쓰려면: \
             HOST=localhost cargo run -p {}",
            program()
        ))
    };
    let found =
        tokio::net::lookup_host((host, 0)).await.map_err(|e| unknown(e.to_string()))?;
    let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    addresses.dedup();
    addresses.truncate(2);
    if addresses.is_empty() {
        Err(unknown("주소 없음".into()))
    } else {
        Ok(addresses)
    }
}

/// Binds every address to one port. With port 0 the first address chooses it; where it is
/// taken on the second address, both try again with another.
async fn bind_all(addresses: &[IpAddr], port: u16) -> io::Result<Vec<TcpListener>> {
    let mut tries = if port == 0 { 20 } else { 1 };
    loop {
        tries -= 1;
        match bind_once(addresses, port).await {
            Err(error) if error.kind() == ErrorKind::AddrInUse && tries > 0 => continue,
            bound => return bound,
        }
    }
}

async fn bind_once(addresses: &[IpAddr], port: u16) -> io::Result<Vec<TcpListener>> {
    let mut sockets: Vec<TcpListener> = Vec::with_capacity(addresses.len());
    for address in addresses {
        let port =
            sockets.first().map_or(Ok(port), |s| s.local_addr().map(|a| a.port()))?;
        match TcpListener::bind(SocketAddr::new(*address, port)).await {
            Ok(socket) => sockets.push(socket),
            // A machine without IPv6 still has 127.0.0.1.
            Err(error) if !sockets.is_empty() && is_absent(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sockets)
}

fn is_absent(error: &io::Error) -> bool {
    const EAFNOSUPPORT: i32 = match () {
        () if cfg!(windows) => 10047,
        () if cfg!(target_os = "linux") => 97,
        () => 47,
    };
    error.kind() == ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(EAFNOSUPPORT)
}

fn cannot_bind(name: &str, host: &str, port: u16, error: &io::Error) -> CannotStart {
    let (lesson, other) = (program(), if port == 443 { 8443 } else { 8090 });
    CannotStart(match error.kind() {
        ErrorKind::AddrInUse => format!(
            "{port}번 포트는 다른 프로그램이 이미 쓰고 있습니다. 비어 있는 포트로 실행: \
             {name}=0 cargo run -p {lesson}"
        ),
        ErrorKind::PermissionDenied => format!(
            "{port}번 포트를 열 권한이 없습니다. 다른 포트로 실행: \
             {name}={other} cargo run -p {lesson}"
        ),
        _ => format!(
            "HOST={host}, {name}={port}에서 기다릴 수 없습니다: {error}. \
             이 컴퓨터에서만 쓰려면: HOST=localhost cargo run -p {lesson}"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(host: &str) -> String {
        Listener { sockets: Vec::new(), host: host.into(), port: 8082 }.url("http")
    }

    #[test]
    fn a_url_names_the_host_and_puts_ipv6_in_brackets() {
        assert_eq!(url("localhost"), "http://localhost:8082/");
        assert_eq!(url("::1"), "http://[::1]:8082/");
    }
}

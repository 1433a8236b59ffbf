//! What systemd gives a service and wants to hear of it: listening sockets that outlive the
//! process (`LISTEN_FDS`), and its state (`NOTIFY_SOCKET`). Elsewhere all of it does nothing.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use common::error::CannotStart;
use common::listen::{Listener, listen_beside};
use common::settings::variable;
use listenfd::ListenFd;
use sd_notify::{NotifyState, notify};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::admin;

const NAMES: [&str; 3] = ["https", "http", "admin"];

/// The listeners of the site, of plain HTTP and for an operator: sockets that systemd has
/// opened, by their `FileDescriptorName` (`https`, `http`, `admin`; without names they are
/// meant in this order), or those of the settings.
///
/// # Errors
/// A port is taken or forbidden, or what was handed over is no listening TCP socket.
pub async fn listeners(admin: SocketAddr) -> Result<[Listener; 3], CannotStart> {
    let [https, http, operator] = inherited()?;
    Ok([
        match https {
            Some(https) => https,
            None => listen_beside("PORT", 443).await?,
        },
        match http {
            Some(http) => http,
            None => listen_beside("HTTP_PORT", 80).await?,
        },
        match operator {
            Some(operator) => operator,
            None => admin::listen(admin).await?,
        },
    ])
}

/// What systemd has opened; each may have several sockets.
fn inherited() -> io::Result<[Option<Listener>; 3]> {
    let names = variable("LISTEN_FDNAMES").unwrap_or_default();
    // A socket with an unknown name never becomes the operator's.
    let most = if names.is_empty() { 2 } else { 1 };
    let mut names = names.split(':');
    let mut open = ListenFd::from_env();
    let mut sockets: [Vec<TcpListener>; 3] = Default::default();
    for index in 0..open.len() {
        let Some(socket) = open.take_tcp_listener(index)? else { continue };
        socket.set_nonblocking(true)?;
        let named = names.next().and_then(|name| NAMES.iter().position(|n| *n == name));
        sockets[named.unwrap_or(index.min(most))].push(TcpListener::from_std(socket)?);
    }
    Ok(sockets.map(|these| (!these.is_empty()).then(|| Listener::inherited(these))))
}

/// `READY=1`: clients are served; also at the end of a roll.
pub fn ready() {
    let _ = notify(false, &[NotifyState::Ready]);
}

/// `RELOADING=1`: a roll has begun.
pub fn reloading() {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        let _ = notify(false, &[NotifyState::Reloading, now]);
    }
}

/// `STOPPING=1`, when a signal to stop has come.
pub async fn stopping(draining: CancellationToken) {
    draining.cancelled().await;
    let _ = notify(false, &[NotifyState::Stopping]);
}

/// How often the master gives a sign of life; it looks after its workers as often.
pub const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// `WATCHDOG=1`: the master does not hang.
pub fn alive() {
    let _ = notify(false, &[NotifyState::Watchdog]);
}

//! What systemd gives a service and wants to hear of it: listening sockets that outlive the
//! process (`LISTEN_FDS`), and its state (`NOTIFY_SOCKET`). Elsewhere all of it does nothing.

use std::io;
use std::time::Duration;

use common::listen::Listener;
use common::settings::variable;
use listenfd::ListenFd;
use sd_notify::{NotifyState, notify};
use tokio::net::TcpListener;
use tokio::time::sleep;

/// The listeners of `production.socket`, by their `FileDescriptorName`: `https`, `http`,
/// `admin`. Without names they are meant in this order.
pub struct Sockets(Vec<(String, TcpListener)>);

const NAMES: [&str; 3] = ["https", "http", "admin"];

impl Sockets {
    /// Takes over what systemd has opened.
    ///
    /// # Errors
    /// What it has handed over is no listening TCP socket.
    pub fn inherited() -> io::Result<Self> {
        let names = variable("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':').map(str::to_owned);
        let mut open = ListenFd::from_env();
        let mut sockets = Vec::new();
        for index in 0..open.len() {
            let Some(socket) = open.take_tcp_listener(index)? else { continue };
            socket.set_nonblocking(true)?;
            let name = names.next().filter(|name| NAMES.contains(&&**name));
            let name = name.unwrap_or_else(|| NAMES[index.min(2)].into());
            sockets.push((name, TcpListener::from_std(socket)?));
        }
        Ok(Self(sockets))
    }

    /// The listener of this name, if there is one; it may have several sockets.
    pub fn take(&mut self, name: &str) -> Option<Listener> {
        let sockets = self.0.extract_if(.., |(other, _)| other == name);
        let sockets: Vec<_> = sockets.map(|(_, socket)| socket).collect();
        (!sockets.is_empty()).then(|| Listener::inherited(sockets))
    }
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

/// `STOPPING=1`: a signal to stop has come.
pub fn stopping() {
    let _ = notify(false, &[NotifyState::Stopping]);
}

/// Waits until it is time for a sign of life, and gives it. Without a watchdog it waits as
/// long: the master looks after its workers then.
pub async fn watchdog() {
    sleep(Duration::from_secs(1)).await;
    let _ = notify(false, &[NotifyState::Watchdog]);
}

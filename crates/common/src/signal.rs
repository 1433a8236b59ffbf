//! The signals that ask a server to stop: SIGINT (Ctrl+C) and SIGTERM (`kill`).

use std::future::Future;
use std::io;

use crate::log::{self, warn};

/// A future that is done at the first SIGINT (Ctrl+C) or SIGTERM; a second signal ends the
/// process at once. The signals are caught from this call on, not from the first poll.
///
/// # Errors
/// The system refuses to tell us of signals.
pub fn stop_signal() -> io::Result<impl Future<Output = ()> + Send> {
    let mut signals = Signals::new()?;
    Ok(async move {
        signals.next().await;
        tokio::spawn(async move {
            signals.next().await;
            warn("두 번째 신호를 받아 바로 끝냅니다.");
            log::flush();
            std::process::exit(1);
        });
    })
}

#[cfg(unix)]
struct Signals(tokio::signal::unix::Signal, tokio::signal::unix::Signal);

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self(signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?))
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
        }
    }
}

#[cfg(windows)]
struct Signals(tokio::signal::windows::CtrlC);

#[cfg(windows)]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self(tokio::signal::windows::ctrl_c()?))
    }

    async fn next(&mut self) {
        self.0.recv().await;
    }
}

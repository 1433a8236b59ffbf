//! Graceful shutdown: the signals that ask for it, and how long it may take.
//!
//! That a server is to stop is a state and not an event. Whoever has the token can wait for it
//! or look at it, early or late, and the answer never changes back.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::connection::SHUTDOWN_LIMIT;
#[cfg(unix)]
use crate::guard::terminal;
use crate::ko_en;
use crate::log::warn;

/// When the process ends although the server has not stopped within [`SHUTDOWN_LIMIT`]: its
/// threads hang in calls that do not return.
const LAST_RESORT: Duration = SHUTDOWN_LIMIT.saturating_add(Duration::from_secs(2));

/// How long whoever waits for [`Signals::at_once`] has before the process ends.
const AT_ONCE: Duration = Duration::from_millis(50);

/// What SIGHUP means to a program. Whatever it means, when the terminal that the program was
/// started from is gone, SIGHUP stops the program: nobody is left who could press Ctrl+C.
#[derive(Clone, Copy, PartialEq)]
pub enum Hangup {
    /// The same as SIGTERM.
    Stops,
    /// [`Signals::hangup`] is notified.
    Notifies,
}

/// What signals have asked of this process.
#[derive(Clone, Default)]
pub struct Signals {
    /// A signal to stop has come. [`Signals::stop`] follows, with [`Signals::catch`] at once.
    pub draining: CancellationToken,
    /// Stop: SIGINT (Ctrl+C), SIGTERM (`kill`), or the terminal is gone.
    pub stop: CancellationToken,
    /// Stop at once: a second signal. The process ends 50 ms later with status 1.
    pub at_once: CancellationToken,
    /// SIGHUP, where it is [`Hangup::Notifies`].
    pub hangup: Arc<Notify>,
}

impl Signals {
    /// Catches signals from now on.
    ///
    /// A thread of its own does it: whatever else in this process hangs, a signal is heard, and
    /// [`Signals::stop`] has an end.
    ///
    /// # Errors
    /// The system refuses a thread, or to tell us of signals.
    pub fn catch(hangup: Hangup) -> io::Result<Self> {
        Self::catch_and_wait(hangup, Duration::ZERO)
    }

    /// As [`Signals::catch`], but the server is to stop `delay` after the signal only: until
    /// then a load balancer may find out, and send nobody new.
    ///
    /// # Errors
    /// As [`Signals::catch`].
    pub fn catch_and_wait(hangup: Hangup, delay: Duration) -> io::Result<Self> {
        let signals = Self::default();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let caught = {
            let _in_runtime = runtime.enter();
            Caught::new(hangup)?
        };
        let watch = signals.clone().watch(caught, delay);
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(move || runtime.block_on(watch))?;
        Ok(signals)
    }

    async fn watch(self, mut caught: Caught, delay: Duration) {
        while !caught.next_is_stop().await {
            self.hangup.notify_one();
        }
        self.draining.cancel();
        let second = async { while !caught.next_is_stop().await {} };
        let stop = async {
            sleep(delay).await;
            self.stop.cancel();
            sleep(LAST_RESORT).await;
        };
        tokio::select! {
            () = second => {
                warn(ko_en!("두 번째 시그널: 바로 끝냅니다.", "A second signal: ending at once."));
            }
            () = stop => std::process::exit(0),
        }
        self.stop.cancel();
        self.at_once.cancel();
        sleep(AT_ONCE).await;
        std::process::exit(1);
    }
}

#[cfg(unix)]
struct Caught {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    /// None under `nohup`, which has SIGHUP ignored: it stays so.
    hangup: Option<tokio::signal::unix::Signal>,
    means: Hangup,
    had_terminal: bool,
}

#[cfg(unix)]
impl Caught {
    fn new(means: Hangup) -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let hangup = (!terminal::is_nohup()).then(|| signal(SignalKind::hangup()));
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: hangup.transpose()?,
            means,
            had_terminal: terminal::is_there(),
        })
    }

    async fn next_is_stop(&mut self) -> bool {
        let is_nohup = self.hangup.is_none();
        tokio::select! {
            _ = self.interrupt.recv() => true,
            _ = self.terminate.recv() => true,
            Some(_) = async { self.hangup.as_mut()?.recv().await }, if !is_nohup => {
                let is_gone = self.had_terminal && !terminal::is_there();
                self.means == Hangup::Stops || is_gone
            }
        }
    }
}

#[cfg(not(unix))]
struct Caught;

#[cfg(not(unix))]
impl Caught {
    fn new(_: Hangup) -> io::Result<Self> {
        Ok(Self)
    }

    async fn next_is_stop(&mut self) -> bool {
        tokio::signal::ctrl_c().await.is_ok()
    }
}

//! What the handlers of a worker tell its master, and ask of it; `process.send` in Node.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use common::wire;
use serde::Serialize;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::channel::Sender;
use crate::message::ToMaster;

/// How often a worker tells its master how many requests it has answered.
const REPORT: Duration = Duration::from_millis(100);

/// How long the master may take over an answer.
const ANSWER: Duration = Duration::from_secs(1);

/// The master, as its worker sees it.
pub struct MasterHandle {
    sender: Sender,
    /// Connections of this worker are to end.
    pub(crate) stop: CancellationToken,
    requests: AtomicU64,
    answered: Notify,
    crashing: AtomicBool,
    /// The status to exit with, once this worker leaves.
    pub(crate) exit_status: OnceLock<i32>,
    /// What the master said last of all workers.
    pub(crate) status: watch::Sender<String>,
}

impl MasterHandle {
    pub(crate) fn new(sender: Sender) -> Self {
        Self {
            sender,
            stop: CancellationToken::new(),
            requests: AtomicU64::new(0),
            answered: Notify::new(),
            crashing: AtomicBool::new(false),
            exit_status: OnceLock::new(),
            status: watch::Sender::default(),
        }
    }

    /// A master that is gone, or has not read for so long that there is no room for a message,
    /// is none: the end of the channel is the end of this worker.
    pub(crate) fn tell(&self, message: ToMaster) {
        show('>', &message);
        if self.sender.send(&message, None).is_err() {
            self.sender.break_off();
        }
    }

    /// Counts a request.
    pub fn count(&self) {
        self.requests.fetch_add(1, Relaxed);
        self.answered.notify_one();
    }

    /// Ends this worker with status 1 after `delay`; only the first call counts.
    /// `setTimeout(() => process.exit(1), delay)` in Node, but that nobody is cut off.
    pub fn crash_after(self: &Arc<Self>, delay: Duration) {
        if !self.crashing.swap(true, Relaxed) {
            let this = self.clone();
            tokio::spawn(async move {
                sleep(delay).await;
                this.leave(1);
            });
        }
    }

    /// Graceful shutdown of this worker alone. The master answers with the end of the channel,
    /// behind all that it has handed to us: so nothing is lost on the way.
    pub(crate) fn leave(&self, status: i32) {
        if self.exit_status.set(status).is_ok() {
            self.tell(ToMaster::Leaving);
            self.stop.cancel();
        }
    }

    /// How all workers are, as JSON; a worker that is leaving tells what it heard last. Nothing
    /// when the master has no time for us.
    pub async fn status(&self) -> Option<String> {
        let mut status = self.status.subscribe();
        if !self.stop.is_cancelled() {
            self.tell(ToMaster::Status);
            timeout(ANSWER, status.changed()).await.ok()?.ok()?;
        }
        let json = status.borrow().clone();
        (!json.is_empty()).then_some(json)
    }

    /// Says how this worker is, as `Event::Report` for the master's `main`. A worker that has
    /// done so once does it again every second: one that falls silent for 5 s is killed.
    pub fn report(&self, report: String) {
        self.tell(ToMaster::Report(report));
    }

    /// Whether connections of this worker are to end.
    pub fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Asks the master to have a worker end with status 1.
    pub fn crash(&self, pid: u32) {
        self.tell(ToMaster::Crash(pid));
    }
}

/// Tells the master how many requests there were, now and then.
pub(crate) async fn report(master: Arc<MasterHandle>) {
    loop {
        master.answered.notified().await;
        master.tell(ToMaster::Requests(master.requests.load(Relaxed)));
        sleep(REPORT).await;
    }
}

/// With `WIRE=1`: what a worker says to its master (`>`), and what it hears (`<`).
pub(crate) fn show(direction: char, message: &impl Serialize) {
    if wire::is_on() {
        let json = serde_json::to_string(message).unwrap_or_default();
        wire::line("", direction, json);
    }
}

//! Time limits of the master, and what is killed when they are over. No lesson needs them; a
//! cluster in production does.

use std::time::Duration;

use common::serve::LAST_ACCEPTS;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::Instant;

use super::{Master, Phase, State, Worker};

/// One that leaves them there for this long hangs, and is killed. A descriptor that was sent
/// cannot be called back, so nothing less lets another worker serve that client.
const HANGS: Duration = Duration::from_secs(5);

/// One that has been saying how it is, and does not say it for this long, hangs too.
const SILENT: Duration = Duration::from_secs(5);

/// How long a client waits for a worker where none can take it.
const WAIT_LIMIT: Duration = Duration::from_secs(10);

/// How long the workers may take to tell their connections that the server stops.
const TELL_LIMIT: Duration = Duration::from_secs(1);

impl Master {
    /// Does whatever is due.
    pub(super) fn look_at_the_clock(&mut self) {
        let now = Instant::now();
        if let Phase::Telling(since) = self.phase {
            let told = |worker: &Worker| worker.told || worker.state != State::Ready;
            let all_told = self.workers.values().all(told) && now >= since + LAST_ACCEPTS;
            if all_told || now >= since + TELL_LIMIT {
                self.finish();
            }
        }
        // Where the master itself did not look for a while (stopped, or a machine that is too
        // busy), what workers have said meanwhile is not heard yet.
        if std::mem::replace(&mut self.looked, now) + SILENT / 2 <= now {
            let reported = self.workers.values_mut().map(|worker| &mut worker.reported);
            reported.flatten().for_each(|reported| *reported = now);
        }
        for (pid, worker) in &self.workers {
            let too_late = worker.limit.is_some_and(|limit| now >= limit);
            let is_silent = worker.reported.is_some_and(|at| at + SILENT <= now);
            if too_late || is_silent || worker.has_left_untaken_for(HANGS) {
                kill_process(*pid);
            }
        }
        while self.waiting.front().is_some_and(|(since, _)| now >= *since + WAIT_LIMIT) {
            self.waiting.pop_front();
        }
        for slot in 0..self.slots.len() {
            if self.slots[slot].fork_at.is_some_and(|at| now >= at) {
                self.start(slot);
            }
        }
    }

    /// Whether anything has a time limit just now.
    pub(super) fn waits_for_the_clock(&self) -> bool {
        let waits = |w: &Worker| w.limit.is_some() || !w.untaken.is_empty();
        !self.waiting.is_empty()
            || matches!(self.phase, Phase::Telling(_))
            || self.slots.iter().any(|slot| slot.fork_at.is_some())
            || self.workers.values().any(waits)
    }

    /// Whether one worker more would be too many: twice as many as there are slots, and one, are
    /// the limit. Where those that leave take their time, the oldest of them ends at once.
    pub(super) fn too_many(&self) -> bool {
        let too_many = self.workers.len() > 2 * self.slots.len();
        let leaving = self.workers.iter().filter(|(_, w)| w.state == State::Leaving);
        let oldest = leaving.min_by_key(|(_, worker)| worker.born);
        oldest.filter(|_| too_many).inspect(|(pid, _)| kill_process(**pid));
        too_many
    }
}

impl Worker {
    pub(super) fn has_left_untaken_for(&self, limit: Duration) -> bool {
        self.untaken.front().is_some_and(|(since, _)| since.elapsed() >= limit)
    }
}

/// A process that has not been waited for keeps its number, so this hits nobody else.
pub(super) fn kill_process(pid: u32) {
    if let Ok(pid) = i32::try_from(pid) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

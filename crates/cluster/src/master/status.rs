//! What the live page shows of the cluster.

use std::fmt;
use std::os::unix::process::ExitStatusExt;

use nix::sys::signal::Signal;
use serde_json::json;

use super::{Exit, Master, PASSED_OVER, State};
use crate::channel::MAX_MESSAGE;

/// Workers and exits that one status shows, so that it stays below [`MAX_MESSAGE`].
const SHOWN: usize = MAX_MESSAGE / 256;

impl Master {
    /// For the page that shows the cluster.
    pub(super) fn status(&self) -> String {
        let next = self.next_worker().filter(|_| self.shared.is_empty());
        let mut workers: Vec<_> = self.workers.iter().collect();
        workers.sort_by_key(|(_, worker)| (worker.slot, worker.born));
        let shown = workers.iter().take(SHOWN).map(|(pid, worker)| {
            json!({
                "slot": worker.slot + 1,
                "pid": pid,
                "age_ms": worker.born.elapsed().as_millis() as u64,
                "requests": worker.requests,
                "waiting": worker.untaken.len(),
                "state": match worker.state {
                    State::Starting => "starting",
                    State::Ready if worker.has_left_untaken_for(PASSED_OVER) => "stuck",
                    State::Ready => "ready",
                    State::Leaving => "leaving",
                },
                "restarts": self.slots[worker.slot].starts.saturating_sub(1),
            })
        });
        let exits = self.slots.iter().take(SHOWN).filter_map(|slot| slot.exit.as_ref());
        let exits = exits.map(|exit| {
            let (code, signal) = exit.code_and_signal();
            json!({ "pid": exit.0, "code": code, "signal": signal })
        });
        let crash_after = self.settings.crash_after.map(|limit| limit.as_millis() as u64);
        json!({
            "master": std::process::id(),
            "slots": self.slots.len().min(SHOWN),
            "crash_after_ms": crash_after,
            "shared": !self.shared.is_empty(),
            "next": next.map(|(_, pid)| pid),
            "workers": shown.collect::<Vec<_>>(),
            "more": workers.len().saturating_sub(SHOWN),
            "exits": exits.collect::<Vec<_>>(),
        })
        .to_string()
    }
}

impl Exit {
    /// As Node tells them: one of the two is there.
    fn code_and_signal(&self) -> (Option<i32>, Option<&'static str>) {
        let name = |number| Signal::try_from(number).map_or("?", Signal::as_str);
        (self.1.code(), self.1.signal().map(name))
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (code, signal) = self.code_and_signal();
        let code = code.map_or("null".into(), |code| code.to_string());
        let (pid, signal) = (self.0, signal.unwrap_or("null"));
        write!(f, "{pid}번 워커가 종료되었습니다.\ncode {code} signal {signal}")
    }
}

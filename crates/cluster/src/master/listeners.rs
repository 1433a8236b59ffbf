//! A new master, over listeners that are open already, and the sockets that its workers share.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;

use common::error::CannotStart;
use common::guard::open_files;
use common::listen::Listener;
use common::stop::Signals;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::{Instant, interval};

use super::news::report_signals;
use super::{Master, Phase, Slot, TICK};
use crate::{Schedule, Settings};

impl Master {
    /// A master over these listeners; the first line names the first of them. With
    /// [`Schedule::RoundRobin`] there is only one.
    ///
    /// # Errors
    /// The system refuses to hand out a listening socket.
    pub fn over(
        mut listeners: Vec<Listener>,
        scheme: &str,
        signals: Signals,
        settings: &Settings,
    ) -> Result<Self, CannotStart> {
        let first_line = listeners.first().map(|first| first.first_line(scheme));
        let loopback = listeners.iter().all(|listener| listener.loopback);
        let (listener, shared) = match settings.schedule {
            Schedule::RoundRobin => (listeners.pop(), Vec::new()),
            Schedule::Shared => (None, into_fds(listeners)?),
        };
        let (reporter, news) = unbounded_channel();
        tokio::spawn(report_signals(signals, reporter.clone()));
        Ok(Self {
            settings: settings.clone(),
            phase: Phase::Running,
            first_line,
            loopback,
            listener,
            shared,
            waiting: VecDeque::new(),
            max_waiting: open_files::limit() as usize / 2,
            workers: BTreeMap::new(),
            slots: (0..settings.workers).map(|_| Slot::default()).collect(),
            next: 0,
            roll: None,
            events: VecDeque::new(),
            news,
            reporter,
            clock: interval(TICK),
            looked: Instant::now(),
        })
    }
}

fn into_fds(listeners: Vec<Listener>) -> io::Result<Vec<OwnedFd>> {
    let sockets = listeners.into_iter().flat_map(|listener| listener.sockets);
    sockets.map(|socket| Ok(socket.into_std()?.into())).collect()
}

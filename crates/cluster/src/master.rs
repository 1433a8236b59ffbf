//! The master: starts the workers, hands them connections, replaces those that end. One event
//! loop that owns all of its state, and on which nothing waits. It never reads a byte of a
//! connection, and so nothing that a client sends can hurt it.

mod limits;
mod listeners;
mod news;
mod status;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use common::connection::SHUTDOWN_LIMIT;
use common::error::CannotStart;
use common::ko_en;
use common::listen::{Listener, listen};
use common::log::warn;
use common::stop::{Hangup, Signals};
use tokio::process::Command;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::{Instant, Interval};

use self::limits::kill_process;
use self::news::{News, report};
use crate::Settings;
use crate::channel::{self, Sender};
use crate::message::{ToMaster, ToWorker};
use crate::worker::SOCKET;

/// A worker that lived this long is replaced at once: it was no bad start.
const HEALTHY: Duration = Duration::from_secs(1);

/// The pause after a worker that did not; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long a new worker may take until it can serve.
const START_LIMIT: Duration = Duration::from_secs(10);

/// A worker takes connections from its channel at once. One that leaves them there for this
/// long is busy or stopped: it is passed over until it takes one.
const PASSED_OVER: Duration = Duration::from_secs(1);

/// Connections that may lie in the channel of one worker.
const MAX_UNTAKEN: usize = 64;

/// How long a worker that refused a connection is passed over.
const REFUSED: Duration = Duration::from_millis(100);

/// How often the clock is looked at while something waits for it.
const TICK: Duration = Duration::from_millis(20);

/// What happens in a cluster; `cluster.on(…)` in Node.
pub enum Event {
    /// A worker can serve.
    Online(u32),
    /// All first workers were started: connections are accepted. With the first line.
    Listening(String),
    /// Nobody serves in this slot any more. Its worker may live on, to finish what it has.
    Disconnect(usize),
    /// A worker has ended.
    Exit(Exit),
    /// A worker has said how it is: see [`crate::MasterHandle::report`].
    Report(u32, String),
    /// SIGHUP: the workers are replaced one by one from now on.
    RollBegins,
    /// All have been replaced, or a new one did not start.
    RollEnds,
}

/// How a worker ended, in Node's words; and its process id.
pub struct Exit(pub u32, ExitStatus);

/// The master of a cluster.
pub struct Master {
    settings: Settings,
    phase: Phase,
    first_line: Option<String>,
    loopback: bool,
    /// What the master accepts from (`rr`), or the workers (`shared`).
    listener: Option<Listener>,
    shared: Vec<OwnedFd>,
    /// Connections that no worker could take yet, and since when.
    waiting: VecDeque<(Instant, OwnedFd)>,
    max_waiting: usize,
    workers: BTreeMap<u32, Worker>,
    slots: Vec<Slot>,
    /// The slot whose turn it is.
    next: usize,
    /// SIGHUP: the slot whose worker is being replaced.
    roll: Option<usize>,
    events: VecDeque<Event>,
    news: UnboundedReceiver<News>,
    reporter: UnboundedSender<News>,
    clock: Interval,
    /// When the clock was last looked at.
    looked: Instant,
}

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Running,
    /// Since when the workers tell their connections that the server stops. Until all have done
    /// so the listener stays open.
    Telling(Instant),
    /// The workers finish what they have.
    Finishing,
}

/// The place of one worker after another.
#[derive(Default)]
struct Slot {
    /// The worker that serves.
    worker: Option<u32>,
    /// When the next one is to be started.
    fork_at: Option<Instant>,
    /// When it may be, as the last one died young; and how many have, one after the other.
    not_before: Option<Instant>,
    died_young: u32,
    starts: u64,
    /// How its last worker ended, for the page.
    exit: Option<Exit>,
}

/// A worker, as its master sees it.
struct Worker {
    slot: usize,
    born: Instant,
    state: State,
    /// When it is killed, if it has not got further by then.
    limit: Option<Instant>,
    sender: Sender,
    told: bool,
    /// Connections that it was sent and has not taken yet, and since when. As long as they are
    /// open here too, its death does not close them.
    untaken: VecDeque<(Instant, OwnedFd)>,
    not_before: Instant,
    requests: u64,
    /// When it last said how it is. Without a word for some seconds it hangs.
    reported: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Starting,
    Ready,
    /// It is handed nothing any more.
    Leaving,
}

impl Master {
    /// Opens `port`, and catches signals from now on.
    ///
    /// # Errors
    /// It cannot start: see [`listen`].
    pub async fn listen(port: u16, settings: &Settings) -> Result<Self, CannotStart> {
        let signals = Signals::catch(Hangup::Notifies)?;
        let listener = listen(port).await?;
        Self::over(vec![listener], "http", signals, settings)
    }

    /// Starts a worker in a slot, at once or after a pause where the last one died young;
    /// `cluster.fork()` in Node.
    pub fn fork(&mut self, slot: usize) {
        self.slots[slot].fork_at =
            Some(self.slots[slot].not_before.unwrap_or_else(Instant::now));
    }

    /// Waits for the next event; nothing when the cluster has ended.
    pub async fn event(&mut self) -> Option<Event> {
        loop {
            self.look_at_the_clock();
            self.hand_over();
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            let forks = self.slots.iter().any(|slot| slot.fork_at.is_some());
            if self.workers.is_empty() && self.phase == Phase::Running && !forks {
                warn(ko_en!(
                    "워커가 모두 종료되어 마스터도 종료합니다 (RESPAWN=off).",
                    "All workers have ended, and so the master ends (RESPAWN=off)."
                ));
                return None;
            }
            if self.workers.is_empty() && self.phase != Phase::Running {
                return None;
            }
            let listens = self.first_line.is_none() && self.listener.is_some();
            let accepts = listens && self.waiting.len() < self.max_waiting;
            tokio::select! {
                Some(news) = self.news.recv() => self.hear(news),
                connection = accept(&self.listener), if accepts => {
                    self.waiting.extend(connection.map(|c| (Instant::now(), c)));
                }
                _ = self.clock.tick(), if self.waits_for_the_clock() => {}
            }
        }
    }

    /// The status to exit with: 0 after a stop, 1 where the last worker has ended.
    pub fn exit_code(&self) -> ExitCode {
        if self.phase == Phase::Running { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }

    fn start(&mut self, slot: usize) {
        self.slots[slot].fork_at = None;
        let starting = |w: &Worker| w.slot == slot && w.state == State::Starting;
        if self.phase != Phase::Running || self.workers.values().any(starting) {
            return;
        }
        if self.too_many() {
            self.slots[slot].fork_at = Some(Instant::now()); // again, when one has ended
            return;
        }
        self.slots[slot].starts += 1;
        if let Err(error) = self.spawn(slot) {
            let program = self.settings.program.display();
            warn(ko_en!(
                "워커를 시작하지 못했습니다: {program}: {error}. CLUSTER_PROGRAM을 확인하세요.",
                "Cannot start a worker: {program}: {error}. Check CLUSTER_PROGRAM."
            ));
            self.died_young(slot);
        }
    }

    /// Runs the program once more, with one end of a socket pair as its standard input.
    fn spawn(&mut self, slot: usize) -> io::Result<()> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut command = Command::new(&self.settings.program);
        command.env(SOCKET, channel::identity(&theirs)?);
        let child = command.stdin(OwnedFd::from(theirs)).spawn()?;
        let pid = child.id().ok_or(io::ErrorKind::NotFound)?;
        let (sender, receiver) = channel::open(ours)?;
        for socket in &self.shared {
            sender.send(&ToWorker::Listener, Some(socket.as_fd()))?;
        }
        sender.send(&ToWorker::Start(self.loopback), None)?;
        tokio::spawn(report(pid, child, receiver, self.reporter.clone()));
        let now = Instant::now();
        let worker = Worker {
            slot,
            born: now,
            state: State::Starting,
            limit: Some(now + START_LIMIT),
            sender,
            told: false,
            untaken: VecDeque::new(),
            not_before: now,
            requests: 0,
            reported: None,
        };
        self.workers.insert(pid, worker);
        Ok(())
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Says(pid, message) => self.hear_worker(pid, message),
            News::Ended(pid, status) => self.ended(pid, status),
            News::Hangup => self.begin_roll(),
            // Everyone is told first; then the listener is closed.
            News::Stop => {
                self.phase = Phase::Telling(Instant::now());
                self.workers.values().for_each(|worker| worker.tell(ToWorker::Stop));
            }
            News::StopAtOnce => {
                self.workers.keys().for_each(|pid| kill_process(*pid));
                std::process::exit(1);
            }
        }
    }

    fn hear_worker(&mut self, pid: u32, message: ToMaster) {
        let Some(worker) = self.workers.get_mut(&pid) else { return };
        match message {
            ToMaster::Ready => self.ready(pid),
            ToMaster::Took(count) => {
                _ = worker.untaken.drain(..count.min(worker.untaken.len()))
            }
            ToMaster::Refused => {
                worker.not_before = Instant::now() + REFUSED;
                let refused = worker.untaken.pop_front();
                refused.into_iter().for_each(|refused| self.waiting.push_front(refused));
            }
            ToMaster::Leaving => self.leave(pid),
            ToMaster::Told => worker.told = true,
            ToMaster::Requests(count) => worker.requests = count,
            ToMaster::Report(report) => {
                worker.reported = Some(Instant::now());
                self.events.push_back(Event::Report(pid, report));
            }
            ToMaster::Status => self.workers[&pid].tell(ToWorker::Status(self.status())),
            ToMaster::Crash(pid) => {
                self.workers.get(&pid).inspect(|worker| worker.tell(ToWorker::Crash));
                self.leave(pid);
            }
        }
    }

    fn ready(&mut self, pid: u32) {
        let Some(worker) = self.workers.get_mut(&pid) else { return };
        (worker.state, worker.limit) = (State::Ready, None);
        let slot = worker.slot;
        self.events.push_back(Event::Online(pid));
        if let Some(old) = self.slots[slot].worker.replace(pid) {
            self.leave(old);
        }
        if self.roll == Some(slot) {
            self.roll_on(slot + 1);
        }
        self.is_listening();
    }

    /// Says once that connections are accepted: when every slot has had its first worker.
    fn is_listening(&mut self) {
        let starts = self.workers.values().any(|worker| worker.state == State::Starting);
        let serves = self.slots.iter().any(|slot| slot.worker.is_some());
        if serves
            && !starts
            && let Some(line) = self.first_line.take()
        {
            self.events.push_back(Event::Listening(line));
        }
    }

    /// Hands a worker nothing any more and closes its channel: it finishes what it has.
    fn leave(&mut self, pid: u32) {
        if let Some(worker) = self.workers.get_mut(&pid)
            && worker.state != State::Leaving
        {
            worker.state = State::Leaving;
            worker.limit = Some(Instant::now() + SHUTDOWN_LIMIT);
            worker.sender.close();
            let slot = worker.slot;
            self.vacate(slot, pid);
        }
    }

    fn vacate(&mut self, slot: usize, pid: u32) {
        if self.slots[slot].worker == Some(pid) {
            self.slots[slot].worker = None;
            self.events.push_back(Event::Disconnect(slot));
        }
    }

    fn ended(&mut self, pid: u32, status: ExitStatus) {
        let Some(mut worker) = self.workers.remove(&pid) else { return };
        while let Some((_, connection)) = worker.untaken.pop_back() {
            self.waiting.push_front((Instant::now(), connection));
        }
        let slot = worker.slot;
        self.slots[slot].exit = Some(Exit(pid, status));
        self.events.push_back(Event::Exit(Exit(pid, status)));
        // One that was asked to leave is replaced without a pause, however young it was.
        let was_well =
            worker.state != State::Starting && worker.born.elapsed() >= HEALTHY;
        if worker.state == State::Leaving || was_well {
            (self.slots[slot].died_young, self.slots[slot].not_before) = (0, None);
            self.vacate(slot, pid);
        } else {
            self.vacate(slot, pid);
            self.died_young(slot);
        }
    }

    fn died_young(&mut self, slot: usize) {
        let place = &mut self.slots[slot];
        let pause = LONGEST_PAUSE.min(FIRST_PAUSE * (1 << place.died_young.min(9)));
        place.not_before = Some(Instant::now() + pause);
        place.died_young += 1;
        if place.worker.is_none() {
            self.events.push_back(Event::Disconnect(slot));
        }
        if self.roll == Some(slot) {
            self.roll = None;
            self.events.push_back(Event::RollEnds);
            warn(ko_en!(
                "새 워커가 시작하지 못해 교체를 멈춥니다. 이전 워커는 그대로 둡니다.",
                "The new worker does not start: the roll stops, and the old ones stay."
            ));
        }
        self.is_listening();
    }

    /// SIGHUP: a new worker for each slot, one after the other.
    fn begin_roll(&mut self) {
        let program = &self.settings.program;
        let real = program.canonicalize().unwrap_or_else(|_| program.clone());
        let (program, real) = (program.display(), real.display());
        warn(ko_en!(
            "워커를 하나씩 교체합니다: {program} → {real}",
            "Replacing the workers one by one: {program} → {real}"
        ));
        self.events.push_back(Event::RollBegins);
        self.roll_on(0);
    }

    fn roll_on(&mut self, slot: usize) {
        self.roll = (slot < self.slots.len()).then_some(slot);
        match self.roll {
            Some(slot) => self.start(slot),
            None => self.events.push_back(Event::RollEnds),
        }
    }

    fn finish(&mut self) {
        self.listener = None;
        self.shared.clear();
        self.phase = Phase::Finishing;
        self.hand_over();
        let pids: Vec<u32> = self.workers.keys().copied().collect();
        pids.into_iter().for_each(|pid| self.leave(pid));
        self.waiting.clear();
    }

    /// Hands connections to the workers in turn, the one that came first before the others.
    fn hand_over(&mut self) {
        while let Some((_, connection)) = self.waiting.front()
            && let Some((slot, worker)) = self.next_worker()
            && self.workers[&worker]
                .sender
                .send(&ToWorker::Connection, Some(connection.as_fd()))
                .is_ok()
            && let Some((_, connection)) = self.waiting.pop_front()
            && let Some(worker) = self.workers.get_mut(&worker)
        {
            self.next = (slot + 1) % self.slots.len();
            worker.untaken.push_back((Instant::now(), connection));
        }
    }

    /// The next worker in turn that can take a connection, and its slot.
    fn next_worker(&self) -> Option<(usize, u32)> {
        let count = self.slots.len();
        let max_untaken = (self.max_waiting / count).clamp(1, MAX_UNTAKEN);
        let in_turn = (self.next..self.next + count).map(|n| n % count);
        let serving = in_turn.filter_map(|slot| Some((slot, self.slots[slot].worker?)));
        { serving }.find(|(_, pid)| {
            let worker = &self.workers[pid];
            self.phase == Phase::Finishing
                || worker.untaken.len() < max_untaken
                    && !worker.has_left_untaken_for(PASSED_OVER)
                    && Instant::now() >= worker.not_before
        })
    }
}

impl Worker {
    /// One that has no room for a message hangs, and will be killed for it: see `limits`.
    fn tell(&self, message: ToWorker) {
        let _ = self.sender.send(&message, None);
    }
}

/// Waits for the next connection, and takes it as a plain descriptor: the master is not to be
/// woken by what the client sends.
async fn accept(listener: &Option<Listener>) -> Option<OwnedFd> {
    Some(listener.as_ref()?.next().await.into_std().ok()?.into())
}

//! The master: starts the workers, hands them connections, replaces those that end. One event
//! loop that owns all of its state, and on which nothing waits. It never reads a byte of a
//! connection, and so nothing that a client sends can hurt it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use common::connection::SHUTDOWN_LIMIT;
use common::error::CannotStart;
use common::guard::open_files;
use common::ko_en;
use common::listen::{Listener, listen};
use common::log::warn;
use common::serve::{ACCEPT_PAUSE, LAST_ACCEPTS, cannot_accept, is_of_one_client};
use common::stop::{Hangup, Signals};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep_until, timeout};

use crate::channel::{self, Inbox, MAX_MESSAGE, Outbox};
use crate::message::{ToMaster, ToWorker};
use crate::worker::SOCKET;
use crate::{Schedule, Settings};

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

/// One that leaves them there for this long hangs, and is killed. A descriptor that was sent
/// cannot be called back, so nothing less lets another worker serve that client.
const HANGS: Duration = Duration::from_secs(5);

/// Connections that may lie in the channel of one worker.
const MAX_UNTAKEN: usize = 64;

/// A worker that refused a connection has none of its own to spare; for so long it is passed
/// over.
const REFUSED: Duration = Duration::from_millis(100);

/// How long a client waits for a worker where none can take it.
const WAIT_LIMIT: Duration = Duration::from_secs(10);

/// How long the workers may take to tell their connections that the server stops.
const TELL_LIMIT: Duration = Duration::from_secs(1);

/// Workers that one status shows, so that it stays below [`MAX_MESSAGE`].
const SHOWN: usize = MAX_MESSAGE / 256;

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
}

/// How a worker ended, in Node's words.
pub struct Exit(u32, ExitStatus);

/// The master of a cluster.
pub struct Master {
    settings: Settings,
    signals: Signals,
    phase: Phase,
    first_line: Option<String>,
    loopback: bool,
    /// What the master accepts from (`rr`).
    listener: Option<Listener>,
    /// What the workers accept from (`shared`).
    shared: Vec<Arc<OwnedFd>>,
    /// Connections that no worker could take yet, and since when.
    waiting: VecDeque<(Instant, Arc<OwnedFd>)>,
    max_waiting: usize,
    /// After a failed accept: when to try again.
    accept_again: Option<Instant>,
    failing: bool,
    workers: BTreeMap<u32, Worker>,
    slots: Vec<Slot>,
    /// The slot whose turn it is.
    next: usize,
    /// SIGHUP: the slot whose worker is being replaced.
    roll: Option<usize>,
    events: VecDeque<Event>,
    news: UnboundedReceiver<(u32, News)>,
    reporter: UnboundedSender<(u32, News)>,
}

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Running,
    /// The workers tell their connections; until then the listener stays open.
    Telling(Instant),
    /// The last connections are accepted.
    LastAccepts(Instant),
    /// The workers finish what they have.
    Finishing,
    /// A second signal: they are killed.
    Killing,
}

/// The place of one worker after another.
struct Slot {
    /// The worker that serves.
    worker: Option<u32>,
    /// When the next one is to be started.
    fork_at: Option<Instant>,
    /// When it may be, as the last one died young; and the pause after the next that does.
    not_before: Instant,
    pause: Duration,
    starts: u64,
}

/// A worker, as its master sees it.
struct Worker {
    slot: usize,
    born: Instant,
    state: State,
    outbox: Outbox<ToWorker>,
    told: bool,
    /// Connections that it was sent and has not taken yet, and since when. As long as they are
    /// open here too, its death does not close them.
    untaken: VecDeque<(Instant, Arc<OwnedFd>)>,
    refused: Option<Instant>,
    requests: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Starting,
    Ready,
    /// It is handed nothing any more. Since when.
    Leaving(Instant),
}

/// What the task that listens to one worker reports.
enum News {
    Says(ToMaster),
    Ended(ExitStatus),
}

impl Master {
    /// Opens `port`, and catches signals from now on.
    ///
    /// # Errors
    /// It cannot start: see [`listen`].
    pub async fn listen(port: u16, settings: &Settings) -> Result<Self, CannotStart> {
        let signals = Signals::catch(Hangup::Notifies)?;
        let listener = listen(port).await?;
        let first_line = Some(listener.first_line("http"));
        let loopback = listener.is_loopback();
        let (listener, shared) = match settings.schedule {
            Schedule::RoundRobin => (Some(listener), Vec::new()),
            Schedule::Shared => (None, into_fds(listener)?),
        };
        let slot = |_| Slot {
            worker: None,
            fork_at: None,
            not_before: Instant::now(),
            pause: FIRST_PAUSE,
            starts: 0,
        };
        let (reporter, news) = unbounded_channel();
        Ok(Self {
            settings: settings.clone(),
            signals,
            phase: Phase::Running,
            first_line,
            loopback,
            listener,
            shared,
            waiting: VecDeque::new(),
            max_waiting: open_files::limit() as usize / 2,
            accept_again: None,
            failing: false,
            workers: BTreeMap::new(),
            slots: (0..settings.workers).map(slot).collect(),
            next: 0,
            roll: None,
            events: VecDeque::new(),
            news,
            reporter,
        })
    }

    /// Starts a worker in a slot; `cluster.fork()` in Node.
    pub fn fork(&mut self, slot: usize) {
        self.slots[slot].fork_at = None;
        let in_slot = |w: &Worker| w.slot == slot && w.state == State::Starting;
        if self.phase != Phase::Running || self.workers.values().any(in_slot) {
            return;
        }
        self.end_the_oldest_of_too_many();
        if let Err(error) = self.spawn(slot) {
            let program = self.settings.program.display();
            warn(ko_en!(
                "워커를 시작하지 못했습니다: {program}: {error}",
                "Cannot start a worker: {program}: {error}"
            ));
            self.slots[slot].died_young();
            self.starts_no_more(slot);
        }
        self.slots[slot].starts += 1;
    }

    /// Starts a worker in a slot: at once, or after a pause where the last one died young.
    pub fn fork_later(&mut self, slot: usize) {
        self.slots[slot].fork_at = Some(self.slots[slot].not_before);
    }

    /// Waits for the next event; nothing when the cluster has ended.
    pub async fn event(&mut self) -> Option<Event> {
        loop {
            self.look_at_the_clock();
            self.hand_over();
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if self.has_ended() {
                if self.phase == Phase::Running {
                    warn(ko_en!(
                        "워커가 모두 종료되어 마스터도 종료합니다 (RESPAWN=off).",
                        "All workers have ended, and so the master ends (RESPAWN=off)."
                    ));
                }
                return None;
            }
            let accepts = self.first_line.is_none()
                && self.accept_again.is_none()
                && self.waiting.len() < self.max_waiting;
            let deadline = self.next_deadline();
            tokio::select! {
                Some((pid, news)) = self.news.recv() => match news {
                    News::Says(message) => self.hear(pid, message),
                    News::Ended(status) => self.ended(pid, status),
                },
                accepted = accept(&self.listener), if accepts => match accepted {
                    Ok(stream) => {
                        self.failing = false;
                        self.waiting.push_back((Instant::now(), Arc::new(stream)));
                    }
                    Err(error) => self.cannot_accept(&error),
                },
                () = self.signals.stop.cancelled(), if self.phase == Phase::Running => {
                    self.stop();
                }
                () = self.signals.at_once.cancelled(), if self.phase != Phase::Killing => {
                    self.phase = Phase::Killing;
                    self.workers.keys().for_each(|pid| kill_process(*pid));
                }
                () = self.signals.hangup.notified() => self.begin_roll(),
                () = sleep_until(deadline) => {}
            }
        }
    }

    /// The status to exit with: 0 after a stop, 1 where the last worker has ended.
    pub fn exit_code(&self) -> ExitCode {
        match self.phase {
            Phase::Running | Phase::Killing => ExitCode::FAILURE,
            _ => ExitCode::SUCCESS,
        }
    }

    fn has_ended(&self) -> bool {
        let forks = self.slots.iter().any(|slot| slot.fork_at.is_some());
        let is_over = matches!(self.phase, Phase::Finishing | Phase::Killing);
        self.workers.is_empty() && (is_over || !forks)
    }

    /// Runs the program once more, with one end of a socket pair as its standard input.
    fn spawn(&mut self, slot: usize) -> io::Result<()> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut command = Command::new(&self.settings.program);
        command.env(SOCKET, channel::identity(&theirs)?);
        let child = command.stdin(OwnedFd::from(theirs)).spawn()?;
        let pid = child.id().ok_or(io::ErrorKind::NotFound)?;
        let (outbox, inbox) = channel::open(ours)?;
        for socket in &self.shared {
            outbox.send_with(ToWorker::Listener, socket.clone());
        }
        outbox.send(ToWorker::Start { loopback: self.loopback });
        tokio::spawn(report(pid, child, inbox, self.reporter.clone()));
        let worker = Worker {
            slot,
            born: Instant::now(),
            state: State::Starting,
            outbox,
            told: false,
            untaken: VecDeque::new(),
            refused: None,
            requests: 0,
        };
        self.workers.insert(pid, worker);
        Ok(())
    }

    fn hear(&mut self, pid: u32, message: ToMaster) {
        let Some(worker) = self.workers.get_mut(&pid) else { return };
        match message {
            ToMaster::Ready => self.ready(pid),
            ToMaster::Took(count) => {
                worker.untaken.drain(..count.min(worker.untaken.len()));
            }
            ToMaster::Refused => {
                worker.refused = Some(Instant::now());
                if let Some(connection) = worker.untaken.pop_front() {
                    self.waiting.push_front(connection);
                }
            }
            ToMaster::Leaving => self.leave(pid),
            ToMaster::Told => worker.told = true,
            ToMaster::Requests(count) => worker.requests = count,
            ToMaster::Status => {
                let status = self.status();
                if let Some(worker) = self.workers.get(&pid) {
                    worker.outbox.send(ToWorker::Status(status));
                }
            }
            ToMaster::Crash(pid) => {
                if let Some(worker) = self.workers.get(&pid) {
                    worker.outbox.send(ToWorker::Crash);
                    self.leave(pid);
                }
            }
        }
    }

    fn ready(&mut self, pid: u32) {
        let Some(worker) = self.workers.get_mut(&pid) else { return };
        if worker.state != State::Starting {
            return;
        }
        worker.state = State::Ready;
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
        let starting = |worker: &Worker| worker.state == State::Starting;
        let starts = self.workers.values().any(starting);
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
        let Some(worker) = self.workers.get_mut(&pid) else { return };
        if let State::Leaving(_) = worker.state {
            return;
        }
        worker.state = State::Leaving(Instant::now());
        worker.outbox.close();
        let slot = worker.slot;
        self.vacate(slot, pid);
    }

    /// A worker that was asked to leave is replaced without a pause, however young it was.
    fn vacate(&mut self, slot: usize, pid: u32) {
        if self.slots[slot].worker == Some(pid) {
            self.slots[slot].worker = None;
            self.events.push_back(Event::Disconnect(slot));
        }
    }

    fn ended(&mut self, pid: u32, status: ExitStatus) {
        let Some(mut worker) = self.workers.remove(&pid) else { return };
        let slot = worker.slot;
        while let Some((_, connection)) = worker.untaken.pop_back() {
            self.waiting.push_front((Instant::now(), connection));
        }
        let asked = matches!(worker.state, State::Leaving(_));
        if !asked && worker.born.elapsed() < HEALTHY {
            self.slots[slot].died_young();
        } else {
            self.slots[slot].pause = FIRST_PAUSE;
        }
        self.vacate(slot, pid);
        self.events.push_back(Event::Exit(Exit(pid, status)));
        if worker.state == State::Starting {
            self.starts_no_more(slot);
        }
    }

    /// A start has failed. Where it was to replace somebody, that one stays.
    fn starts_no_more(&mut self, slot: usize) {
        if self.roll == Some(slot) {
            self.roll = None;
            warn(ko_en!(
                "새 워커가 시작하지 못해 교체를 멈춥니다. 이전 워커는 그대로 둡니다.",
                "The new worker does not start: the roll stops, and the old ones stay."
            ));
        }
        if self.slots[slot].worker.is_none() {
            self.events.push_back(Event::Disconnect(slot));
        }
        self.is_listening();
    }

    fn end_the_oldest_of_too_many(&mut self) {
        let leaving = |worker: &Worker| matches!(worker.state, State::Leaving(_));
        let leaving = self.workers.iter().filter(|(_, worker)| leaving(worker));
        let oldest = leaving.min_by_key(|(_, worker)| worker.born).map(|(pid, _)| *pid);
        if self.workers.len() > 2 * self.slots.len()
            && let Some(pid) = oldest
        {
            kill_process(pid);
        }
    }

    /// SIGHUP: a new worker for each slot, one after the other.
    fn begin_roll(&mut self) {
        if self.phase == Phase::Running {
            let program = &self.settings.program;
            let real = program.canonicalize().unwrap_or_else(|_| program.clone());
            let (program, real) = (program.display(), real.display());
            warn(ko_en!(
                "워커를 하나씩 교체합니다: {program} → {real}",
                "Replacing the workers one by one: {program} → {real}"
            ));
            self.roll_on(0);
        }
    }

    fn roll_on(&mut self, slot: usize) {
        self.roll = (slot < self.slots.len()).then_some(slot);
        if let Some(slot) = self.roll {
            self.fork(slot);
        }
    }

    /// Tells everyone first; then the listener is closed: see [`Phase`].
    fn stop(&mut self) {
        self.phase = Phase::Telling(Instant::now() + TELL_LIMIT);
        for worker in self.workers.values() {
            worker.outbox.send(ToWorker::Stop);
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

    fn cannot_accept(&mut self, error: &io::Error) {
        if is_of_one_client(error) {
            return;
        }
        if !self.failing {
            warn(cannot_accept(error));
        }
        self.failing = true;
        self.accept_again = Some(Instant::now() + ACCEPT_PAUSE);
    }

    /// Does whatever is due.
    fn look_at_the_clock(&mut self) {
        let now = Instant::now();
        match self.phase {
            Phase::Telling(limit) => {
                let told = |worker: &Worker| worker.told || worker.state != State::Ready;
                if now >= limit || self.workers.values().all(told) {
                    self.phase = Phase::LastAccepts(now + LAST_ACCEPTS);
                }
            }
            Phase::LastAccepts(limit) if now >= limit => self.finish(),
            _ => {}
        }
        for (pid, worker) in &self.workers {
            if worker.deadline().is_some_and(|deadline| now >= deadline) {
                kill_process(*pid);
            }
        }
        while self.waiting.front().is_some_and(|(since, _)| now >= *since + WAIT_LIMIT) {
            self.waiting.pop_front();
        }
        self.accept_again = self.accept_again.filter(|at| now < *at);
        for slot in 0..self.slots.len() {
            if self.slots[slot].fork_at.is_some_and(|at| now >= at) {
                self.fork(slot);
            }
        }
    }

    fn next_deadline(&self) -> Instant {
        let phase = match self.phase {
            Phase::Telling(limit) | Phase::LastAccepts(limit) => Some(limit),
            _ => None,
        };
        let waiting = self.waiting.front().map(|(since, _)| *since + WAIT_LIMIT);
        // Whoever waits is handed over when a worker that was passed over may be asked again.
        let again = waiting.map(|_| Instant::now() + REFUSED);
        let workers = self.workers.values().filter_map(Worker::deadline);
        let forks = self.slots.iter().filter_map(|slot| slot.fork_at);
        let all = workers.chain(forks).chain(phase).chain(waiting).chain(again);
        let all = all.chain(self.accept_again);
        all.min().unwrap_or_else(|| Instant::now() + Duration::from_secs(3600))
    }

    /// Hands connections to the workers in turn, the one that came first before the others.
    fn hand_over(&mut self) {
        while !self.waiting.is_empty()
            && let Some(slot) = self.next_slot()
            && let Some(worker) =
                self.slots[slot].worker.and_then(|p| self.workers.get_mut(&p))
            && let Some((_, connection)) = self.waiting.pop_front()
        {
            self.next = (slot + 1) % self.slots.len();
            worker.outbox.send_with(ToWorker::Connection, connection.clone());
            worker.untaken.push_back((Instant::now(), connection));
        }
    }

    /// The slot of the next worker in turn that can take a connection.
    fn next_slot(&self) -> Option<usize> {
        let count = self.slots.len();
        let max_untaken = (self.max_waiting / count).clamp(1, MAX_UNTAKEN);
        let finishing = self.phase == Phase::Finishing;
        (self.next..self.next + count).map(|n| n % count).find(|slot| {
            let worker = self.slots[*slot].worker.and_then(|pid| self.workers.get(&pid));
            worker.is_some_and(|worker| finishing || worker.can_take(max_untaken))
        })
    }

    /// For the page that shows the cluster.
    fn status(&self) -> String {
        let next = self.next_slot().and_then(|slot| self.slots[slot].worker);
        let mut workers: Vec<_> = self.workers.iter().collect();
        workers.sort_by_key(|(_, worker)| (worker.slot, worker.born));
        let shown = workers.iter().take(SHOWN).map(|(pid, worker)| {
            json!({
                "slot": worker.slot + 1,
                "pid": pid,
                "age_ms": worker.born.elapsed().as_millis() as u64,
                "requests": worker.requests,
                "waiting": worker.untaken.len(),
                "state": worker.shown(),
                "restarts": self.slots[worker.slot].starts.saturating_sub(1),
            })
        });
        json!({
            "master": std::process::id(),
            "shared": !self.shared.is_empty(),
            "next": next.filter(|_| self.shared.is_empty()),
            "workers": shown.collect::<Vec<_>>(),
            "more": workers.len().saturating_sub(SHOWN),
        })
        .to_string()
    }
}

impl Slot {
    fn died_young(&mut self) {
        self.not_before = Instant::now() + self.pause;
        self.pause = LONGEST_PAUSE.min(self.pause * 2);
    }
}

impl Worker {
    fn can_take(&self, max_untaken: usize) -> bool {
        self.state == State::Ready
            && self.untaken.len() < max_untaken
            && !self.takes_nothing()
            && self.refused.is_none_or(|at| at.elapsed() >= REFUSED)
    }

    fn takes_nothing(&self) -> bool {
        self.untaken.front().is_some_and(|(since, _)| since.elapsed() >= PASSED_OVER)
    }

    /// When it is killed, unless something changes.
    fn deadline(&self) -> Option<Instant> {
        let state = match self.state {
            State::Starting => Some(self.born + START_LIMIT),
            State::Ready => None,
            State::Leaving(since) => Some(since + SHUTDOWN_LIMIT),
        };
        let hangs = self.untaken.front().map(|(since, _)| *since + HANGS);
        state.into_iter().chain(hangs).min()
    }

    fn shown(&self) -> &'static str {
        match self.state {
            State::Starting => "starting",
            State::Ready if self.takes_nothing() => "takes nothing",
            State::Ready => "ready",
            State::Leaving(_) => "leaving",
        }
    }
}

/// A process that has not been waited for keeps its number, so this hits nobody else.
fn kill_process(pid: u32) {
    if let Ok(pid) = i32::try_from(pid) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

/// Waits for the next connection, and takes it as a plain descriptor: the master is not to be
/// woken by what the client sends.
async fn accept(listener: &Option<Listener>) -> io::Result<OwnedFd> {
    match listener {
        Some(listener) => Ok(listener.accept().await?.into_std()?.into()),
        None => std::future::pending().await,
    }
}

fn into_fds(listener: Listener) -> io::Result<Vec<Arc<OwnedFd>>> {
    let sockets = listener.into_sockets().into_iter();
    sockets.map(|socket| Ok(Arc::new(socket.into_std()?.into()))).collect()
}

/// Listens to one worker until its end.
async fn report(
    pid: u32,
    mut child: Child,
    mut inbox: Inbox<ToMaster>,
    reporter: UnboundedSender<(u32, News)>,
) {
    loop {
        match inbox.receive().await {
            Ok(Some(message)) => _ = reporter.send((pid, News::Says(message))),
            Ok(None) => break,
            Err(error) => {
                warn(format_args!("{pid} → master: {error}"));
                break;
            }
        }
    }
    // The end of its channel is the end of a worker; what goes on without it is none.
    let status = match timeout(Duration::from_secs(1), child.wait()).await {
        Ok(status) => status,
        Err(_) => {
            let _ = child.start_kill();
            child.wait().await
        }
    };
    let _ = reporter.send((pid, News::Ended(status.unwrap_or_default())));
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(pid, status) = self;
        writeln!(f, "{pid}번 워커가 종료되었습니다.")?;
        match (status.code(), status.signal()) {
            (Some(code), _) => write!(f, "code {code} signal null"),
            (None, signal) => {
                let number = signal.unwrap_or_default();
                match Signal::try_from(number) {
                    Ok(name) => write!(f, "code null signal {}", name.as_str()),
                    Err(_) => write!(f, "code null signal {number}"),
                }
            }
        }
    }
}

//! The master: starts the workers, hands them connections, replaces those that end. It has no
//! lesson in it: it never looks into a connection, and so nothing that a client sends can
//! hurt it. One thread, on which nothing waits.

use std::collections::VecDeque;
use std::env;
use std::io::{self, IsTerminal};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitCode, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::CannotStart;
use common::listen::{Listener, listen};
use common::log::{self, say, warn};
use common::serve::{self, DRAIN};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{Signal as Name, kill};
use nix::unistd::Pid;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::channel::{self, Inbox, Outbox};
use crate::worker::SOCKET;
use crate::{Schedule, Settings};

/// A worker that lived this long is replaced at once: it was no bad start.
const HEALTHY: Duration = Duration::from_secs(1);

/// The pause after a worker that did not; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How long a new worker may take until it accepts connections.
const COME_UP: Duration = Duration::from_secs(10);

/// When a worker that was to leave is killed. It gives itself [`DRAIN`]: this is for one that
/// hangs.
const LAST_RESORT: Duration = DRAIN.saturating_add(Duration::from_secs(1));

/// A worker that has this many connections lying before it, or one for this long, is busy or
/// stopped: it is passed over until it takes one. (Where files are few, fewer connections: see
/// [`max_held`].)
const MAX_HELD: usize = 64;
const STUCK: Duration = Duration::from_secs(1);

/// Who sends SIGTERM to a worker may mean us all, and be with us in a moment.
const ALL_OF_US: Duration = Duration::from_millis(50);

/// Runs a cluster on `port` until SIGINT, SIGTERM, or the end of its last worker. SIGHUP
/// replaces the workers one by one.
///
/// # Errors
/// It cannot start: see [`listen`].
pub async fn run(port: u16, settings: &Settings) -> Result<ExitCode, CannotStart> {
    log::in_background();
    let signals = Signals::new()?;
    let listener = listen(port).await?;
    let first_line = listener.first_line("http");
    let (shared, listener) = match settings.schedule {
        Schedule::RoundRobin => (Vec::new(), Some(listener)),
        Schedule::Shared => (into_fds(listener)?, None),
    };
    // Now, and not when it is needed: then the file may be another one, or gone.
    let program = env::current_exe()?;
    say(format_args!("마스터 프로세스 아이디: {}", std::process::id()));

    let team = Team::new(settings.workers, shared);
    let (team, changed, door) = (Mutex::new(team), Notify::new(), Semaphore::new(1));
    let settings = settings.clone();
    let master = Arc::new(Master { settings, program, team, changed, door });
    let mut tasks = JoinSet::new();
    let mut rolls = Vec::new();
    for slot in 0..master.settings.workers {
        let (roll, asked) = mpsc::channel(1);
        tasks.spawn(master.clone().keep(slot, asked));
        rolls.push(roll);
    }
    let (stop, stopped) = watch::channel(false);
    tasks.spawn(master.clone().obey(signals, stop, rolls));

    let told_to_stop = || {
        let mut stopped = stopped.clone();
        async move { _ = stopped.wait_for(|stop| *stop).await }
    };
    let serving = async {
        tokio::select! {
            () = master.wait_until(|team| team.is_up()) => say(first_line),
            () = told_to_stop() => return,
        }
        match listener {
            Some(listener) => {
                let hand = |stream, _| hand_over(master.clone(), stream);
                serve::run(listener, told_to_stop(), hand).await;
            }
            None => told_to_stop().await,
        }
    };
    let respawn = master.settings.respawn;
    let code = tokio::select! {
        () = serving => ExitCode::SUCCESS,
        // There was nobody to hand the last ones to.
        () = async { told_to_stop().await; sleep(DRAIN).await } => ExitCode::SUCCESS,
        () = master.wait_until(|team| !respawn && team.is_deserted()) => {
            warn("워커가 모두 종료되어 마스터도 종료합니다 (RESPAWN=off).");
            ExitCode::FAILURE
        }
    };
    master.team().close_all();
    let all_gone = || master.wait_until(|team| team.workers.is_empty());
    if timeout(LAST_RESORT, all_gone()).await.is_err() {
        master.team().kill_all();
        all_gone().await;
    }
    log::flush();
    Ok(code)
}

/// What all tasks of the master share.
struct Master {
    settings: Settings,
    program: PathBuf,
    team: Mutex<Team>,
    /// Rung whenever something in `team` is new.
    changed: Notify,
    /// Connections go through it one by one, in the order in which they came.
    door: Semaphore,
}

/// The workers.
struct Team {
    slots: Vec<Slot>,
    /// The slot whose turn it is.
    next: usize,
    /// All that live: those in slots, those that are coming up, those that are leaving.
    workers: Vec<Arc<Worker>>,
    /// How many connections a worker may have lying before it.
    max_held: usize,
    /// Sockets to share among the workers; none where the master accepts.
    shared: Vec<Arc<OwnedFd>>,
    /// What is at the door is to be handed over now, or never.
    stopping: bool,
    /// No worker is started any more.
    closed: bool,
}

/// The place of one worker after another.
#[derive(Default)]
struct Slot {
    worker: Option<Arc<Worker>>,
    tried: bool,
    starts: u64,
}

/// A worker, as its master sees it.
struct Worker {
    pid: u32,
    slot: usize,
    born: Instant,
    outbox: Outbox,
    state: watch::Sender<State>,
    came_up: AtomicBool,
    /// Connections that were handed over and that it has not taken yet, and since when. As
    /// long as they are open here too, its death does not close them.
    held: Mutex<VecDeque<(Instant, Arc<OwnedFd>)>>,
    requests: Mutex<u64>,
}

#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum State {
    Starting,
    Ready,
    Leaving,
}

impl Master {
    fn team(&self) -> MutexGuard<'_, Team> {
        self.team.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn wait_until(&self, mut condition: impl FnMut(&mut Team) -> bool) {
        loop {
            let changed = self.changed.notified();
            if condition(&mut self.team()) {
                return;
            }
            changed.await;
        }
    }

    /// Keeps a slot filled: starts a worker when the one before it leaves, and when a roll
    /// asks for a newer one, which comes up before the old one is told to leave.
    async fn keep(self: Arc<Self>, slot: usize, mut rolls: mpsc::Receiver<Roll>) {
        let mut current: Option<Arc<Worker>> = None;
        let mut pause = FIRST_PAUSE;
        let mut roll: Option<Roll> = None;
        loop {
            let born = Instant::now();
            let started = self.start(slot).await;
            let came_up = started.is_some();
            if let Some(new) = started
                && let Some(old) = current.replace(new)
            {
                old.close();
            }
            if let Some(roll) = roll.take() {
                let _ = roll.send(came_up);
            }
            let needed = async {
                if let Some(worker) = &current {
                    worker.wait_for(State::Leaving).await;
                }
                if born.elapsed() >= HEALTHY {
                    pause = FIRST_PAUSE;
                } else {
                    sleep(pause).await;
                    pause = LONGEST_PAUSE.min(pause * 2);
                }
            };
            tokio::select! {
                () = needed, if self.settings.respawn => {}
                Some(asked) = rolls.recv() => roll = Some(asked),
            }
        }
    }

    /// Starts a worker and waits until it accepts connections: `cluster.fork()` in Node.
    async fn start(self: &Arc<Self>, slot: usize) -> Option<Arc<Worker>> {
        let worker = match self.spawn(slot) {
            Ok(worker) => worker,
            Err(error) => {
                warn(format_args!("워커를 시작하지 못했습니다: {error}"));
                None
            }
        };
        let mut up = false;
        if let Some(worker) = &worker {
            match timeout(COME_UP, worker.wait_for(State::Ready)).await {
                Ok(()) => up = worker.came_up.load(Relaxed),
                Err(_) => worker.kill(),
            }
        }
        let mut team = self.team();
        team.slots[slot].tried = true;
        if up {
            team.slots[slot].worker.clone_from(&worker);
        }
        drop(team);
        self.changed.notify_waiters();
        worker.filter(|_| up)
    }

    /// Runs this program once more, with one end of a socket pair as its standard input.
    fn spawn(self: &Arc<Self>, slot: usize) -> io::Result<Option<Arc<Worker>>> {
        let mut team = self.team();
        if team.closed {
            return Ok(None);
        }
        let (ours, theirs) = UnixStream::pair()?;
        let mut command = Command::new(&self.program);
        command.env(SOCKET, channel::identity(&theirs)?);
        let child = command.stdin(OwnedFd::from(theirs)).spawn()?;
        let pid = child.id().ok_or(io::ErrorKind::NotFound)?;
        let (outbox, inbox) = channel::open(ours)?;
        for socket in &team.shared {
            outbox.send_with("listener", socket.clone());
        }
        outbox.send("start");
        let worker = Arc::new(Worker {
            pid,
            slot,
            born: Instant::now(),
            outbox,
            state: watch::Sender::new(State::Starting),
            came_up: AtomicBool::new(false),
            held: Mutex::default(),
            requests: Mutex::default(),
        });
        team.workers.push(worker.clone());
        team.slots[slot].starts += 1;
        tokio::spawn(self.clone().watch(worker.clone(), child, inbox));
        Ok(Some(worker))
    }

    /// Listens to a worker until its end: `cluster.on("exit", …)` in Node.
    async fn watch(
        self: Arc<Self>,
        worker: Arc<Worker>,
        mut child: Child,
        mut inbox: Inbox,
    ) {
        let listen = async {
            while let Ok(Some(line)) = inbox.receive().await {
                self.heard(&worker, &line);
            }
        };
        let too_late = async {
            worker.wait_for(State::Leaving).await;
            sleep(LAST_RESORT).await;
        };
        tokio::select! {
            () = listen => {}
            () = too_late => worker.kill(),
        }
        // The end of its channel is the end of a worker; what goes on without it is none.
        let status = match timeout(Duration::from_secs(1), child.wait()).await {
            Ok(status) => status,
            Err(_) => {
                worker.kill();
                child.wait().await
            }
        };
        // It is reaped, and its number may be another process's from here on.
        self.team().workers.retain(|other| other.pid != worker.pid);
        worker.close();
        say(Exit(worker.pid, status.unwrap_or_default()));
        self.changed.notify_waiters();
        for (_, connection) in worker.held().drain(..) {
            tokio::spawn(self.clone().hand(connection));
        }
    }

    fn heard(self: &Arc<Self>, worker: &Arc<Worker>, line: &str) {
        match line.split_once(' ').unwrap_or((line, "")) {
            ("ready", _) => {
                say(format_args!("{}번 워커 실행", worker.pid));
                worker.came_up.store(true, Relaxed);
                worker.state.send_if_modified(|state| state.rise(State::Ready));
            }
            ("took", _) => drop(worker.held().pop_front()),
            ("refused", _) => {
                if let Some((_, connection)) = worker.held().pop_front() {
                    tokio::spawn(self.clone().hand(connection));
                }
            }
            ("leaving", _) => worker.close(),
            ("terminated", _) => {
                let (master, worker) = (self.clone(), worker.clone());
                tokio::spawn(async move {
                    sleep(ALL_OF_US).await;
                    // Where we all are to end it is still of use, for what is at the door.
                    if !master.team().stopping {
                        worker.close();
                    }
                });
            }
            ("requests", count) => *worker.requests() = count.parse().unwrap_or_default(),
            ("status", _) => {
                worker.outbox.send(format!("status {}", self.team().status()))
            }
            ("crash", pid) => {
                let team = self.team();
                let named =
                    team.workers.iter().find(|other| other.pid.to_string() == pid);
                if let Some(named) = named {
                    named.outbox.send("crash");
                }
            }
            _ => {}
        }
        self.changed.notify_waiters();
    }

    /// Hands a connection to the worker whose turn it is; waits where none can take one.
    async fn hand(self: Arc<Self>, connection: Arc<OwnedFd>) {
        let _in_turn = self.door.acquire().await;
        self.wait_until(|team| team.hand(&connection)).await;
    }

    /// SIGHUP: new workers, one slot after the other.
    async fn roll(&self, rolls: &[mpsc::Sender<Roll>]) {
        for roll in rolls {
            let (answer, came_up) = oneshot::channel();
            let _ = roll.send(answer).await;
            if !came_up.await.unwrap_or(false) {
                warn(
                    "새 워커가 시작하지 못해 교체를 멈춥니다. 이전 워커는 그대로 둡니다.",
                );
                return;
            }
        }
    }

    async fn obey(
        self: Arc<Self>,
        mut signals: Signals,
        stop: watch::Sender<bool>,
        rolls: Vec<mpsc::Sender<Roll>>,
    ) {
        let had_terminal = io::stdin().is_terminal();
        let roll = Notify::new();
        let rolling = async {
            loop {
                roll.notified().await;
                self.roll(&rolls).await;
            }
        };
        let listening = async {
            loop {
                match signals.next().await {
                    // A terminal that is closed says SIGHUP too, and then nobody is left to
                    // press Ctrl+C.
                    Told::Hangup if !had_terminal || io::stdin().is_terminal() => {
                        roll.notify_one();
                    }
                    told => {
                        let again = stop.send_replace(true);
                        if again && told == Told::Stop {
                            warn("두 번째 신호를 받아 바로 끝냅니다.");
                            self.team().kill_all();
                            log::flush();
                            std::process::exit(1);
                        }
                        self.team().stopping = true;
                        self.changed.notify_waiters();
                    }
                }
            }
        };
        tokio::join!(rolling, listening);
    }
}

/// Asks a slot for a newer worker; the answer is whether it came up.
type Roll = oneshot::Sender<bool>;

async fn hand_over(master: Arc<Master>, stream: TcpStream) {
    // A plain descriptor: the master is not to be woken by what the client sends.
    if let Ok(stream) = stream.into_std() {
        master.hand(Arc::new(stream.into())).await;
    }
}

impl Team {
    fn new(slots: usize, shared: Vec<Arc<OwnedFd>>) -> Self {
        let slots: Vec<_> = (0..slots).map(|_| Slot::default()).collect();
        Self {
            max_held: max_held(slots.len()),
            slots,
            next: 0,
            workers: Vec::new(),
            shared,
            stopping: false,
            closed: false,
        }
    }

    /// Every slot has had its first try, and somebody accepts connections.
    fn is_up(&self) -> bool {
        self.slots.iter().all(|slot| slot.tried)
            && self.slots.iter().any(|slot| slot.worker.is_some())
    }

    fn is_deserted(&self) -> bool {
        self.slots.iter().all(|slot| slot.tried) && self.workers.is_empty()
    }

    /// The slot of the next worker in turn that can take a connection.
    fn next(&self) -> Option<usize> {
        let can_take = self.next_that(|worker| worker.can_take(self.max_held));
        can_take.or_else(|| self.next_that(Worker::is_ready).filter(|_| self.stopping))
    }

    fn next_that(&self, is_right: impl Fn(&Worker) -> bool) -> Option<usize> {
        let count = self.slots.len();
        let in_turn = (self.next..self.next + count).map(|n| n % count);
        let worker = |slot: usize| self.slots[slot].worker.as_deref();
        in_turn.into_iter().find(|slot| worker(*slot).is_some_and(&is_right))
    }

    fn hand(&mut self, connection: &Arc<OwnedFd>) -> bool {
        let Some(slot) = self.next() else { return false };
        self.next = (slot + 1) % self.slots.len();
        if let Some(worker) = &self.slots[slot].worker {
            worker.held().push_back((Instant::now(), connection.clone()));
            worker.outbox.send_with("connection", connection.clone());
        }
        true
    }

    fn close_all(&mut self) {
        self.closed = true;
        self.shared.clear();
        self.workers.iter().for_each(|worker| worker.close());
    }

    fn kill_all(&mut self) {
        self.closed = true;
        self.workers.iter().for_each(|worker| worker.kill());
    }

    /// For the page that shows the cluster.
    fn status(&self) -> String {
        let next = self.next().and_then(|slot| self.slots[slot].worker.as_ref());
        let mut workers: Vec<_> = self.workers.iter().collect();
        workers.sort_by_key(|worker| (worker.slot, worker.born));
        let workers = workers.iter().map(|worker| {
            json!({
                "slot": worker.slot + 1,
                "pid": worker.pid,
                "age_ms": worker.born.elapsed().as_millis() as u64,
                "requests": *worker.requests(),
                "waiting": worker.held().len(),
                "state": worker.state.borrow().name(),
                "restarts": self.slots[worker.slot].starts.saturating_sub(1),
            })
        });
        json!({
            "master": std::process::id(),
            "shared": !self.shared.is_empty(),
            "next": next.filter(|_| self.shared.is_empty()).map(|worker| worker.pid),
            "workers": workers.collect::<Vec<_>>(),
        })
        .to_string()
    }
}

impl Worker {
    fn held(&self) -> MutexGuard<'_, VecDeque<(Instant, Arc<OwnedFd>)>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn requests(&self) -> MutexGuard<'_, u64> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn wait_for(&self, state: State) {
        let _ = self.state.subscribe().wait_for(|now| *now >= state).await;
    }

    fn is_ready(&self) -> bool {
        *self.state.borrow() == State::Ready
    }

    fn can_take(&self, max_held: usize) -> bool {
        let held = self.held();
        self.is_ready()
            && held.len() < max_held
            && held.front().is_none_or(|(since, _)| since.elapsed() < STUCK)
    }

    /// From here on it is handed nothing.
    fn leave(&self) {
        self.state.send_if_modified(|state| state.rise(State::Leaving));
    }

    /// Tells it that nothing more will come: it finishes what it has, and ends.
    fn close(&self) {
        self.leave();
        self.outbox.close();
    }

    /// Only while it is in the team: until then it is not reaped, and the number is its own.
    fn kill(&self) {
        if let Ok(pid) = i32::try_from(self.pid) {
            let _ = kill(Pid::from_raw(pid), Name::SIGKILL);
        }
    }
}

impl State {
    /// A state is never taken back.
    fn rise(&mut self, to: State) -> bool {
        let rises = *self < to;
        if rises {
            *self = to;
        }
        rises
    }

    fn name(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Ready => "ready",
            State::Leaving => "leaving",
        }
    }
}

/// How a worker ended, in Node's words.
struct Exit(u32, ExitStatus);

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(pid, status) = self;
        writeln!(f, "{pid}번 워커가 종료되었습니다.")?;
        match (status.code(), status.signal()) {
            (Some(code), _) => write!(f, "code {code} signal null"),
            (None, signal) => {
                let number = signal.unwrap_or_default();
                match Name::try_from(number) {
                    Ok(name) => write!(f, "code null signal {}", name.as_str()),
                    Err(_) => write!(f, "code null signal {number}"),
                }
            }
        }
    }
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.interrupt.recv() => Told::Stop,
            _ = self.terminate.recv() => Told::Stop,
            _ = self.hangup.recv() => Told::Hangup,
        }
    }
}

#[derive(PartialEq)]
enum Told {
    Stop,
    Hangup,
}

/// What a stopped worker may cost the master: all workers together half of its open files.
fn max_held(workers: usize) -> usize {
    let (files, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or_default();
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    (files / 2 / workers).clamp(1, MAX_HELD)
}

fn into_fds(listener: Listener) -> io::Result<Vec<Arc<OwnedFd>>> {
    let sockets = listener.into_sockets().into_iter();
    sockets.map(|socket| Ok(Arc::new(socket.into_std()?.into()))).collect()
}

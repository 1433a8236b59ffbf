//! A worker: the same program once more, with a socket to its master as standard input.

use std::env;
use std::fs::File;
use std::future::{Future, pending};
use std::io::{self, ErrorKind};
use std::net::TcpStream as StdTcpStream;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use common::CannotStart;
use common::connection::Seat;
use common::listen::accept_any;
use common::serve::{self, Source};
use nix::errno::Errno;
use nix::unistd::dup2_stdin;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, oneshot};
use tokio::time::{sleep, timeout};

use crate::channel::{self, Inbox, Outbox};

/// Names the socket that a worker inherits: see [`channel::identity`].
pub(crate) const SOCKET: &str = "CLUSTER_SOCKET";

/// How often a worker tells its master how many requests it has answered.
const REPORT: Duration = Duration::from_millis(100);

/// How long the master may take over an answer.
const ANSWER: Duration = Duration::from_secs(1);

/// This process as a worker.
pub struct Worker {
    inbox: Inbox,
    listeners: Vec<TcpListener>,
    to_master: Arc<ToMaster>,
}

impl Worker {
    /// This process as a worker, if a master has started it as one; `cluster.isWorker` in Node.
    ///
    /// A variable alone proves nothing: it may be left over in a learner's shell. So it names
    /// a socket, and only the process that has that very socket as its standard input is a
    /// worker.
    ///
    /// # Errors
    /// The master is gone already, or the system has no file descriptor to spare.
    pub async fn inherited() -> Result<Option<Self>, CannotStart> {
        let stdin = io::stdin();
        let named = env::var(SOCKET).unwrap_or_default();
        if named.is_empty() || channel::identity(&stdin)? != named {
            return Ok(None);
        }
        let socket = UnixStream::from(stdin.as_fd().try_clone_to_owned()?);
        // The clone closes on exec. Standard input becomes what it is for any server.
        dup2_stdin(File::open("/dev/null")?).map_err(io::Error::from)?;
        let (outbox, mut inbox) = channel::open(socket)?;
        let mut listeners = Vec::new();
        loop {
            match (inbox.receive().await?.as_deref(), inbox.take_fd()) {
                (Some("listener"), Some(fd)) => {
                    listeners.push(TcpListener::from_std(fd.into())?);
                }
                (Some("start"), _) => break,
                other => {
                    return Err(CannotStart(format!(
                        "워커가 시작하기 전에 마스터가 사라졌습니다: {other:?}"
                    )));
                }
            }
        }
        let to_master = Arc::new(ToMaster::new(outbox));
        Ok(Some(Self { inbox, listeners, to_master }))
    }

    /// What handlers can tell the master, and ask of it.
    pub fn to_master(&self) -> Arc<ToMaster> {
        self.to_master.clone()
    }

    /// Does `connect` with each connection that comes, until the master says that no more
    /// will, or is gone; then finishes what is in flight.
    ///
    /// # Errors
    /// The system refuses to tell us of signals.
    pub async fn run<C, F>(self, connect: C) -> Result<ExitCode, CannotStart>
    where
        C: Fn(TcpStream, Arc<Seat>) -> F,
        F: Future<Output = ()> + Send + 'static,
    {
        let Self { inbox, listeners, to_master } = self;
        tokio::spawn(obey(to_master.clone(), Signals::new()?));
        tokio::spawn(report(to_master.clone()));
        let source =
            Incoming { inbox, listeners, to_master: to_master.clone(), ended: false };
        to_master.outbox.send("ready");
        serve::run(source, pending(), connect).await;
        // What the master has not heard by now it would give to somebody else.
        let _ = timeout(ANSWER, to_master.outbox.flush()).await;
        Ok(to_master.leaving.get().copied().unwrap_or(ExitCode::SUCCESS))
    }
}

/// The connections of a worker: handed on by the master, or taken from sockets that all
/// workers share.
struct Incoming {
    inbox: Inbox,
    listeners: Vec<TcpListener>,
    to_master: Arc<ToMaster>,
    ended: bool,
}

impl Source for Incoming {
    async fn accept(&mut self) -> io::Result<TcpStream> {
        let Self { inbox, listeners, to_master, ended } = self;
        let shared = !listeners.is_empty();
        if *ended && shared {
            // The sweep at the end: what waits at the door we may be the last to take.
            return accept_any(listeners).await;
        }
        while !*ended {
            let line = tokio::select! {
                line = inbox.receive() => line?,
                accepted = accept_any(listeners), if shared => return accepted,
            };
            match line.as_deref() {
                Some("connection") => return to_master.took(inbox.take_fd()),
                Some(line) => to_master.heard(line),
                None => {
                    *ended = true;
                    to_master.ended();
                }
            }
        }
        Err(ErrorKind::UnexpectedEof.into())
    }
}

/// What a worker tells its master, and asks of it; `process.send` in Node.
pub struct ToMaster {
    outbox: Outbox,
    requests: AtomicU64,
    answered: Notify,
    leaving: OnceLock<ExitCode>,
    crashing: AtomicBool,
    asking: Mutex<Asking>,
}

#[derive(Default)]
struct Asking {
    waiting: Vec<oneshot::Sender<String>>,
    last: Option<String>,
    /// The channel has ended: the master hears us, and we hear it no more.
    ended: bool,
}

impl ToMaster {
    fn new(outbox: Outbox) -> Self {
        Self {
            outbox,
            requests: AtomicU64::new(0),
            answered: Notify::new(),
            leaving: OnceLock::new(),
            crashing: AtomicBool::new(false),
            asking: Mutex::default(),
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
                this.leave(ExitCode::FAILURE);
            });
        }
    }

    /// Tells the master to hand us nothing more. It answers with the end of the channel,
    /// behind all that it has handed to us: so nothing is lost on the way.
    fn leave(&self, code: ExitCode) {
        if self.leaving.set(code).is_ok() {
            self.outbox.send("leaving");
        }
    }

    /// How all workers are, as JSON; a worker that is leaving tells what it heard last. Nothing
    /// when the master has no time for us.
    pub async fn status(&self) -> Option<String> {
        let (waiting, answer) = oneshot::channel();
        {
            let mut asking = self.asking();
            if asking.ended {
                return asking.last.clone();
            }
            asking.waiting.push(waiting);
        }
        self.outbox.send("status");
        timeout(ANSWER, answer).await.ok()?.ok()
    }

    fn asking(&self) -> MutexGuard<'_, Asking> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the master to have a worker end with status 1.
    pub fn crash(&self, pid: u32) {
        self.outbox.send(format!("crash {pid}"));
    }

    /// A connection has come, and the master need not keep it for us any more; or there is no
    /// room for one more open file here, and somebody else must take it.
    fn took(&self, fd: Option<OwnedFd>) -> io::Result<TcpStream> {
        let fd = fd.ok_or(io::Error::from(Errno::EMFILE));
        let stream = fd.and_then(|fd| {
            let stream = StdTcpStream::from(fd);
            stream.set_nonblocking(true)?;
            TcpStream::from_std(stream)
        });
        self.outbox.send(if stream.is_ok() { "took" } else { "refused" });
        stream
    }

    fn heard(&self, line: &str) {
        if line == "crash" {
            self.leave(ExitCode::FAILURE);
        } else if let Some(status) = line.strip_prefix("status ") {
            let mut asking = self.asking();
            asking.last = Some(status.to_owned());
            for waiting in asking.waiting.drain(..) {
                let _ = waiting.send(status.to_owned());
            }
        }
    }

    fn ended(&self) {
        let mut asking = self.asking();
        asking.ended = true;
        asking.waiting.clear();
    }
}

struct Signals {
    terminate: tokio::signal::unix::Signal,
    /// Caught and left alone: a terminal sends these to all its processes, and what they mean
    /// here is the master's business.
    _ignored: [tokio::signal::unix::Signal; 2],
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            _ignored: [signal(SignalKind::interrupt())?, signal(SignalKind::hangup())?],
        })
    }
}

/// SIGTERM to a worker: the master decides whether it leaves alone, or all do.
async fn obey(to_master: Arc<ToMaster>, mut signals: Signals) {
    while signals.terminate.recv().await.is_some() {
        to_master.outbox.send("terminated");
    }
}

/// Tells the master how many requests there were, now and then.
async fn report(to_master: Arc<ToMaster>) {
    loop {
        to_master.answered.notified().await;
        to_master.outbox.send(format!("requests {}", to_master.requests.load(Relaxed)));
        sleep(REPORT).await;
    }
}

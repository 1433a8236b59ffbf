//! A worker: the same program once more, with a socket to its master as standard input.

use std::env;
use std::fs::File;
use std::future::Future;
use std::io;
use std::mem::take;
use std::net::TcpStream as StdTcpStream;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use common::connection::{Connection, Connections};
use common::error::CannotStart;
use common::guard::open_files;
use common::ko_en;
use common::listen::Listener;
use common::log::warn;
use common::serve::accept_loop;
use nix::unistd::dup2_stdin;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::channel::{self, Inbox, Outbox};
use crate::message::{ToMaster, ToWorker};

/// Names the socket that a worker inherits: see [`channel::identity`].
pub(crate) const SOCKET: &str = "CLUSTER_SOCKET";

/// How often a worker tells its master how many requests it has answered.
const REPORT: Duration = Duration::from_millis(100);

/// How long the master may take over an answer.
const ANSWER: Duration = Duration::from_secs(1);

/// Whoever sends SIGTERM to a worker may be sending it to the master as well, and then nobody
/// is to be replaced: so the worker waits this long before it says that it leaves.
const MASTER_TOO: Duration = Duration::from_millis(50);

/// This process as a worker.
pub struct Worker {
    inbox: Inbox<ToWorker>,
    listeners: Vec<TcpListener>,
    loopback: bool,
    master: Arc<MasterHandle>,
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
            match (inbox.receive().await?, inbox.take_fd()) {
                (Some(ToWorker::Listener), Some(fd)) => {
                    listeners.push(TcpListener::from_std(fd.into())?);
                }
                (Some(ToWorker::Start { loopback }), _) => {
                    let master = Arc::new(MasterHandle::new(outbox));
                    return Ok(Some(Self { inbox, listeners, loopback, master }));
                }
                other => {
                    return Err(CannotStart(ko_en!(
                        "워커가 시작하기 전에 마스터가 사라졌습니다: {other:?}",
                        "The master was gone before its worker had started: {other:?}"
                    )));
                }
            }
        }
    }

    /// What handlers can tell the master, and ask of it.
    pub fn master(&self) -> Arc<MasterHandle> {
        self.master.clone()
    }

    /// Does `connect` with each connection that comes, until the master says that no more
    /// will, or is gone; then finishes what is in flight. Returns the status to exit with.
    ///
    /// # Errors
    /// The system refuses to tell us of signals.
    pub async fn run<C, F>(self, connect: C) -> io::Result<i32>
    where
        C: Fn(TcpStream, Arc<Connection>) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let Self { mut inbox, listeners, loopback, master } = self;
        let stop = master.stop.clone();
        let connections = Connections::new(open_files::limit(), stop, loopback);
        let connect = Arc::new(connect);
        let accepting = (!listeners.is_empty()).then(|| {
            let (listener, connect) = (Listener::inherited(listeners), connect.clone());
            let connect = move |stream, connection| connect(stream, connection);
            tokio::spawn(accept_loop(listener, connections.clone(), connect))
        });
        tokio::spawn(leave_at_sigterm(master.clone(), Signals::new()?));
        tokio::spawn(report(master.clone()));
        master.outbox.send(ToMaster::Ready);
        let mut took = 0;
        loop {
            let message = tokio::select! {
                biased;
                message = inbox.receive() => message,
                // One message for all connections that came together.
                () = std::future::ready(()), if took > 0 => {
                    master.outbox.send(ToMaster::Took(take(&mut took)));
                    continue;
                }
            };
            match message {
                Ok(Some(ToWorker::Connection)) => {
                    let stream = inbox.take_fd().and_then(|fd| into_stream(fd).ok());
                    match stream.and_then(|s| Some((s, connections.try_place()?))) {
                        Some((stream, place)) => {
                            took += 1;
                            let connection = connections.open(place);
                            tokio::spawn(connect(stream, connection));
                        }
                        None => {
                            let before = ToMaster::Took(take(&mut took));
                            master.outbox.send(before);
                            master.outbox.send(ToMaster::Refused);
                        }
                    }
                }
                Ok(Some(ToWorker::Status(json))) => _ = master.status.send_replace(json),
                Ok(Some(ToWorker::Stop)) => {
                    master.stop.cancel();
                    master.outbox.send(ToMaster::Told);
                }
                Ok(Some(ToWorker::Crash)) => master.leave(1),
                Ok(Some(ToWorker::Listener | ToWorker::Start { .. })) => {}
                Ok(None) => break,
                Err(error) => {
                    warn(format_args!("master → worker: {error}"));
                    break;
                }
            }
        }
        // Nothing more will come.
        master.ended.store(true, Relaxed);
        master.stop.cancel();
        if let Some(accepting) = accepting {
            let _ = accepting.await;
        }
        connections.finish().await;
        // What the master has not heard by now it would give to somebody else.
        let _ = timeout(ANSWER, master.outbox.flush()).await;
        Ok(master.status_to_exit_with.get().copied().unwrap_or(0))
    }
}

fn into_stream(fd: OwnedFd) -> io::Result<TcpStream> {
    let stream = StdTcpStream::from(fd);
    stream.set_nonblocking(true)?;
    TcpStream::from_std(stream)
}

/// What a worker tells its master, and asks of it; `process.send` in Node.
pub struct MasterHandle {
    outbox: Outbox<ToMaster>,
    /// Connections of this worker are to end.
    stop: CancellationToken,
    requests: AtomicU64,
    answered: Notify,
    crashing: AtomicBool,
    status_to_exit_with: OnceLock<i32>,
    status: watch::Sender<String>,
    /// The channel has ended: the master hears us, and we hear it no more.
    ended: AtomicBool,
}

impl MasterHandle {
    fn new(outbox: Outbox<ToMaster>) -> Self {
        Self {
            outbox,
            stop: CancellationToken::new(),
            requests: AtomicU64::new(0),
            answered: Notify::new(),
            crashing: AtomicBool::new(false),
            status_to_exit_with: OnceLock::new(),
            status: watch::Sender::default(),
            ended: AtomicBool::new(false),
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
    fn leave(&self, status: i32) {
        if self.status_to_exit_with.set(status).is_ok() {
            self.outbox.send(ToMaster::Leaving);
            self.stop.cancel();
        }
    }

    /// How all workers are, as JSON; a worker that is leaving tells what it heard last. Nothing
    /// when the master has no time for us.
    pub async fn status(&self) -> Option<String> {
        let mut status = self.status.subscribe();
        if !self.ended.load(Relaxed) {
            self.outbox.send(ToMaster::Status);
            timeout(ANSWER, status.changed()).await.ok()?.ok()?;
        }
        let json = status.borrow().clone();
        (!json.is_empty()).then_some(json)
    }

    /// Asks the master to have a worker end with status 1.
    pub fn crash(&self, pid: u32) {
        self.outbox.send(ToMaster::Crash(pid));
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

async fn leave_at_sigterm(master: Arc<MasterHandle>, mut signals: Signals) {
    while signals.terminate.recv().await.is_some() {
        sleep(MASTER_TOO).await;
        if !master.stop.is_cancelled() {
            master.leave(0);
        }
    }
}

/// Tells the master how many requests there were, now and then.
async fn report(master: Arc<MasterHandle>) {
    loop {
        master.answered.notified().await;
        master.outbox.send(ToMaster::Requests(master.requests.load(Relaxed)));
        sleep(REPORT).await;
    }
}

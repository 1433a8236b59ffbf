//! A worker: the same program once more, with a socket to its master as standard input.

use std::fs::File;
use std::future::{Future, ready};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use common::connection::{Connection, Connections};
use common::error::CannotStart;
use common::guard::open_files;
use common::ko_en;
use common::listen::Listener;
use common::log::warn;
use common::serve::accept_loop;
use common::settings::variable;
use common::wire;
use nix::unistd::dup2_stdin;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use crate::channel::{self, Receiver};
use crate::master_handle::{MasterHandle, report, show};
use crate::message::{ToMaster, ToWorker};

/// Names the socket that a worker inherits: see [`channel::identity`].
pub(crate) const SOCKET: &str = "CLUSTER_SOCKET";

/// Whoever sends SIGTERM to a worker may be sending it to the master as well, and then nobody
/// is to be replaced: so the worker waits this long before it says that it leaves.
const MASTER_TOO: Duration = Duration::from_millis(50);

/// This process as a worker.
pub struct Worker {
    receiver: Receiver,
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
        if variable(SOCKET) != Some(channel::identity(&stdin)?) {
            return Ok(None);
        }
        let socket = UnixStream::from(stdin.as_fd().try_clone_to_owned()?);
        let _ = wire::PROCESS.set(format!("{} ", std::process::id()));
        // The clone closes on exec. Standard input becomes what it is for any server.
        dup2_stdin(File::open("/dev/null")?).map_err(io::Error::from)?;
        let (sender, mut receiver) = channel::open(socket)?;
        let mut listeners = Vec::new();
        loop {
            let message = receiver.receive().await?;
            show('<', &message);
            match (message, receiver.take_fd()) {
                (Some(ToWorker::Listener), Some(fd)) => {
                    listeners.push(TcpListener::from_std(fd.into())?);
                }
                (Some(ToWorker::Start(loopback)), _) => {
                    let master = Arc::new(MasterHandle::new(sender));
                    return Ok(Some(Self { receiver, listeners, loopback, master }));
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

    /// Whether all listeners are on loopback addresses.
    pub fn loopback(&self) -> bool {
        self.loopback
    }

    /// The port of the first socket that this worker accepts from itself.
    pub fn port(&self) -> u16 {
        let first = self.listeners.first().and_then(|first| first.local_addr().ok());
        first.map_or(0, |address| address.port())
    }

    /// Does `connect` with each connection that comes, until the master says that no more
    /// will, or is gone; then finishes what is in flight. Returns the status to exit with.
    ///
    /// # Errors
    /// The system refuses to tell us of signals.
    pub async fn run<C, F>(self, connect: C) -> io::Result<i32>
    where
        C: Fn(TcpStream, Arc<Connection>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let Self { mut receiver, listeners, loopback, master } = self;
        let stop = master.stop.clone();
        let connections = Connections::new(open_files::limit(), stop, loopback);
        let listener = Listener::inherited(listeners);
        let accepting = accept_loop(listener, connections.clone(), connect.clone());
        let accepting = tokio::spawn(accepting);
        leave_at_sigterm(master.clone())?;
        tokio::spawn(report(master.clone()));
        master.tell(ToMaster::Ready);
        let mut took = 0;
        loop {
            let message = tokio::select! {
                biased;
                message = receiver.receive() => message,
                // One message for all connections that came together.
                () = ready(()), if took > 0 => {
                    master.tell(ToMaster::Took(took));
                    took = 0;
                    continue;
                }
            };
            message.iter().flatten().for_each(|message| show('<', message));
            match message {
                Ok(Some(ToWorker::Connection)) => {
                    took += 1;
                    // It does not block: the master has accepted it so.
                    let stream = receiver.take_fd().map(Into::into);
                    let stream = stream.and_then(|s| TcpStream::from_std(s).ok());
                    match stream.and_then(|s| Some((s, connections.try_place()?))) {
                        Some((stream, place)) => {
                            tokio::spawn(connect(stream, connections.open(place)));
                        }
                        None => {
                            master.tell(ToMaster::Took(took - 1));
                            master.tell(ToMaster::Refused);
                            took = 0;
                        }
                    }
                }
                Ok(Some(ToWorker::Status(json))) => _ = master.status.send_replace(json),
                Ok(Some(ToWorker::Stop)) => {
                    master.stop.cancel();
                    master.tell(ToMaster::Told);
                }
                Ok(Some(ToWorker::Crash)) => master.leave(1),
                Ok(Some(ToWorker::Listener | ToWorker::Start(_))) => {}
                Ok(None) => break,
                Err(error) => {
                    warn(format_args!("master → worker: {error}"));
                    break;
                }
            }
        }
        // Nothing more will come.
        master.stop.cancel();
        let _ = accepting.await;
        connections.finish().await;
        Ok(master.exit_status.get().copied().unwrap_or(0))
    }
}

/// SIGINT and SIGHUP are caught and left alone: a terminal sends them to all its processes, and
/// what they mean here is the master's business.
fn leave_at_sigterm(master: Arc<MasterHandle>) -> io::Result<()> {
    drop((signal(SignalKind::interrupt())?, signal(SignalKind::hangup())?));
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        while terminate.recv().await.is_some() {
            sleep(MASTER_TOO).await;
            if !master.stop.is_cancelled() {
                master.leave(0);
            }
        }
    });
    Ok(())
}

//! The channel between master and worker: a pair of connected Unix sockets, on which messages
//! go as lines of text, some of them with an open file descriptor.
//!
//! A descriptor travels beside the bytes (file descriptor passing: `SCM_RIGHTS`, unix(7)): the
//! kernel opens the same socket once more in the process that receives it. Not one byte of the
//! connection is copied.

use std::collections::VecDeque;
use std::fmt::Display;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, Shutdown, recvmsg, sendmsg, shutdown,
};
use nix::sys::stat::fstat;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

/// The longest message, in bytes. Whoever sends a longer one has a fault, and no channel.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// Opens one end of a socket pair: `S` is sent, `R` received. It needs a runtime, in which a
/// task does the writing.
///
/// # Errors
/// What the system says when a socket is made nonblocking and watched.
pub fn open<S, R>(socket: StdUnixStream) -> io::Result<(Outbox<S>, Inbox<R>)> {
    socket.set_nonblocking(true)?;
    let socket = Arc::new(UnixStream::from_std(socket)?);
    let (items, queue) = mpsc::unbounded_channel();
    tokio::spawn(write(socket.clone(), queue));
    let inbox =
        Inbox { socket, bytes: Vec::new(), fds: VecDeque::new(), of: PhantomData };
    Ok((Outbox { items, of: PhantomData }, inbox))
}

/// Names a socket: device and inode, the same for its copy in another process.
///
/// # Errors
/// What `fstat(2)` says.
pub fn identity(fd: impl AsFd) -> io::Result<String> {
    let stat = fstat(fd)?;
    Ok(format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// The sending half. Nothing here waits for the other side, which may be busy or stopped: a
/// message is queued, and messages arrive in the order of the calls.
pub struct Outbox<M> {
    items: mpsc::UnboundedSender<Item>,
    of: PhantomData<fn(M)>,
}

enum Item {
    Line(String, Option<Arc<OwnedFd>>),
    Flush(oneshot::Sender<()>),
    Close,
}

// Where the other side is gone there is nobody to tell; the inbox says so.
impl<M: Display> Outbox<M> {
    /// Sends a message.
    pub fn send(&self, message: M) {
        let _ = self.items.send(Item::Line(format!("{message}\n"), None));
    }

    /// Sends a message with an open file.
    pub fn send_with(&self, message: M, fd: Arc<OwnedFd>) {
        let _ = self.items.send(Item::Line(format!("{message}\n"), Some(fd)));
    }

    /// Waits until all that was sent so far is with the system.
    pub async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        let _ = self.items.send(Item::Flush(done));
        let _ = flushed.await;
    }

    /// Closes this direction: after all that was sent so far, the other side reads the end.
    pub fn close(&self) {
        let _ = self.items.send(Item::Close);
    }
}

async fn write(socket: Arc<UnixStream>, mut items: mpsc::UnboundedReceiver<Item>) {
    while let Some(item) = items.recv().await {
        match item {
            Item::Line(line, fd) => {
                if write_line(&socket, &line, fd.as_deref()).await.is_err() {
                    return;
                }
            }
            Item::Flush(done) => _ = done.send(()),
            Item::Close => break,
        }
    }
    let _ = shutdown(socket.as_raw_fd(), Shutdown::Write);
}

async fn write_line(
    socket: &UnixStream,
    line: &str,
    fd: Option<&OwnedFd>,
) -> io::Result<()> {
    let mut rest = line.as_bytes();
    let fd = fd.map(|fd| [fd.as_raw_fd()]);
    let mut fds: &[RawFd] = fd.as_ref().map_or(&[], |fd| fd);
    while !rest.is_empty() {
        let send = || {
            let rights = [ControlMessage::ScmRights(fds)];
            let rights = if fds.is_empty() { &[][..] } else { &rights };
            let (bytes, none) = ([IoSlice::new(rest)], MsgFlags::empty());
            Ok(sendmsg::<()>(socket.as_raw_fd(), &bytes, rights, none, None)?)
        };
        match socket.async_io(Interest::WRITABLE, send).await {
            Ok(sent) => {
                rest = &rest[sent..];
                // It went with the first byte.
                fds = &[];
            }
            // Too many descriptors under way, or no memory: the system's want, and it passes.
            Err(error) if is_shortage(&error) => sleep(Duration::from_millis(10)).await,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn is_shortage(error: &io::Error) -> bool {
    [Errno::ETOOMANYREFS, Errno::ENOBUFS, Errno::ENOMEM]
        .iter()
        .any(|errno| error.raw_os_error() == Some(*errno as i32))
}

/// The receiving half.
pub struct Inbox<M> {
    socket: Arc<UnixStream>,
    bytes: Vec<u8>,
    fds: VecDeque<OwnedFd>,
    of: PhantomData<fn() -> M>,
}

impl<M: FromStr> Inbox<M> {
    /// Waits for the next message; `None` when the other side has closed or is gone. Dropping
    /// the future loses nothing.
    ///
    /// # Errors
    /// What the system says, or a line that is too long or no message.
    pub async fn receive(&mut self) -> io::Result<Option<M>> {
        loop {
            if let Some(end) = self.bytes.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.bytes.drain(..=end).take(end).collect();
                let line = String::from_utf8(line).map_err(io::Error::other)?;
                let message = line
                    .parse()
                    .map_err(|_| io::Error::other(format!("no message: {line:.100}")))?;
                return Ok(Some(message));
            }
            if self.bytes.len() > MAX_MESSAGE {
                return Err(io::Error::other("a message over 64 KiB"));
            }
            let Self { socket, bytes, fds, .. } = self;
            let receive = || receive(socket, bytes, fds);
            match socket.async_io(Interest::READABLE, receive).await {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                // It went without reading all that we had said.
                Err(error) if error.kind() == ErrorKind::ConnectionReset => {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The descriptor that came with the message just received. `None` although one was sent:
    /// this process has as many open files as it may have.
    pub fn take_fd(&mut self) -> Option<OwnedFd> {
        self.fds.pop_front()
    }
}

/// One `recvmsg(2)`: some bytes, and the descriptor that came with them. The kernel never puts
/// the bytes of two descriptors into one.
fn receive(
    socket: &UnixStream,
    bytes: &mut Vec<u8>,
    fds: &mut VecDeque<OwnedFd>,
) -> io::Result<usize> {
    let mut buffer = [0; 4096];
    let mut space = cmsg_space!([RawFd; 1]);
    let mut buffers = [IoSliceMut::new(&mut buffer)];
    let message =
        recvmsg::<()>(socket.as_raw_fd(), &mut buffers, Some(&mut space), FLAGS)?;
    let received = message.bytes;
    // An error here is "truncated": there was no room for one more open file.
    for rights in message.cmsgs().into_iter().flatten() {
        let ControlMessageOwned::ScmRights(numbers) = rights else { continue };
        for number in numbers {
            // SAFETY: the kernel has just opened this descriptor for us, and nobody else
            // knows its number.
            #[expect(unsafe_code, reason = "nix has only the number")]
            let fd = unsafe { OwnedFd::from_raw_fd(number) };
            if FLAGS.is_empty() {
                fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
            }
            fds.push_back(fd);
        }
    }
    bytes.extend_from_slice(&buffer[..received]);
    Ok(received)
}

/// Close-on-exec from the start; Apple's systems need a second call for it.
#[cfg(not(target_vendor = "apple"))]
const FLAGS: MsgFlags = MsgFlags::MSG_CMSG_CLOEXEC;
#[cfg(target_vendor = "apple")]
const FLAGS: MsgFlags = MsgFlags::empty();

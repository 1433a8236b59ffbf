//! The channel between master and worker: a pair of connected Unix sockets, on which messages
//! go as lines of JSON, some of them with an open file descriptor.
//!
//! A descriptor travels beside the bytes (file descriptor passing: `SCM_RIGHTS`, unix(7)): the
//! kernel opens the same socket once more in the process that receives it. Not one byte of the
//! connection is copied.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;

use nix::cmsg_space;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, Shutdown, recvmsg, sendmsg, shutdown,
};
use nix::sys::stat::fstat;
use serde::{Serialize, de::DeserializeOwned};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// The longest message, in bytes. Whoever sends a longer one has a fault, and no channel.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// Opens one end of a socket pair, for a runtime to watch.
///
/// # Errors
/// What the system says when a socket is made nonblocking and watched.
pub fn open(socket: StdUnixStream) -> io::Result<(Sender, Receiver)> {
    socket.set_nonblocking(true)?;
    let socket = Arc::new(UnixStream::from_std(socket)?);
    let buffer = Box::new([0; 4096]);
    let (text, fds) = (Vec::new(), VecDeque::new());
    Ok((Sender(socket.clone()), Receiver { socket, buffer, text, fds }))
}

/// Names a socket: device and inode, the same for its copy in another process.
///
/// # Errors
/// What `fstat(2)` says.
pub fn identity(fd: impl AsFd) -> io::Result<String> {
    let stat = fstat(fd)?;
    Ok(format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// The sending half.
pub struct Sender(Arc<UnixStream>);

impl Sender {
    /// Sends a message, and an open file with it. It never waits: the kernel has room for some
    /// hundred messages, so a side that leaves so many unread hangs.
    ///
    /// # Errors
    /// There is no room, or nobody any more. Then nothing was sent.
    pub fn send(
        &self,
        message: &impl Serialize,
        fd: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        let fd = fd.map(|fd| [fd.as_raw_fd()]);
        let rights = fd.as_ref().map(|fd| [ControlMessage::ScmRights(fd)]);
        let rights = rights.as_ref().map_or(&[][..], |rights| rights);
        let bytes = [IoSlice::new(&line)];
        let none = MsgFlags::empty();
        let sent = sendmsg::<()>(self.0.as_raw_fd(), &bytes, rights, none, None)?;
        if sent < line.len() {
            self.break_off(); // half a message: what follows would make no sense
            return Err(ErrorKind::WriteZero.into());
        }
        Ok(())
    }

    /// Breaks off both directions: this side reads the end, too.
    pub fn break_off(&self) {
        let _ = shutdown(self.0.as_raw_fd(), Shutdown::Both);
    }

    /// Closes this direction: after all that was sent so far, the other side reads the end.
    pub fn close(&self) {
        let _ = shutdown(self.0.as_raw_fd(), Shutdown::Write);
    }
}

/// The receiving half.
pub struct Receiver {
    socket: Arc<UnixStream>,
    buffer: Box<[u8; 4096]>,
    /// What was received and is not a whole message yet.
    text: Vec<u8>,
    fds: VecDeque<OwnedFd>,
}

impl Receiver {
    /// Waits for the next message; `None` when the other side has closed or is gone. Dropping
    /// the future loses nothing.
    ///
    /// # Errors
    /// What the system says, or a line that is too long or no message.
    pub async fn receive<M: DeserializeOwned>(&mut self) -> io::Result<Option<M>> {
        loop {
            if let Some(end) = self.text.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.text.drain(..=end).take(end).collect();
                return Ok(Some(serde_json::from_slice(&line)?));
            }
            if self.text.len() > MAX_MESSAGE {
                return Err(io::Error::other("a message of more than 64 KiB"));
            }
            let socket = self.socket.clone();
            match socket.async_io(Interest::READABLE, || self.receive_some()).await {
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

    /// One `recvmsg(2)`: some bytes, and the descriptor that came with them. The kernel never
    /// puts the bytes of two descriptors into one.
    fn receive_some(&mut self) -> io::Result<usize> {
        let mut space = cmsg_space!([RawFd; 1]);
        let mut buffers = [IoSliceMut::new(&mut self.buffer[..])];
        let socket = self.socket.as_raw_fd();
        let message = recvmsg::<()>(socket, &mut buffers, Some(&mut space), FLAGS)?;
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
                self.fds.push_back(fd);
            }
        }
        self.text.extend_from_slice(&self.buffer[..received]);
        Ok(received)
    }
}

/// Close-on-exec from the start; Apple's systems need a second call for it.
#[cfg(not(target_vendor = "apple"))]
const FLAGS: MsgFlags = MsgFlags::MSG_CMSG_CLOEXEC;
#[cfg(target_vendor = "apple")]
const FLAGS: MsgFlags = MsgFlags::empty();

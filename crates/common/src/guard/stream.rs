//! The stream of one connection, with two things that hyper leaves to us: a time limit for a
//! client that takes nothing of its answer, and a close that does not destroy the answer.

use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::connection::Connection;

/// A client that takes nothing of its answer for this long is gone.
///
/// What it takes is seen when the system has room for more. How soon that is depends on the
/// send buffer: [`crate::listen::SEND_BUFFER`] says what it means for slow clients.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a closed connection is still read from, for what the client was sending.
pub const LINGER: Duration = Duration::from_secs(1);

/// A stream (TCP, or TLS over it) that tells its [`Connection`] what has come.
pub struct GuardedStream<S> {
    stream: S,
    connection: Arc<Connection>,
    // Made when they are needed: a client that keeps up costs no timer.
    write_timeout: Option<Pin<Box<Sleep>>>,
    linger: Option<Pin<Box<Sleep>>>,
}

impl<S> GuardedStream<S> {
    /// Guards `stream`, which is that of `connection`.
    pub fn new(stream: S, connection: Arc<Connection>) -> Self {
        Self { stream, connection, write_timeout: None, linger: None }
    }

    /// What every write comes down to: done, or the clock runs.
    fn timed<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if write.is_ready() {
            self.write_timeout = None;
            return write;
        }
        let clock =
            self.write_timeout.get_or_insert_with(|| Box::pin(sleep(WRITE_TIMEOUT)));
        ready!(clock.as_mut().poll(cx));
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for GuardedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.connection.receives();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for GuardedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.timed(cx, write)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let write = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.timed(cx, write)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let flush = Pin::new(&mut self.stream).poll_flush(cx);
        self.timed(cx, flush)
    }

    /// Says that no more will come; where the client may still be sending, reads on for a
    /// moment. Closing a socket with unread bytes in it sends a reset, and a reset may reach
    /// the client before the answer does: it would never read its own `413` (RFC 9112
    /// section 9.6).
    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            let shutdown = Pin::new(&mut self.stream).poll_shutdown(cx);
            ready!(self.timed(cx, shutdown))?;
        }
        let Self { stream, connection, linger, .. } = &mut *self;
        let mut trash = [0; 4096];
        loop {
            let mut trash = ReadBuf::new(&mut trash);
            match Pin::new(&mut *stream).poll_read(cx, &mut trash) {
                Poll::Ready(Ok(())) if !trash.filled().is_empty() => {
                    connection.receives();
                }
                Poll::Pending if connection.is_unanswered() => {}
                _ => return Poll::Ready(Ok(())),
            }
            let clock = linger.get_or_insert_with(|| Box::pin(sleep(LINGER)));
            if clock.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            if trash.filled().is_empty() {
                return Poll::Pending;
            }
        }
    }
}

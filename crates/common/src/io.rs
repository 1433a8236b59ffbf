//! The bytes of one connection, with the clocks that hyper leaves to us: a client that takes
//! nothing of its answer, and a close that does not destroy the answer before it.

use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::connection::Seat;
use crate::wire::Wire;

/// A client that takes no byte of its answer for this long is gone.
pub const STALL: Duration = Duration::from_secs(30);

/// How long a closed connection stays open to read what the client was still sending.
pub const LINGER: Duration = Duration::from_secs(1);

/// A stream (TCP, or TLS over it) that tells its [`Seat`] what goes on.
pub struct Io<S> {
    stream: S,
    seat: Arc<Seat>,
    wire: Option<Wire>,
    // Made when they are needed: a client that keeps up costs no timer.
    stalled: Option<Pin<Box<Sleep>>>,
    lingering: Option<Pin<Box<Sleep>>>,
}

impl<S> Io<S> {
    pub fn new(stream: S, seat: Arc<Seat>) -> Self {
        let wire = Wire::from_env(seat.id);
        Self { stream, seat, wire, stalled: None, lingering: None }
    }

    /// What every write comes down to: note progress, or run the clock while there is none.
    fn written(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if result.is_ready() {
            self.stalled = None;
            self.seat.answering();
            return result;
        }
        self.wait_for_reader(cx)
    }

    fn wait_for_reader<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        self.seat.blocked();
        let clock = self.stalled.get_or_insert_with(|| Box::pin(sleep(STALL)));
        ready!(clock.as_mut().poll(cx));
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Io<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let read = &buf.filled()[before..];
        if !read.is_empty() {
            self.seat.asking();
            if let Some(wire) = &mut self.wire {
                wire.received(read);
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Io<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        if let (Some(wire), Poll::Ready(Ok(n))) = (&mut self.wire, &result) {
            wire.sent(&buf[..*n]);
        }
        self.written(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        if let (Some(wire), Poll::Ready(Ok(n))) = (&mut self.wire, &result) {
            let mut left = *n;
            for buf in bufs {
                let part = left.min(buf.len());
                wire.sent(&buf[..part]);
                left -= part;
            }
        }
        self.written(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_flush(cx) {
            Poll::Pending => self.wait_for_reader(cx),
            ready => {
                self.stalled = None;
                self.seat.caught_up();
                ready
            }
        }
    }

    /// Says that no more will come, then reads on for a moment. Closing a socket with unread
    /// bytes in it sends a reset, and a reset may reach the client before the answer does: it
    /// would never read its own `413` (RFC 9112 section 9.6).
    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            match Pin::new(&mut self.stream).poll_shutdown(cx) {
                Poll::Pending => return self.wait_for_reader(cx),
                Poll::Ready(result) => result?,
            }
        }
        let this = &mut *self;
        let clock = this.lingering.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        let mut trash = [0; 4096];
        loop {
            if clock.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut trash = ReadBuf::new(&mut trash);
            match ready!(Pin::new(&mut this.stream).poll_read(cx, &mut trash)) {
                Ok(()) if !trash.filled().is_empty() => {}
                _ => return Poll::Ready(Ok(())),
            }
        }
    }
}

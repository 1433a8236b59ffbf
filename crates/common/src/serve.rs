//! The accept loop of lesson 1, with what a real server needs round it: room for new
//! connections, rest after a failed accept, and a stop that cuts nobody off.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::connection::{self, Answer, Seat};
use crate::error::CannotStart;
use crate::listen::{Listener, listen};
use crate::log::{self, say, warn};
use crate::room::Room;
use crate::signal::stop_signal;
use crate::{Error, Request};

/// How long what is in flight may take once the server was told to stop.
pub const DRAIN: Duration = Duration::from_secs(10);

/// How long the listener stays open at the end for those who are at the door. A connection
/// that the system has taken shows itself only when the runtime next asks for events.
const SWEEP: Duration = Duration::from_millis(20);

/// The pause after a failed accept: without it the loop would spin at full speed until
/// somebody closes a file.
const REST: Duration = Duration::from_millis(100);

/// Serves HTTP/1.1 with `handle` until SIGINT or SIGTERM, then finishes what is in flight.
///
/// `http.createServer(handle).listen(port)` in Node, but for the limits.
///
/// # Errors
/// The server cannot start: see [`listen`].
pub async fn serve<H, F, B>(port: u16, handle: H) -> Result<(), CannotStart>
where
    H: Fn(Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<hyper::Response<B>, Error>> + Send + 'static,
    B: Answer,
{
    let listener = listen(port).await?;
    let stop = stop_signal()?;
    say(listener.first_line("http"));
    run(listener, stop, move |stream, seat| {
        connection::http1(stream, seat, handle.clone())
    })
    .await;
    Ok(())
}

/// Where connections come from: the sockets of a [`Listener`], or another process that
/// accepts and hands them on.
pub trait Source: Send {
    /// Waits for the next connection. Dropping the future must lose none.
    fn accept(&mut self) -> impl Future<Output = io::Result<TcpStream>> + Send;
}

impl Source for Listener {
    async fn accept(&mut self) -> io::Result<TcpStream> {
        Listener::accept(self).await
    }
}

/// The loop: takes connections from `source`, gives each to a task of its own that does
/// `connect` with it, and drains them when `stop` is done.
///
/// A source has only failed for the moment, except with `UnexpectedEof`: nothing will come
/// from it any more, and that too is a reason to drain.
pub async fn run<S, C, F>(mut source: S, stop: impl Future<Output = ()>, connect: C)
where
    S: Source,
    C: Fn(TcpStream, Arc<Seat>) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    log::in_background();
    let mut stop = pin!(stop);
    let mut room = Room::new();
    let mut failing = false;
    let mut rest_until = Instant::now();
    loop {
        let resting = failing && rest_until > Instant::now();
        tokio::select! {
            () = &mut stop => break,
            Some(left) = room.tasks.join_next_with_id() => room.left(left),
            () = sleep_until(rest_until), if resting => {}
            () = sleep(REST), if room.is_full() => room.ask_to_leave(),
            accepted = source.accept(), if !resting && !room.is_full() => match accepted {
                Ok(stream) => {
                    failing = false;
                    room.enter(|seat| connect(stream, seat));
                }
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => {
                    if !failing {
                        let again = "연결을 받지 못했습니다. 다시 시도합니다";
                        warn(format_args!("{again}: {error}"));
                    }
                    failing = true;
                    rest_until = Instant::now() + REST;
                    if is_out_of_files(&error) {
                        room.shrink();
                    }
                }
            }
        }
    }
    // What the system has accepted for us already, we do not lose: one last sweep.
    let _ = timeout(SWEEP, async {
        while let Ok(stream) = source.accept().await {
            room.enter(|seat| connect(stream, seat));
        }
    })
    .await;
    drop(source);
    room.drain().await;
    log::flush();
}

/// EMFILE or ENFILE, which have no `ErrorKind` of their own; on Windows WSAEMFILE.
fn is_out_of_files(error: &io::Error) -> bool {
    let codes: &[i32] = if cfg!(windows) { &[10024] } else { &[23, 24] };
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

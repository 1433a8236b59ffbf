//! The accept loop of lesson 1, with what a real server needs round it: room for new
//! connections, rest after a failed accept, and a stop that cuts nobody off.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::connection::{self, Answer, FIRST_BYTE, Seat};
use crate::error::CannotStart;
use crate::listen::{Listener, listen};
use crate::log::{self, say, warn};
use crate::signal::stop_signal;
use crate::{Error, Request};

/// Connections open at once. Below the 1,024 files that most systems let a process have.
pub const MAX_CONNECTIONS: usize = 1000;

/// Files that are left to the handlers where a process may have few.
const SPARE: usize = 16;

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

/// The connections that are open now.
struct Room {
    tasks: JoinSet<()>,
    seats: HashMap<Id, Arc<Seat>>,
    entered: u64,
    limit: usize,
}

impl Room {
    fn new() -> Self {
        let limit = MAX_CONNECTIONS;
        Self { tasks: JoinSet::new(), seats: HashMap::new(), entered: 0, limit }
    }

    fn is_full(&self) -> bool {
        self.seats.len() >= self.limit
    }

    fn enter<F>(&mut self, connect: impl FnOnce(Arc<Seat>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.entered += 1;
        let seat = Arc::new(Seat::new(self.entered));
        let task = self.tasks.spawn(connect(seat.clone()));
        self.seats.insert(task.id(), seat);
        if self.is_full() {
            self.ask_to_leave();
        }
    }

    fn left(&mut self, left: Result<(Id, ()), JoinError>) {
        self.seats.remove(&left.map_or_else(|panic| panic.id(), |(id, ())| id));
        if self.seats.len() < self.limit / 2 {
            self.limit = MAX_CONNECTIONS;
        }
    }

    /// This process may have fewer files than we thought. Connections are not all of them: the
    /// handlers need some too, or every answer from now on is an error.
    fn shrink(&mut self) {
        self.limit = self.seats.len().saturating_sub(SPARE).max(SPARE);
        self.ask_to_leave();
    }

    /// A new client is worth more than one that only waits: where there is no room, those
    /// without a request that have been quiet for longest go. Without this, some hundred idle
    /// clients would keep everybody out until their clocks run down.
    fn ask_to_leave(&self) {
        let quiet = |seat: &&Arc<Seat>| seat.is_waiting() && seat.quiet() >= FIRST_BYTE;
        let mut seats: Vec<_> = self.seats.values().filter(quiet).collect();
        seats.sort_by_cached_key(|seat| Reverse(seat.quiet()));
        let too_many = (self.seats.len() + 1).saturating_sub(self.limit);
        seats.iter().take(too_many).for_each(|seat| seat.make_room());
    }

    /// Lets everyone finish, for [`DRAIN`] at most.
    async fn drain(mut self) {
        for seat in self.seats.values() {
            seat.drain();
        }
        let all_left = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(DRAIN, all_left).await.is_err() {
            warn(format_args!("{}초 안에 끝나지 않은 연결을 끊습니다.", DRAIN.as_secs()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection that leaves when it is told to, as one without a request does.
    fn enter(room: &mut Room) -> u64 {
        room.enter(|seat| async move { seat.told().await });
        room.entered
    }

    async fn who_left(room: &mut Room) -> Vec<u64> {
        let before: Vec<u64> = room.seats.values().map(|seat| seat.id).collect();
        while let Ok(Some(left)) =
            timeout(Duration::from_millis(1), room.tasks.join_next_with_id()).await
        {
            room.left(left);
        }
        let stays = |id: &u64| room.seats.values().any(|seat| seat.id == *id);
        before.into_iter().filter(|id| !stays(id)).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn the_quietest_makes_room_and_who_has_just_come_does_not() {
        let mut room = Room::new();
        room.limit = 3;
        let first = enter(&mut room);
        let second = enter(&mut room);
        sleep(Duration::from_secs(1)).await;
        room.seats.values().find(|seat| seat.id == first).unwrap().asking();
        sleep(Duration::from_millis(10)).await;
        enter(&mut room);
        assert!(room.is_full());
        assert_eq!(who_left(&mut room).await, [second]);
        enter(&mut room);
        assert!(
            who_left(&mut room).await.is_empty(),
            "all others have just been heard of"
        );
        sleep(Duration::from_secs(1)).await;
        room.ask_to_leave();
        assert_eq!(who_left(&mut room).await, [first]);
    }

    #[tokio::test(start_paused = true)]
    async fn with_few_files_some_are_kept_for_the_handlers() {
        let mut room = Room::new();
        for _ in 0..50 {
            enter(&mut room);
        }
        sleep(Duration::from_secs(1)).await;
        room.shrink();
        assert_eq!(who_left(&mut room).await.len(), SPARE + 1);
        assert!(!room.is_full());
    }
}

//! Room for connections: how many are open, who leaves where there is no room for more, and
//! the end of them all.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::timeout;

use crate::connection::{FIRST_BYTE, Seat};
use crate::log::warn;
use crate::serve::DRAIN;

/// Connections open at once. Below the 1,024 files that most systems let a process have.
const MAX_CONNECTIONS: usize = 1000;

/// Files that are left to the handlers where a process may have few.
const SPARE: usize = 16;

/// The connections that are open now.
pub struct Room {
    /// One for each connection.
    pub tasks: JoinSet<()>,
    seats: HashMap<Id, Arc<Seat>>,
    entered: u64,
    limit: usize,
}

impl Room {
    /// Nobody is here yet.
    pub fn new() -> Self {
        let limit = MAX_CONNECTIONS;
        Self { tasks: JoinSet::new(), seats: HashMap::new(), entered: 0, limit }
    }

    /// Nobody else may enter now.
    pub fn is_full(&self) -> bool {
        self.seats.len() >= self.limit
    }

    /// Gives a connection a seat, and a task of its own that does `connect` with it.
    pub fn enter<F>(&mut self, connect: impl FnOnce(Arc<Seat>) -> F)
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

    /// Takes note of a task that has ended.
    pub fn left(&mut self, left: Result<(Id, ()), JoinError>) {
        self.seats.remove(&left.map_or_else(|panic| panic.id(), |(id, ())| id));
        if self.seats.len() < self.limit / 2 {
            self.limit = MAX_CONNECTIONS;
        }
    }

    /// This process may have fewer files than we thought. Connections are not all of them: the
    /// handlers need some too, or every answer from now on is an error.
    pub fn shrink(&mut self) {
        self.limit = self.seats.len().saturating_sub(SPARE).max(SPARE);
        self.ask_to_leave();
    }

    /// A new client is worth more than one that only waits: where there is no room, those
    /// without a request that have been quiet for longest go. Without this, some hundred idle
    /// clients would keep everybody out until their clocks run down.
    pub fn ask_to_leave(&self) {
        let quiet = |seat: &&Arc<Seat>| seat.is_waiting() && seat.quiet() >= FIRST_BYTE;
        let mut seats: Vec<_> = self.seats.values().filter(quiet).collect();
        seats.sort_by_cached_key(|seat| Reverse(seat.quiet()));
        let too_many = (self.seats.len() + 1).saturating_sub(self.limit);
        seats.iter().take(too_many).for_each(|seat| seat.make_room());
    }

    /// Lets everyone finish, for [`DRAIN`] at most.
    pub async fn drain(mut self) {
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
    use std::time::Duration;
    use tokio::time::sleep;

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

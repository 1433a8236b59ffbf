//! Sessions in this process's memory, and the two things that `const session = {}` lacks: an
//! end for what has expired, and one for what grows.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::Id;

/// Sessions that fit; for a new one beyond them the oldest goes.
pub const MAX_SESSIONS: usize = 100_000;

/// Expired sessions that are dropped in one go: nobody waits for the lock any longer.
const AT_ONCE: usize = 1000;

/// The sessions of one process.
pub struct Memory {
    ttl: Duration,
    sessions: Arc<Mutex<Sessions>>,
}

#[derive(Default)]
struct Sessions {
    by_id: HashMap<Id, Session>,
    /// From oldest to newest. All live equally long, so the first is also the next to expire.
    by_age: BTreeMap<u64, Id>,
    added: u64,
}

/// `{ name, expires }`, and the place in `by_age`.
struct Session {
    name: String,
    expires: Instant,
    age: u64,
}

impl Memory {
    /// Sessions that live for `ttl`. A task drops the expired ones; it ends with the store.
    pub fn new(ttl: Duration) -> Self {
        let sessions = Arc::default();
        tokio::spawn(drop_expired(Arc::downgrade(&sessions), ttl));
        Self { ttl, sessions }
    }

    /// How long a session lives.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Keeps a new session; where there are [`MAX_SESSIONS`], the oldest makes room.
    pub fn insert(&self, id: Id, name: String) {
        let mut sessions = lock(&self.sessions);
        let expires = Instant::now() + self.ttl;
        if sessions.by_id.len() >= MAX_SESSIONS {
            sessions.remove_oldest();
        }
        sessions.added += 1;
        let age = sessions.added;
        sessions.by_age.insert(age, id);
        sessions.by_id.insert(id, Session { name, expires, age });
    }

    /// The name in a session; nothing for one that is unknown or expired.
    pub fn name(&self, id: Id) -> Option<String> {
        let sessions = lock(&self.sessions);
        let session = sessions.by_id.get(&id)?;
        (session.expires > Instant::now()).then(|| session.name.clone())
    }

    /// Forgets a session, known or not.
    pub fn remove(&self, id: Id) {
        let mut sessions = lock(&self.sessions);
        if let Some(session) = sessions.by_id.remove(&id) {
            sessions.by_age.remove(&session.age);
        }
    }
}

impl Sessions {
    fn remove_oldest(&mut self) {
        if let Some((_, id)) = self.by_age.pop_first() {
            self.by_id.remove(&id);
        }
    }

    /// When the oldest session expires.
    fn next_end(&self) -> Option<Instant> {
        let (_, id) = self.by_age.first_key_value()?;
        self.by_id.get(id).map(|session| session.expires)
    }

    /// Drops some of what has expired; says when to come again.
    fn drop_some(&mut self, now: Instant) -> Option<Instant> {
        for _ in 0..AT_ONCE {
            match self.next_end() {
                Some(end) if end <= now => self.remove_oldest(),
                _ => break,
            }
        }
        self.next_end()
    }
}

/// Without anyone asking: waits for the end of the oldest session and drops it, and so on.
async fn drop_expired(sessions: Weak<Mutex<Sessions>>, ttl: Duration) {
    loop {
        let Some(sessions) = sessions.upgrade() else { return };
        let next = lock(&sessions).drop_some(Instant::now());
        drop(sessions);
        match next {
            Some(end) => sleep_until(end).await,
            // Whoever comes meanwhile does not expire before that either.
            None => sleep(ttl).await,
        }
    }
}

// Every change is whole before the lock is released, so a panic leaves none half done.
fn lock(sessions: &Mutex<Sessions>) -> MutexGuard<'_, Sessions> {
    sessions.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(memory: &Memory) -> usize {
        let sessions = lock(&memory.sessions);
        assert_eq!(sessions.by_id.len(), sessions.by_age.len());
        sessions.by_id.len()
    }

    fn add(memory: &Memory, name: &str) -> Id {
        let id = Id::random().unwrap();
        memory.insert(id, name.into());
        id
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_lives_for_its_time_and_is_dropped_without_anyone_asking() {
        let memory = Memory::new(Duration::from_secs(300));
        let first = add(&memory, "first");
        sleep(Duration::from_secs(299)).await;
        let second = add(&memory, "second");
        assert_eq!(memory.name(first).as_deref(), Some("first"));
        sleep(Duration::from_millis(1001)).await;
        assert_eq!(memory.name(first), None);
        assert_eq!(memory.name(second).as_deref(), Some("second"));
        sleep(Duration::from_millis(1)).await;
        assert_eq!(count(&memory), 1, "nobody asked for it");
        sleep(Duration::from_secs(300)).await;
        assert_eq!(count(&memory), 0);
        add(&memory, "after a quiet time");
        sleep(Duration::from_secs(301)).await;
        assert_eq!(count(&memory), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_expired_session_is_none_even_before_it_is_dropped() {
        let memory = Memory::new(Duration::from_secs(300));
        let id = add(&memory, "Annie");
        tokio::time::advance(Duration::from_secs(300)).await;
        assert_eq!(memory.name(id), None);
    }

    #[tokio::test(start_paused = true)]
    async fn for_the_100_001st_the_oldest_goes() {
        let memory = Memory::new(Duration::from_secs(300));
        let ids: Vec<Id> =
            (0..MAX_SESSIONS).map(|n| add(&memory, &n.to_string())).collect();
        memory.remove(ids[1]);
        add(&memory, "in the free place");
        assert_eq!(memory.name(ids[0]).as_deref(), Some("0"));
        add(&memory, "one too many");
        assert_eq!(memory.name(ids[0]), None);
        assert_eq!(memory.name(ids[2]).as_deref(), Some("2"));
        assert_eq!(count(&memory), MAX_SESSIONS);
        // All of them expire at once: dropped bit by bit, and all of them.
        sleep(Duration::from_secs(301)).await;
        assert_eq!(count(&memory), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn logins_and_logouts_leave_nothing_behind() {
        let memory = Memory::new(Duration::from_secs(300));
        for _ in 0..1000 {
            let id = add(&memory, "Annie");
            memory.remove(id);
            memory.remove(id);
        }
        assert_eq!(count(&memory), 0);
    }

    #[tokio::test]
    async fn the_task_ends_with_the_store() {
        let memory = Memory::new(Duration::from_millis(1));
        let sessions = Arc::downgrade(&memory.sessions);
        drop(memory);
        let tasks = tokio::runtime::Handle::current().metrics();
        while tasks.num_alive_tasks() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(sessions.upgrade().is_none());
    }
}

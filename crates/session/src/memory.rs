//! Sessions in this process's memory, and the two things that `const session = {}` lacks: an
//! end for what has expired, and one for what grows.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::{Id, MAX_SESSIONS};

/// Bytes of names that are held: for a name beyond them the oldest sessions go, too.
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// Expired sessions that are dropped in one go: nobody waits for the lock any longer.
const AT_ONCE: usize = 1000;

/// The sessions of one process.
pub struct Memory {
    /// How long a session lives.
    pub ttl: Duration,
    sessions: Arc<Mutex<Sessions>>,
}

#[derive(Default)]
struct Sessions {
    by_id: HashMap<Id, Session>,
    /// From oldest to newest. As all have the same lifetime, the first is also the next one to
    /// expire: nobody has to look through the others.
    by_age: BTreeMap<u64, Id>,
    added: u64,
    /// The length of all names.
    bytes: usize,
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

    /// Keeps a new session; where there is no room for it, the oldest go.
    pub fn insert(&self, id: Id, name: String) {
        let mut sessions = lock(&self.sessions);
        sessions.bytes += name.len();
        sessions.added += 1;
        let (age, expires) = (sessions.added, Instant::now() + self.ttl);
        sessions.by_age.insert(age, id);
        sessions.by_id.insert(id, Session { name, expires, age });
        while sessions.by_id.len() > MAX_SESSIONS || sessions.bytes > MAX_BYTES {
            sessions.remove_oldest();
        }
    }

    /// The name in a session; nothing for one that is unknown or expired.
    pub fn name(&self, id: Id) -> Option<String> {
        let sessions = lock(&self.sessions);
        let session = sessions.by_id.get(&id)?;
        (session.expires > Instant::now()).then(|| session.name.clone())
    }

    /// Forgets a session, known or not.
    pub fn remove(&self, id: Id) {
        lock(&self.sessions).remove(id);
    }
}

impl Sessions {
    fn remove(&mut self, id: Id) {
        if let Some(session) = self.by_id.remove(&id) {
            self.by_age.remove(&session.age);
            self.bytes -= session.name.len();
        }
    }

    fn remove_oldest(&mut self) {
        if let Some((_, id)) = self.by_age.first_key_value() {
            self.remove(*id);
        }
    }

    /// Drops some of what has expired; says when to come again.
    fn drop_some(&mut self, now: Instant) -> Option<Instant> {
        for _ in 0..AT_ONCE {
            let (_, id) = self.by_age.first_key_value()?;
            let end = self.by_id.get(id)?.expires;
            if end > now {
                return Some(end);
            }
            self.remove_oldest();
        }
        Some(now)
    }
}

/// Without anyone asking: waits for the end of the oldest session and drops it, and so on.
async fn drop_expired(sessions: Weak<Mutex<Sessions>>, ttl: Duration) {
    loop {
        // Weak: this task alone does not keep the store alive.
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

// Every change is whole before the lock is released, so after a panic (which "poisons" it) the
// sessions are still good.
fn lock(sessions: &Mutex<Sessions>) -> MutexGuard<'_, Sessions> {
    sessions.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(memory: &Memory) -> usize {
        let sessions = lock(&memory.sessions);
        assert_eq!(sessions.by_id.len(), sessions.by_age.len());
        let bytes: usize = sessions.by_id.values().map(|s| s.name.len()).sum();
        assert_eq!(sessions.bytes, bytes);
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
    async fn long_names_push_the_oldest_out_too() {
        let memory = Memory::new(Duration::from_secs(300));
        let long = "x".repeat(4000);
        let first = add(&memory, &long);
        for _ in 1..MAX_BYTES / 4000 {
            add(&memory, &long);
        }
        assert!(memory.name(first).is_some());
        add(&memory, &long);
        assert!(memory.name(first).is_none());
        assert_eq!(count(&memory), MAX_BYTES / 4000);
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

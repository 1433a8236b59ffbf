//! What the site remembers: accounts, sessions, users, and how often somebody tried to log in; in
//! this process, or in Redis, where each change is one step. Nothing here grows without an end.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{Error, ko_en};
use hyper::StatusCode;
use redis::{Cmd, cmd};
use session::{Id, memory};

use crate::redis::Redis;

/// Users that there may be: whoever asks for the list is sent all of them.
const MAX_USERS: usize = 2_000;

/// Where all that is.
pub enum Store {
    /// In this process alone: sessions that are bounded, and the rest.
    Memory(memory::Memory, Mutex<Rest>),
    /// In Redis: how long a session lives, and the list of users as it last was there, with the
    /// mark of that state.
    Redis(Redis, Duration, Mutex<(String, Bytes)>),
}

/// What a process remembers besides the sessions.
#[derive(Default)]
pub struct Rest {
    /// Name to password, shown name and epoch.
    accounts: HashMap<String, (String, String, u64)>,
    users: BTreeMap<u64, String>,
    last_user: u64,
    /// Since when, and how many for each key.
    logins: (Option<Instant>, HashMap<String, u64>),
}

/// Who is logged in.
pub struct Account {
    /// What they log in with.
    pub name: String,
    /// What others see.
    pub shown: String,
}

// While Redis is away, each of these is 503.
impl Store {
    /// The one in Redis, or an empty one in this process; sessions live for `ttl`.
    pub fn new(redis: Option<Redis>, ttl: Duration) -> Self {
        match redis {
            Some(redis) => Self::Redis(redis, ttl, Mutex::default()),
            None => Self::Memory(memory::Memory::new(ttl), Mutex::default()),
        }
    }

    /// How long a session lives.
    pub fn ttl(&self) -> Duration {
        match self {
            Self::Memory(sessions, _) => sessions.ttl,
            Self::Redis(_, ttl, _) => *ttl,
        }
    }

    /// A new account with the hash of a password; false where the name is taken.
    pub async fn create_account(&self, name: &str, hash: &str) -> Result<bool, Error> {
        let done = match self {
            Self::Memory(_, rest) => lock(rest).create_account(name, hash),
            Self::Redis(redis, ..) => {
                let (keys, args) =
                    ([&*account(name), "accounts"], [hash, name, "100000"]);
                redis.write(&script(include_str!("create.lua"), &keys, &args)).await?
            }
        };
        if done < 0 { Err(full()) } else { Ok(done == 1) }
    }

    /// The hash of an account's password, and its epoch.
    pub async fn account(&self, name: &str) -> Result<Option<(String, u64)>, Error> {
        let (hash, epoch): (Option<_>, Option<_>) = match self {
            Self::Memory(_, rest) => {
                lock(rest).accounts.get(name).map(|it| (it.0.clone(), it.2)).unzip()
            }
            Self::Redis(redis, ..) => {
                let fields = ["password", "epoch"];
                redis.read(cmd("HMGET").arg(account(name)).arg(&fields)).await?
            }
        };
        Ok(hash.zip(epoch))
    }

    /// Another name that is shown.
    pub async fn set_shown(&self, name: &str, shown: &str) -> Result<(), Error> {
        match self {
            Self::Memory(_, rest) => {
                lock(rest).change(name, |it| it.1 = shown.to_owned())
            }
            Self::Redis(redis, ..) => {
                redis.write(&change(name, &["HSET", "shown", shown])).await?
            }
        }
        Ok(())
    }

    /// Ends all sessions of an account: what belongs to an earlier epoch counts no more.
    pub async fn end_all(&self, name: &str) -> Result<(), Error> {
        match self {
            Self::Memory(_, rest) => lock(rest).change(name, |it| it.2 += 1),
            Self::Redis(redis, ..) => {
                redis.write(&change(name, &["HINCRBY", "epoch", "1"])).await?
            }
        }
        Ok(())
    }

    /// A new session.
    pub async fn begin(&self, name: &str, epoch: u64) -> Result<Id, Error> {
        let (id, value) = (Id::random()?, format!("{epoch} {name}"));
        match self {
            Self::Memory(sessions, _) => sessions.insert(id, value),
            Self::Redis(redis, ttl, _) => {
                let mut set = cmd("SET");
                set.arg(session(id)).arg(value).arg("EX").arg(ttl.as_secs());
                redis.write::<()>(&set).await?;
            }
        }
        Ok(id)
    }

    /// Whose session this is.
    pub async fn who(&self, id: Option<Id>) -> Result<Option<Account>, Error> {
        let Some(id) = id else { return Ok(None) };
        let found = match self {
            Self::Memory(sessions, rest) => sessions.name(id).and_then(|value| {
                let (epoch, name) = value.split_once(' ')?;
                let (_, shown, current) = lock(rest).accounts.get(name)?.clone();
                (current.to_string() == epoch).then(|| (name.to_owned(), shown))
            }),
            Self::Redis(redis, ..) => {
                redis.read(&script(include_str!("who.lua"), &[&session(id)], &[])).await?
            }
        };
        Ok(found.map(|(name, shown)| Account { name, shown }))
    }

    /// Ends a session, known or not.
    pub async fn end(&self, id: Option<Id>) -> Result<(), Error> {
        let Some(id) = id else { return Ok(()) };
        match self {
            Self::Memory(sessions, _) => sessions.remove(id),
            Self::Redis(redis, ..) => redis.write(cmd("DEL").arg(session(id))).await?,
        }
        Ok(())
    }

    /// All users as JSON: `{"1":"Annie"}`.
    pub async fn users(&self) -> Result<Bytes, Error> {
        match self {
            Self::Memory(_, rest) => Ok(json(&lock(rest).users)),
            Self::Redis(redis, _, last) => {
                let (mark, old) = lock(last).clone();
                let get =
                    script(include_str!("users.lua"), &["users", "users:mark"], &[&mark]);
                let Some((mark, users)) = redis.read::<Option<(_, _)>>(&get).await?
                else {
                    return Ok(old);
                };
                let new = json(&users);
                *lock(last) = (mark, new.clone());
                Ok(new)
            }
        }
    }

    /// The name of one user; 404 for an unknown one.
    pub async fn user(&self, id: u64) -> Result<String, Error> {
        let name = match self {
            Self::Memory(_, rest) => lock(rest).users.get(&id).cloned(),
            Self::Redis(redis, ..) => {
                redis.read(cmd("HGET").arg("users").arg(id)).await?
            }
        };
        name.ok_or_else(Error::not_found)
    }

    /// Gives a user this name, or removes it where there is no name; without an id it is a new
    /// user. Returns its id; 404 for an unknown one, 507 where there are too many.
    pub async fn change_user(&self, id: Option<u64>, name: &str) -> Result<u64, Error> {
        let done: i64 = match self {
            Self::Memory(_, rest) => lock(rest).change_user(id, name),
            Self::Redis(redis, ..) => {
                let keys = ["users", "users:last", "users:mark"];
                let id = id.map(|id| id.to_string()).unwrap_or_default();
                let args =
                    [&*Id::random()?.to_string(), &id, name, &MAX_USERS.to_string()];
                redis.write(&script(include_str!("user.lua"), &keys, &args)).await?
            }
        };
        let found = if done == 0 { Err(Error::not_found()) } else { Ok(done) };
        u64::try_from(found?).map_err(|_| full())
    }

    /// Counts one more attempt to log in; says how many it were within a minute.
    pub async fn count_login(&self, key: &str) -> Result<u64, Error> {
        match self {
            Self::Memory(_, rest) => Ok(lock(rest).count(key)),
            Self::Redis(redis, ..) => {
                let key = format!("logins:{key}");
                redis.write(&script(include_str!("count.lua"), &[&key], &[])).await
            }
        }
    }
}

// Numbers as the scripts have them: 0 for what is not done, -1 where there is no room.
impl Rest {
    fn create_account(&mut self, name: &str, hash: &str) -> i64 {
        let (count, taken) = (self.accounts.len(), self.accounts.contains_key(name));
        if taken || count >= 10_000 {
            return if taken { 0 } else { -1 };
        }
        self.accounts.insert(name.to_owned(), (hash.to_owned(), name.to_owned(), 0));
        1
    }

    fn change(&mut self, name: &str, change: impl FnMut(&mut (String, String, u64))) {
        self.accounts.get_mut(name).into_iter().for_each(change);
    }

    fn change_user(&mut self, id: Option<u64>, name: &str) -> i64 {
        match id {
            None if self.users.len() >= MAX_USERS => return -1,
            Some(id) if !self.users.contains_key(&id) => return 0,
            _ => self.last_user += u64::from(id.is_none()),
        }
        let id = id.unwrap_or(self.last_user);
        match name {
            "" => self.users.remove(&id),
            _ => self.users.insert(id, name.to_owned()),
        };
        id as i64
    }

    /// All are forgotten after a minute, or where they are too many.
    fn count(&mut self, key: &str) -> u64 {
        let (since, counts) = &mut self.logins;
        let is_old = since.is_none_or(|since| since.elapsed() >= Duration::from_secs(60));
        if is_old || counts.len() >= 100_000 {
            counts.clear();
            *since = Some(Instant::now());
        }
        let count = counts.entry(key.to_owned()).or_default();
        *count += 1;
        *count
    }
}

// Every change is whole before the lock is released, so a panic leaves none half done.
fn lock<T>(all: &Mutex<T>) -> MutexGuard<'_, T> {
    all.lock().unwrap_or_else(PoisonError::into_inner)
}

fn script(text: &str, keys: &[&str], args: &[&str]) -> Cmd {
    let mut eval = cmd("EVAL");
    eval.arg(text).arg(keys.len()).arg(keys).arg(args);
    eval
}

fn change(name: &str, args: &[&str]) -> Cmd {
    script(include_str!("change.lua"), &[&account(name)], args)
}

fn account(name: &str) -> String {
    format!("account:{name}")
}

fn session(id: Id) -> String {
    format!("session:{id}")
}

fn json(users: &BTreeMap<u64, String>) -> Bytes {
    // A map from numbers to strings always is some JSON.
    serde_json::to_vec(users).unwrap_or_default().into()
}

fn full() -> Error {
    let message = ko_en!("더 받을 자리가 없습니다.", "There is no room for more.");
    Error::new(StatusCode::INSUFFICIENT_STORAGE, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn memory_has_room_for_so_many_and_no_more() {
        let store = Store::new(None, Duration::from_secs(60));
        for n in 0..10_000 {
            assert!(store.create_account(&n.to_string(), "hash").await.unwrap());
        }
        assert!(!store.create_account("7", "hash").await.unwrap());
        assert_eq!(store.create_account("annie", "hash").await.unwrap_err().status, 507);
        for n in 1..=MAX_USERS as u64 {
            assert_eq!(store.change_user(None, "Annie").await.unwrap(), n);
        }
        assert_eq!(store.change_user(None, "Annie").await.unwrap_err().status, 507);
        assert_eq!(store.change_user(Some(2), "").await.unwrap(), 2);
        assert_eq!(store.change_user(Some(2), "").await.unwrap_err().status, 404);
        assert_eq!(store.change_user(None, "Annie").await.unwrap(), MAX_USERS as u64 + 1);
    }

    #[tokio::test]
    async fn an_earlier_epoch_counts_no_more() {
        let store = Store::new(None, Duration::from_secs(60));
        store.create_account("annie", "hash").await.unwrap();
        let id = Some(store.begin("annie", 0).await.unwrap());
        store.set_shown("annie", "Annie").await.unwrap();
        assert_eq!(store.who(id).await.unwrap().unwrap().shown, "Annie");
        store.end_all("annie").await.unwrap();
        assert!(store.who(id).await.unwrap().is_none());
        assert_eq!(store.account("annie").await.unwrap(), Some(("hash".into(), 1)));
        for n in 1..=3 {
            assert_eq!(store.count_login("annie").await.unwrap(), n);
        }
    }
}

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
    /// In this process alone.
    Memory(Memory),
    /// In Redis.
    Redis(Shared),
}

/// What one process remembers.
pub struct Memory {
    sessions: memory::Memory,
    all: Mutex<All>,
}

#[derive(Default)]
struct All {
    /// Name to password, shown name and epoch.
    accounts: HashMap<String, (String, String, u64)>,
    users: BTreeMap<u64, String>,
    last_user: u64,
    logins: HashMap<String, (Instant, u64)>,
}

/// What all servers with the same Redis remember.
pub struct Shared {
    redis: Redis,
    ttl: Duration,
    /// The list of users as it last was: its mark in Redis, and its JSON.
    users: Mutex<(String, Bytes)>,
}

/// Who is logged in.
pub struct Account {
    /// What he logs in with.
    pub name: String,
    /// What others see.
    pub shown: String,
}

// While Redis is away, each of these is 503.
impl Store {
    /// An empty one in this process, with sessions that live for `ttl`.
    pub fn memory(ttl: Duration) -> Self {
        Self::Memory(Memory { sessions: memory::Memory::new(ttl), all: Mutex::default() })
    }

    /// The one in Redis.
    pub fn redis(redis: Redis, ttl: Duration) -> Self {
        Self::Redis(Shared { redis, ttl, users: Mutex::default() })
    }

    /// How long a session lives.
    pub fn ttl(&self) -> Duration {
        match self {
            Self::Memory(memory) => memory.sessions.ttl,
            Self::Redis(shared) => shared.ttl,
        }
    }

    /// Whether it can be asked at the moment.
    pub fn is_there(&self) -> bool {
        match self {
            Self::Memory(_) => true,
            Self::Redis(shared) => shared.redis.is_there(),
        }
    }

    /// A new account with the hash of a password; false where the name is taken.
    pub async fn create_account(&self, name: &str, hash: &str) -> Result<bool, Error> {
        let done = match self {
            Self::Memory(memory) => {
                let accounts = &mut lock(&memory.all).accounts;
                let done = i64::from(!accounts.contains_key(name));
                if done == 1 && accounts.len() >= 10_000 {
                    -1
                } else {
                    let account = || (hash.to_owned(), name.to_owned(), 0);
                    accounts.entry(name.to_owned()).or_insert_with(account);
                    done
                }
            }
            Self::Redis(Shared { redis, .. }) => {
                let keys = [&*account(name), "accounts"];
                let mut create = script(include_str!("create.lua"), &keys);
                redis.write(create.arg(hash).arg(name).arg(100_000)).await?
            }
        };
        if done < 0 { Err(full()) } else { Ok(done == 1) }
    }

    /// The hash of an account's password, and its epoch.
    pub async fn account(&self, name: &str) -> Result<Option<(String, u64)>, Error> {
        Ok(match self {
            Self::Memory(memory) => {
                let known = |(hash, _, epoch)| (hash, epoch);
                lock(&memory.all).accounts.get(name).cloned().map(known)
            }
            Self::Redis(Shared { redis, .. }) => {
                let mut get = cmd("HMGET");
                get.arg(account(name)).arg("password").arg("epoch");
                let (hash, epoch) = redis.read::<(Option<_>, Option<_>)>(&get).await?;
                hash.zip(epoch)
            }
        })
    }

    /// Another name that is shown.
    pub async fn set_shown(&self, name: &str, shown: &str) -> Result<(), Error> {
        match self {
            Self::Memory(memory) => {
                if let Some(account) = lock(&memory.all).accounts.get_mut(name) {
                    account.1 = shown.to_owned();
                }
            }
            Self::Redis(it) => it.change(name, "HSET", "shown", shown).await?,
        }
        Ok(())
    }

    /// Ends all sessions of an account: what belongs to an earlier epoch counts no more.
    pub async fn end_all(&self, name: &str) -> Result<(), Error> {
        match self {
            Self::Memory(memory) => {
                if let Some(account) = lock(&memory.all).accounts.get_mut(name) {
                    account.2 += 1;
                }
            }
            Self::Redis(it) => it.change(name, "HINCRBY", "epoch", "1").await?,
        }
        Ok(())
    }

    /// A new session.
    pub async fn begin(&self, name: &str, epoch: u64) -> Result<Id, Error> {
        let (id, value) = (Id::random()?, format!("{epoch} {name}"));
        match self {
            Self::Memory(memory) => memory.sessions.insert(id, value),
            Self::Redis(Shared { redis, ttl, .. }) => {
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
            Self::Memory(memory) => memory.sessions.name(id).and_then(|value| {
                let (epoch, name) = value.split_once(' ')?;
                let all = lock(&memory.all);
                let account = all.accounts.get(name)?;
                let current = account.2.to_string() == epoch;
                current.then(|| (name.to_owned(), account.1.clone()))
            }),
            Self::Redis(Shared { redis, .. }) => {
                redis.read(&script(include_str!("who.lua"), &[&session(id)])).await?
            }
        };
        Ok(found.map(|(name, shown)| Account { name, shown }))
    }

    /// Ends a session, known or not.
    pub async fn end(&self, id: Option<Id>) -> Result<(), Error> {
        match (self, id) {
            (Self::Memory(memory), Some(id)) => memory.sessions.remove(id),
            (Self::Redis(Shared { redis, .. }), Some(id)) => {
                redis.write::<()>(cmd("DEL").arg(session(id))).await?;
            }
            _ => {}
        }
        Ok(())
    }

    /// All users as JSON: `{"1":"Annie"}`.
    pub async fn users(&self) -> Result<Bytes, Error> {
        match self {
            Self::Memory(memory) => Ok(json(&lock(&memory.all).users)),
            Self::Redis(Shared { redis, users, .. }) => {
                let (mark, old) = lock(users).clone();
                let mut get = script(include_str!("users.lua"), &["users", "users:mark"]);
                let new: Option<(String, BTreeMap<u64, String>)> =
                    redis.read(get.arg(mark)).await?;
                let Some((mark, new)) = new else { return Ok(old) };
                let new = json(&new);
                *lock(users) = (mark, new.clone());
                Ok(new)
            }
        }
    }

    /// The name of one user.
    pub async fn user(&self, id: u64) -> Result<String, Error> {
        let name = match self {
            Self::Memory(memory) => lock(&memory.all).users.get(&id).cloned(),
            Self::Redis(it) => it.redis.read(cmd("HGET").arg("users").arg(id)).await?,
        };
        name.ok_or_else(Error::not_found)
    }

    /// Gives a user this name, or removes it where there is no name; without an id it is a new
    /// user. Returns its id; 404 for an unknown one, 507 where there are too many.
    pub async fn change_user(&self, id: Option<u64>, name: &str) -> Result<u64, Error> {
        let done: i64 = match self {
            Self::Memory(memory) => lock(&memory.all).change_user(id, name),
            Self::Redis(Shared { redis, .. }) => {
                let keys = ["users", "users:last", "users:mark"];
                let id = id.map(|id| id.to_string()).unwrap_or_default();
                let mut change = script(include_str!("user.lua"), &keys);
                change.arg(Id::random()?.to_string()).arg(id).arg(name).arg(MAX_USERS);
                redis.write(&change).await?
            }
        };
        match done {
            0 => Err(Error::not_found()),
            _ => u64::try_from(done).map_err(|_| full()),
        }
    }

    /// One more attempt to log in, and how many it were within a minute.
    pub async fn count_login(&self, key: &str) -> Result<u64, Error> {
        match self {
            Self::Memory(memory) => Ok(lock(&memory.all).count(key)),
            Self::Redis(Shared { redis, .. }) => {
                let key = format!("logins:{key}");
                redis.write(&script(include_str!("count.lua"), &[&key])).await
            }
        }
    }
}

impl Shared {
    async fn change(
        &self,
        name: &str,
        what: &str,
        field: &str,
        to: &str,
    ) -> Result<(), Error> {
        let mut change = script(include_str!("change.lua"), &[&account(name)]);
        self.redis.write(change.arg(what).arg(field).arg(to)).await
    }
}

impl All {
    fn change_user(&mut self, id: Option<u64>, name: &str) -> i64 {
        match id {
            None if self.users.len() >= MAX_USERS => return -1,
            Some(id) if !self.users.contains_key(&id) => return 0,
            _ => {}
        }
        self.last_user += u64::from(id.is_none());
        let id = id.unwrap_or(self.last_user);
        match name {
            "" => self.users.remove(&id),
            _ => self.users.insert(id, name.to_owned()),
        };
        id as i64
    }

    fn count(&mut self, key: &str) -> u64 {
        let now = Instant::now();
        let is_live = |since: Instant| now - since < Duration::from_secs(60);
        if self.logins.len() >= 100_000 {
            self.logins.retain(|_, (since, _)| is_live(*since));
        }
        if self.logins.len() >= 100_000 {
            self.logins.clear();
        }
        let entry = self.logins.entry(key.to_owned()).or_insert((now, 0));
        if !is_live(entry.0) {
            *entry = (now, 0);
        }
        entry.1 += 1;
        entry.1
    }
}

// Every change is whole before the lock is released, so a panic leaves none half done.
fn lock<T>(all: &Mutex<T>) -> MutexGuard<'_, T> {
    all.lock().unwrap_or_else(PoisonError::into_inner)
}

fn script(text: &str, keys: &[&str]) -> Cmd {
    let mut eval = cmd("EVAL");
    eval.arg(text).arg(keys.len()).arg(keys);
    eval
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

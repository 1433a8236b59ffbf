//! Sessions in Redis: several processes and machines share them, a restart of the server
//! forgets nobody, and Redis drops what has expired by itself.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use common::error::CannotStart;
use common::log::{Escaped, warn};
use common::settings::{cannot_start, variable};
use common::{Error, ko_en};
use hyper::StatusCode;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::io::tcp::TcpSettings;
use redis::{
    Client, Cmd, ConnectionInfo, ErrorKind, FromRedisValue, IntoConnectionInfo,
    RedisError, ServerErrorKind, cmd,
};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{Id, MAX_SESSIONS};

/// How long one attempt to connect, and one answer, may take.
pub const ATTEMPT: Duration = Duration::from_secs(1);

/// How long a request waits for Redis, all attempts together, before it is answered with 503.
pub const PATIENCE: Duration = Duration::from_millis(1500);

/// How long a server waits for Redis before it says that it cannot start.
const START: Duration = Duration::from_secs(4);

/// Keeps a session, and no more than so many. A script is one step to Redis.
const ADD: &str = include_str!("add.lua");

/// The Redis that `REDIS_URL` names: one connection for the whole process. Where it breaks,
/// whoever was using it gets an error, and the next command connects anew.
pub struct Redis {
    client: Client,
    manager: Mutex<ConnectionManager>,
}

impl Redis {
    /// The Redis that `REDIS_URL` names, not connected yet; nothing where it is not set.
    ///
    /// # Errors
    /// A bad URL. The message holds no password.
    pub fn from_env() -> Result<Option<Self>, CannotStart> {
        let Some(url) = variable("REDIS_URL") else { return Ok(None) };
        let redis = parse(&url).and_then(|info| {
            let client = Client::open(info).ok()?;
            Some(Self { manager: Mutex::new(connect(&client).ok()?), client })
        });
        redis.map(Some).ok_or_else(|| {
            let what = ko_en!(
                "REDIS_URL은 redis://[사용자:비밀번호@]호스트[:포트][/번호] 형식이어야 하고, \
                 비밀번호의 특수 문자는 %로 인코딩합니다",
                "REDIS_URL must be redis://[user:password@]host[:port][/number], with special \
                 characters of the password encoded by %"
            );
            cannot_start(what, "REDIS_URL", "redis://localhost:6379")
        })
    }

    /// Asks whether Redis is there, for 4 s at most.
    ///
    /// # Errors
    /// No Redis answers a PING at that address.
    pub async fn check(&self) -> Result<(), CannotStart> {
        // A Redis that wants a password lets anybody connect, and refuses every command.
        let why = match timeout(START, self.once::<()>(&cmd("PING"))).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => Escaped(&error.to_string()).to_string(),
            Err(_) => {
                let seconds = START.as_secs();
                ko_en!("{seconds}초 안에 답이 없습니다", "no answer within {seconds} s")
            }
        };
        let address = self.client.get_connection_info().addr();
        let what = ko_en!(
            "Redis({address})에 연결할 수 없습니다: {why}. Redis를 켜거나(redis-server) \
             Redis 없이 시작합니다",
            "No Redis at {address}: {why}. Start one (redis-server), or go without"
        );
        Err(cannot_start(what, "REDIS_URL", ""))
    }

    /// One command.
    ///
    /// # Errors
    /// Redis is away, or refuses.
    pub async fn once<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        let mut manager = self.manager().clone();
        let result = command.query_async(&mut manager).await;
        if result.as_ref().is_err_and(is_demoted)
            && let Ok(new) = connect(&self.client)
        {
            *self.manager() = new;
        }
        result
    }

    fn manager(&self) -> std::sync::MutexGuard<'_, ConnectionManager> {
        self.manager.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection is made at the first command.
fn connect(client: &Client) -> Result<ConnectionManager, RedisError> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(ATTEMPT))
        .set_response_timeout(Some(ATTEMPT))
        // Every request is an attempt, so nobody has to wait between two of them.
        .set_number_of_retries(0);
    ConnectionManager::new_lazy_with_config(client.clone(), config)
}

/// This Redis is a replica now, and another one takes writes. A new connection finds it, where
/// the name leads there by then.
fn is_demoted(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
}

/// Reads `redis://[user:password@]host[:port][/number]`; nothing where it is no such URL.
pub fn parse(url: &str) -> Option<ConnectionInfo> {
    // An `@` behind the address: a password with a bare `/`, `?` or `#` in it, the first half
    // of which would be taken for a host, and shown as one.
    let (_, rest) = url.split_once("://")?;
    if rest.find(['/', '?', '#']).is_some_and(|end| rest[end..].contains('@')) {
        return None;
    }
    let info = url.into_connection_info().ok()?;
    let tcp = TcpSettings::default().set_nodelay(true);
    // A machine that is gone without a word: the system, too, gives up on it soon.
    #[cfg(target_os = "linux")]
    let tcp = tcp.set_user_timeout(4 * ATTEMPT);
    Some(info.set_tcp_settings(tcp)).filter(|info| info.addr().is_supported())
}

/// The sessions of all servers that use the same Redis: `session:<id>` is `{"name":"Annie"}`,
/// with the time to live that Redis counts down itself.
pub struct Shared {
    /// How long a session lives.
    pub ttl: Duration,
    redis: Redis,
    /// The last command failed: said once, not at every request.
    away: AtomicBool,
}

// While Redis is away, each of these is 503.
impl Shared {
    /// Sessions that live for `ttl`.
    pub fn new(redis: Redis, ttl: Duration) -> Self {
        Self { ttl, redis, away: AtomicBool::new(false) }
    }

    /// Keeps a new session.
    pub async fn insert(&self, id: Id, name: String) -> Result<(), Error> {
        let value = json!({ "name": name }).to_string();
        let ttl = self.ttl.as_millis() as u64;
        let mut add = cmd("EVAL");
        add.arg(ADD).arg(2).arg(key(id)).arg("sessions");
        self.run(add.arg(value).arg(ttl).arg(MAX_SESSIONS)).await
    }

    /// The name in a session; nothing for one that is unknown or expired.
    pub async fn name(&self, id: Id) -> Result<Option<String>, Error> {
        let value: Option<Vec<u8>> = self.run(cmd("GET").arg(key(id))).await?;
        // What somebody else has written there and is no session counts as none.
        let value = value.and_then(|json| serde_json::from_slice::<Value>(&json).ok());
        Ok(value.and_then(|value| value["name"].as_str().map(str::to_owned)))
    }

    /// Forgets a session, known or not.
    pub async fn remove(&self, id: Id) -> Result<(), Error> {
        self.run::<()>(cmd("DEL").arg(key(id))).await?;
        self.run(cmd("ZREM").arg("sessions").arg(key(id))).await
    }

    async fn run<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Error> {
        // Once more where the connection broke: each of these commands may be repeated.
        let twice = async {
            let result = self.redis.once(command).await;
            let is_broken = |e: &RedisError| e.is_io_error() && !e.is_timeout();
            match &result {
                Err(e) if is_demoted(e) || is_broken(e) => self.redis.once(command).await,
                _ => result,
            }
        };
        let why = match timeout(PATIENCE, twice).await {
            Ok(Ok(value)) => {
                if self.away.load(Relaxed) && self.away.swap(false, Relaxed) {
                    warn(ko_en!("Redis가 다시 답합니다.", "Redis answers again."));
                }
                return Ok(value);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => ko_en!("제한 시간 안에 답이 없습니다", "no answer in time"),
        };
        if !self.away.swap(true, Relaxed) {
            let why = Escaped(&why);
            warn(ko_en!(
                "Redis가 답하지 않습니다: {why}",
                "Redis does not answer: {why}"
            ));
        }
        let message = ko_en!(
            "세션 저장소(Redis)가 답하지 않습니다. 잠시 뒤 다시 시도하세요.",
            "The store of the sessions (Redis) does not answer. Try again in a moment."
        );
        Err(Error::new(StatusCode::SERVICE_UNAVAILABLE, message))
    }
}

fn key(id: Id) -> String {
    format!("session:{id}")
}

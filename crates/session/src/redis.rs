//! Sessions in Redis: several processes and machines share them, a restart of the server
//! forgets nobody, and Redis drops what has expired by itself.

use std::env;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use common::Error;
use common::error::CannotStart;
use common::listen::program;
use common::log::{Escaped, warn};
use hyper::StatusCode;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::io::tcp::TcpSettings;
use redis::{
    Client, Cmd, ConnectionInfo, FromRedisValue, IntoConnectionInfo, RedisError, cmd,
};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::Id;

/// How long one attempt to connect, and one answer, may take.
pub const ATTEMPT: Duration = Duration::from_secs(1);

/// How long a request waits for Redis, all attempts together, before it is answered with 503.
pub const PATIENCE: Duration = Duration::from_millis(1500);

/// How long a server waits for Redis before it says that it cannot start.
const START: Duration = Duration::from_secs(4);

/// Connects to the Redis that `REDIS_URL` names; nothing where it is not set, or empty.
///
/// The connection is one for the whole process and cheap to clone. Where it breaks, whoever
/// was using it gets an error, and the next command connects anew: each attempt, and each
/// answer, takes [`ATTEMPT`] at most. No message of this function holds a password.
///
/// # Errors
/// A bad URL, or no Redis that answers a PING at that address within 4 s.
pub async fn connect_from_env() -> Result<Option<ConnectionManager>, CannotStart> {
    let Some(url) = env::var_os("REDIS_URL").filter(|url| !url.is_empty()) else {
        return Ok(None);
    };
    let info = url.to_str().and_then(parse).ok_or_else(bad_url)?;
    let address = info.addr().to_string();
    let cannot = |why: String| {
        CannotStart(format!(
            "Redis({address})에 연결할 수 없습니다: {why}. Redis를 켜거나(redis-server) \
             Redis 없이 실행: REDIS_URL= cargo run -p {}",
            program()
        ))
    };
    match timeout(START, connect(info)).await {
        Ok(Ok(connection)) => Ok(Some(connection)),
        Ok(Err(error)) => Err(cannot(Escaped(&error.to_string()).to_string())),
        Err(_) => Err(cannot(format!("{}초 안에 답이 없습니다", START.as_secs()))),
    }
}

async fn connect(info: ConnectionInfo) -> Result<ConnectionManager, RedisError> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(ATTEMPT))
        .set_response_timeout(Some(ATTEMPT))
        // Every request is an attempt, so nobody has to wait between two of them.
        .set_number_of_retries(0);
    let client = Client::open(info)?;
    let mut connection = ConnectionManager::new_with_config(client, config).await?;
    // A Redis that wants a password lets anybody connect, and refuses every command.
    cmd("PING").query_async::<()>(&mut connection).await?;
    Ok(connection)
}

/// Reads `redis://[user:password@]host[:port][/number]`.
fn parse(url: &str) -> Option<ConnectionInfo> {
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

fn bad_url() -> CannotStart {
    CannotStart(format!(
        "REDIS_URL 값이 잘못되었습니다: redis://[사용자:비밀번호@]호스트[:포트][/번호] \
         형식이어야 하고, 비밀번호의 특수 문자는 %로 인코딩합니다. \
         예: REDIS_URL=redis://localhost:6379 cargo run -p {}",
        program()
    ))
}

/// The sessions of all servers that use the same Redis: `session:<id>` is `{"name":"Annie"}`,
/// with the time to live that Redis counts down itself.
pub struct Redis {
    connection: ConnectionManager,
    ttl: Duration,
    /// The last command failed: said once, not at every request.
    away: AtomicBool,
}

impl Redis {
    /// Sessions that live for `ttl`.
    pub fn new(connection: ConnectionManager, ttl: Duration) -> Self {
        Self { connection, ttl, away: AtomicBool::new(false) }
    }

    /// How long a session lives.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Keeps a new session.
    ///
    /// # Errors
    /// 503 while Redis is away; so do all of these.
    pub async fn insert(&self, id: Id, name: String) -> Result<(), Error> {
        let value = json!({ "name": name }).to_string();
        let ttl = self.ttl.as_millis() as u64;
        // One command: a session without an end cannot come into being.
        let set = cmd("SET").arg(key(id)).arg(value).arg("PX").arg(ttl).take();
        self.run(&set).await
    }

    /// The name in a session; nothing for one that is unknown or expired.
    ///
    /// # Errors
    /// 503 while Redis is away.
    pub async fn name(&self, id: Id) -> Result<Option<String>, Error> {
        let value: Option<Vec<u8>> = self.run(cmd("GET").arg(key(id))).await?;
        // What somebody else has written there and is no session counts as none.
        let value = value.and_then(|json| serde_json::from_slice::<Value>(&json).ok());
        Ok(value.and_then(|value| value["name"].as_str().map(str::to_owned)))
    }

    /// Forgets a session, known or not.
    ///
    /// # Errors
    /// 503 while Redis is away.
    pub async fn remove(&self, id: Id) -> Result<(), Error> {
        self.run(cmd("DEL").arg(key(id))).await
    }

    /// One command, and once more where the connection broke: all of these may be repeated.
    async fn run<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Error> {
        let mut connection = self.connection.clone();
        let attempts = async {
            match command.query_async(&mut connection).await {
                Err(error) if error.is_io_error() && !error.is_timeout() => {
                    command.query_async(&mut connection).await
                }
                result => result,
            }
        };
        let why = match timeout(PATIENCE, attempts).await {
            Ok(Ok(value)) => {
                if self.away.swap(false, Relaxed) {
                    warn("Redis가 다시 답합니다.");
                }
                return Ok(value);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".into(),
        };
        if !self.away.swap(true, Relaxed) {
            warn(format_args!("Redis가 답하지 않습니다: {}", Escaped(&why)));
        }
        Err(Error::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "세션 저장소(Redis)가 답하지 않습니다. 잠시 뒤 다시 시도하세요.",
        ))
    }
}

fn key(id: Id) -> String {
    format!("session:{id}")
}

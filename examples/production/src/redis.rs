//! One connection to Redis, which a task keeps alive: a request takes the one that is there, and
//! waits a little where there is none.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use common::error::CannotStart;
use common::log::{Escaped, warn};
use common::settings::{cannot_start, digits};
use common::{Error, ko_en};
use hyper::StatusCode;
use redis::aio::MultiplexedConnection;
use redis::sentinel::{SentinelClient, SentinelNodeConnectionInfo, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, RedisError, Role, cmd,
};
use session::redis::parse;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Commands that failed, and connections that broke or could not be made.
pub static ERRORS: AtomicU64 = AtomicU64::new(0);

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(1);
/// How long it may take to find the master, to connect and to get a first answer.
const CONNECT: Duration = Duration::from_secs(4);
/// How long a request waits for Redis.
const PATIENCE: Duration = Duration::from_millis(1500);
const PING_EVERY: Duration = Duration::from_millis(500);
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(200);

/// The Redis of a URL.
#[derive(Clone)]
pub struct Redis {
    link: Arc<watch::Sender<Link>>,
    _keeper: Arc<JoinSet<()>>, // ends with the last clone
}

/// The connection and its number, or why there is none.
type Link = Result<(u64, MultiplexedConnection), String>;

impl Redis {
    /// The Redis that `url` names, with `ca` (PEM) as the only authority where it is given. A
    /// task connects to it, now and whenever it has to.
    ///
    /// # Errors
    /// A bad URL or authority. The message holds neither.
    pub fn open(url: &str, ca: Option<Vec<u8>>) -> Result<Self, CannotStart> {
        let server = Server::parse(url, ca).ok_or_else(|| {
            let what = ko_en!(
                "REDIS_URL이나 REDIS_CA(PEM)가 잘못되었습니다. redis-sentinel에는 포트와 마스터 \
                 이름이 있어야 하고, 비밀번호의 특수 문자는 %로 인코딩합니다",
                "REDIS_URL or REDIS_CA (PEM) is wrong. redis-sentinel needs ports and the name \
                 of a master; special characters of a password are encoded by %"
            );
            cannot_start(what, "REDIS_URL", "redis://localhost:6379")
        })?;
        let link = Arc::new(watch::Sender::new(Err("not connected yet".into())));
        let mut keeper = JoinSet::new();
        keeper.spawn(keep(server, link.clone()));
        Ok(Self { link, _keeper: Arc::new(keeper) })
    }

    /// Whether there is a connection that answers.
    pub fn is_there(&self) -> bool {
        self.link.borrow().is_ok()
    }

    /// Waits for a connection.
    ///
    /// # Errors
    /// There is none in time, and why (without any password).
    pub async fn wait(&self, patience: Duration) -> Result<(), String> {
        let late = timeout(patience, self.current()).await.is_err();
        let why = self.link.borrow().as_ref().err().cloned();
        why.filter(|_| late).map_or(Ok(()), Err)
    }

    /// A command that changes nothing: asked once more where the connection breaks.
    ///
    /// # Errors
    /// 503 while Redis is away.
    pub async fn read<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Error> {
        self.run(command, is_broken).await
    }

    /// A command that changes something: where the connection breaks, nobody knows whether it
    /// did, and it is not repeated.
    ///
    /// # Errors
    /// 503 while Redis is away.
    pub async fn write<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Error> {
        self.run(command, was_not_done).await
    }

    async fn run<T: FromRedisValue>(
        &self,
        command: &Cmd,
        is_harmless: fn(&RedisError) -> bool,
    ) -> Result<T, Error> {
        let attempts = async {
            let first = self.once(command).await;
            let again = first.as_ref().is_err_and(is_harmless);
            if again { self.once(command).await } else { first }
        };
        let why = match timeout(PATIENCE, attempts).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(why)) => Some(why),
            Err(_) => None,
        };
        let message = ko_en!(
            "저장소(Redis)가 답하지 않습니다. 잠시 뒤 다시 시도하세요.",
            "The store (Redis) does not answer. Try again in a moment."
        );
        let mut error = Error::new(StatusCode::SERVICE_UNAVAILABLE, message);
        // That it is away is said once, by the task. What is said here is a full memory, say.
        let why = why.filter(|why| !why.is_timeout() && !is_broken(why));
        error.detail = why.map(|why| why.to_string());
        Err(error.retry_after(1))
    }

    async fn once<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, RedisError> {
        let (number, mut connection) = self.current().await;
        command.query_async(&mut connection).await.inspect_err(|why| {
            ERRORS.fetch_add(1, Relaxed);
            // Not after a timeout: whether it is a slow command or a dead server, PING says.
            self.link.send_if_modified(|link| {
                let ends = is_broken(why) && matches!(link, Ok((n, _)) if *n == number);
                ends.then(|| *link = Err(why.to_string())).is_some()
            });
        })
    }

    async fn current(&self) -> (u64, MultiplexedConnection) {
        let mut link = self.link.subscribe();
        loop {
            if let Ok(link) = &*link.borrow_and_update() {
                return link.clone();
            }
            let _ = link.changed().await; // the sender is in `self`
        }
    }
}

/// Another connection may be better.
fn is_broken(why: &RedisError) -> bool {
    why.is_io_error() && !why.is_timeout() || was_not_done(why)
}

/// The server refuses because of what it is at the moment: a replica, or only just started.
fn was_not_done(why: &RedisError) -> bool {
    matches!(why.code(), Some("READONLY" | "LOADING" | "MASTERDOWN"))
}

/// Connects, waits for the end of the connection, and so on.
async fn keep(mut server: Server, link: Arc<watch::Sender<Link>>) {
    let mut said = false;
    for number in 0.. {
        let why = match timeout(CONNECT, server.connect()).await {
            Ok(Ok(connection)) => {
                if std::mem::take(&mut said) {
                    warn(ko_en!("Redis가 다시 답합니다.", "Redis answers again."));
                }
                let _ = link.send_replace(Ok((number, connection.clone())));
                end(connection, link.subscribe()).await
            }
            Ok(Err(why)) => why.to_string(),
            Err(_) => "no connection in time".into(),
        };
        ERRORS.fetch_add(1, Relaxed);
        if !std::mem::replace(&mut said, true) {
            let why = Escaped(&why);
            warn(ko_en!(
                "Redis가 답하지 않습니다: {why}",
                "Redis does not answer: {why}"
            ));
        }
        let _ = link.send_replace(Err(why));
        sleep(BETWEEN_ATTEMPTS).await;
    }
}

/// Why a connection ended: a PING failed, or a request threw it away.
async fn end(mut it: MultiplexedConnection, mut link: watch::Receiver<Link>) -> String {
    loop {
        let thrown_away = async {
            let end = link.wait_for(Result::is_err).await.ok()?;
            end.as_ref().err().cloned()
        };
        if let Ok(Some(why)) = timeout(PING_EVERY, thrown_away).await {
            return why;
        }
        if let Err(why) = ping(&mut it).await {
            return why.to_string();
        }
    }
}

/// One whose own disk is full refuses changes and PING (MISCONF), and still reads.
async fn ping(it: &mut MultiplexedConnection) -> Result<(), RedisError> {
    match cmd("PING").query_async::<()>(it).await {
        Err(why) if why.code() == Some("MISCONF") => Ok(()),
        result => result,
    }
}

enum Server {
    Direct(Client),
    Sentinel(SentinelClient),
}

impl Server {
    fn parse(url: &str, ca: Option<Vec<u8>>) -> Option<Self> {
        let Some(rest) = url.strip_prefix("redis-sentinel://") else {
            let info = parse(url)?;
            let Some(ca) = ca else { return Client::open(info).ok().map(Self::Direct) };
            ca.windows(11).find(|part| part == b"CERTIFICATE")?;
            let ca = redis::TlsCertificates { client_tls: None, root_cert: Some(ca) };
            return Client::build_with_tls(info, ca).ok().map(Self::Direct);
        };
        let at = rest.rfind('@').map_or(0, |at| at + 1);
        let (hosts, master) =
            rest[at..].split_once('/').filter(|(_, m)| !m.is_empty())?;
        let sentinel = |host: &str| {
            digits::<u16>(host.rsplit_once(':')?.1)?;
            parse(&format!("redis://{host}"))
        };
        let sentinels = hosts.split(',').map(sentinel).collect::<Option<Vec<_>>>()?;
        let like = parse(&format!("redis://{}localhost", &rest[..at]))?;
        let node = SentinelNodeConnectionInfo::default()
            .set_redis_connection_info(like.redis_settings().clone())
            .set_tcp_settings(like.tcp_settings().clone());
        let kind = SentinelServerType::Master;
        SentinelClient::build(sentinels, master, Some(node), kind)
            .ok()
            .map(Self::Sentinel)
    }

    async fn connect(&mut self) -> Result<MultiplexedConnection, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(ANSWER))
            .set_response_timeout(Some(ANSWER));
        let mut connection = match self {
            Self::Direct(it) => {
                it.get_multiplexed_async_connection_with_config(&config).await
            }
            Self::Sentinel(it) => it.get_async_connection_with_config(&config).await,
        }?;
        // A server that wants a password lets anybody connect, and refuses every command.
        ping(&mut connection).await?;
        // Who may not ask for the role learns it at the first change.
        if let Ok(Role::Replica { .. }) = cmd("ROLE").query_async(&mut connection).await {
            return Err((ErrorKind::Io, "a replica, which takes no changes").into());
        }
        Ok(connection)
    }
}

//! `/visits`: what one process can count by itself, and what it takes Redis to count.

use std::process;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use common::error::CannotStart;
use common::reply::{self, Reply, personal};
use redis::cmd;
use serde_json::json;
use session::redis::Redis;
use tokio::time::timeout;

/// The counter in Redis. It outlives the workers, and the master: `redis-cli del` ends it.
const KEY: &str = "cluster:visits";

/// How long an answer waits for Redis. `null` soon is better than a number late.
const PATIENCE: Duration = Duration::from_secs(1);

/// The visits that this worker has answered.
pub struct Visits {
    own: AtomicU64,
    /// Connected when it is first asked: a worker starts without Redis too.
    redis: Option<Redis>,
}

impl Visits {
    /// With the Redis that `REDIS_URL` names, or without.
    ///
    /// # Errors
    /// A bad URL.
    pub fn from_env() -> Result<Self, CannotStart> {
        Ok(Self { own: AtomicU64::new(0), redis: Redis::from_env()? })
    }

    /// Counts one, here and in Redis: `{"pid":101,"own":3,"all":5}`.
    pub async fn count(&self) -> Reply {
        let own = self.own.fetch_add(1, Relaxed) + 1;
        let all = timeout(PATIENCE, self.count_all()).await.ok().flatten();
        let (pid, all) = (process::id(), json!(all));
        let visits = format!(r#"{{"pid":{pid},"own":{own},"all":{all}}}"#);
        let mut reply = reply::json(visits);
        personal(&mut reply);
        reply
    }

    /// `INCR` adds one and returns the sum in one step: two workers never read the same
    /// number. Nothing without `REDIS_URL`, or while Redis is away.
    async fn count_all(&self) -> Option<u64> {
        self.redis.as_ref()?.once(cmd("INCR").arg(KEY)).await.ok()
    }
}

/// What the master does before anything else: a `REDIS_URL` that leads nowhere is better said
/// once than found out by every worker.
///
/// # Errors
/// No Redis answers there.
pub async fn check_redis() -> Result<(), CannotStart> {
    match Redis::from_env()? {
        Some(redis) => redis.check().await,
        None => Ok(()),
    }
}

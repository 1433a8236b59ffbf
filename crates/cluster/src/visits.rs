//! `/visits`: what one process can count by itself, and what it takes Redis to count.

use std::process;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use common::error::CannotStart;
use common::reply::{self, Reply, personal};
use redis::aio::ConnectionManager;
use serde_json::json;
use session::redis::connect_from_env;
use tokio::sync::OnceCell;
use tokio::time::timeout;

/// The counter in Redis. It outlives the workers, and the master: `redis-cli del` ends it.
const KEY: &str = "cluster:visits";

/// How long an answer waits for Redis. `null` soon is better than a number late.
const PATIENCE: Duration = Duration::from_secs(1);

/// The visits that this worker has answered.
#[derive(Default)]
pub struct Visits {
    own: AtomicU64,
    redis: OnceCell<Option<ConnectionManager>>,
}

impl Visits {
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
        // A worker starts without Redis too: here it connects when it is first asked.
        let connection = self.redis.get_or_try_init(connect_from_env).await.ok()?;
        let mut connection = connection.clone()?;
        redis::cmd("INCR").arg(KEY).query_async(&mut connection).await.ok()
    }
}

/// What the master does before anything else: a `REDIS_URL` that leads nowhere is better said
/// once than found out by every worker.
///
/// # Errors
/// No Redis answers there.
pub async fn check_redis() -> Result<(), CannotStart> {
    connect_from_env().await.map(drop)
}

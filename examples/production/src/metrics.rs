//! What is counted, in each worker and for the whole cluster, in the text form of Prometheus.
//!
//! A worker tells its master every second; the master adds up. What a worker has counted
//! stays when it ends, so no counter ever falls.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cluster::MasterHandle;
use tokio::time::sleep;

use crate::redis::Redis;

/// Names with labels, as Prometheus writes them, and their values.
pub type Samples = BTreeMap<String, f64>;

/// The upper bounds of the histogram, in seconds.
const BOUNDS: [f64; 9] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0];

/// How often a worker tells its master.
const REPORT: Duration = Duration::from_secs(1);

static REQUESTS: Mutex<BTreeMap<(&'static str, u16), u64>> = Mutex::new(BTreeMap::new());
static LATENCY: [AtomicU64; BOUNDS.len() + 1] = [const { AtomicU64::new(0) }; 10];
static LATENCY_US: AtomicU64 = AtomicU64::new(0);
static CONNECTIONS: AtomicI64 = AtomicI64::new(0);
static HANDSHAKES: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

/// How a handshake ended.
#[derive(Clone, Copy)]
pub enum Handshake {
    /// With a signature.
    Full,
    /// With a ticket.
    Resumed,
    /// Not at all.
    Failed,
}

/// Counts a handshake.
pub fn handshake(kind: Handshake) {
    HANDSHAKES[kind as usize].fetch_add(1, Relaxed);
}

/// Counts an answer.
pub fn answered(route: &'static str, status: u16, duration: Duration) {
    let mut requests = REQUESTS.lock().unwrap_or_else(PoisonError::into_inner);
    *requests.entry((route, status)).or_default() += 1;
    let seconds = duration.as_secs_f64();
    LATENCY[BOUNDS.partition_point(|bound| *bound < seconds)].fetch_add(1, Relaxed);
    LATENCY_US.fetch_add(duration.as_micros() as u64, Relaxed);
}

/// Counts a connection for as long as it is open.
pub struct Open(());

impl Open {
    /// A connection that has come.
    pub fn new() -> Self {
        CONNECTIONS.fetch_add(1, Relaxed);
        Self(())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        CONNECTIONS.fetch_sub(1, Relaxed);
    }
}

/// Tells the master every second; that is also the sign that this worker does not hang.
pub async fn report(master: Arc<MasterHandle>, redis: Option<Redis>) {
    loop {
        tell(&master, redis.as_ref());
        sleep(REPORT).await;
    }
}

/// Tells the master now: also at the end, or what came in the last second would be lost.
pub fn tell(master: &MasterHandle, redis: Option<&Redis>) {
    let redis = redis.is_none_or(Redis::is_there);
    master.report(serde_json::to_string(&samples(redis)).unwrap_or_default());
}

fn samples(redis: bool) -> Samples {
    let mut all = Samples::new();
    let mut add =
        |name: String, value: f64| _ = all.insert(format!("production_{name}"), value);
    let get = |counter: &AtomicU64| counter.load(Relaxed) as f64;
    for ((route, status), count) in
        &*REQUESTS.lock().unwrap_or_else(PoisonError::into_inner)
    {
        let name = format!("requests_total{{route=\"{route}\",status=\"{status}\"}}");
        add(name, *count as f64);
    }
    let mut sum = 0.0;
    let bounds = BOUNDS.iter().map(f64::to_string).chain(["+Inf".into()]);
    for (bound, count) in bounds.zip(&LATENCY) {
        sum += get(count);
        add(format!("request_seconds_bucket{{le=\"{bound}\"}}"), sum);
    }
    add("request_seconds_count".into(), sum);
    add("request_seconds_sum".into(), get(&LATENCY_US) / 1e6);
    add("connections".into(), CONNECTIONS.load(Relaxed) as f64);
    for (kind, count) in ["full", "resumed", "failed"].iter().zip(&HANDSHAKES) {
        add(format!("handshakes_total{{kind=\"{kind}\"}}"), get(count));
    }
    add("redis_errors_total".into(), get(&crate::redis::ERRORS));
    add("password_hashes_total".into(), get(&crate::password::HASHES));
    add("log_lines_lost_total".into(), crate::access::lost() as f64);
    let one_if = |is_so: bool| f64::from(u8::from(is_so));
    add("workers_with_redis".into(), one_if(redis));
    let shared = crate::tickets::SHARED.load(Relaxed);
    add("workers_with_shared_ticket_keys".into(), one_if(shared));
    add("workers".into(), 1.0);
    all
}

/// What all workers have counted.
#[derive(Default)]
pub struct Cluster {
    live: BTreeMap<u32, Samples>,
    ended: Samples,
    exits: u64,
}

impl Cluster {
    /// A worker has said how it is.
    pub fn hear(&mut self, pid: u32, report: &str) {
        if let Ok(samples) = serde_json::from_str(report) {
            self.live.insert(pid, samples);
        }
    }

    /// A worker has ended: its counters stay, its gauges go.
    pub fn ended(&mut self, pid: u32) {
        self.exits += 1;
        for (name, value) in self.live.remove(&pid).unwrap_or_default() {
            if kind(&name) != "gauge" {
                *self.ended.entry(name).or_default() += value;
            }
        }
    }

    /// The sum of one gauge, or of one counter.
    pub fn sum(&self, name: &str) -> f64 {
        self.live.values().filter_map(|samples| samples.get(name)).sum()
    }

    /// All of it, for Prometheus (text format 0.0.4).
    pub fn text(&self) -> String {
        let mut all = self.ended.clone();
        for (name, value) in self.live.values().flatten() {
            *all.entry(name.clone()).or_default() += value;
        }
        all.insert("production_worker_exits_total".into(), self.exits as f64);
        let mut all: Vec<_> = all.iter().collect();
        all.sort_by_key(|(name, _)| order(name));
        let (mut text, mut last) = (String::new(), "");
        for (name, value) in all {
            let family = family(name);
            if family != last {
                let _ = writeln!(text, "# TYPE {family} {}", kind(name));
                last = family;
            }
            let _ = writeln!(text, "{name} {value}");
        }
        text
    }
}

fn family(name: &str) -> &str {
    let name = name.split('{').next().unwrap_or(name);
    let parts = ["_bucket", "_sum", "_count"];
    parts.iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name)
}

/// By name, but buckets by their bounds: Prometheus wants them to rise.
fn order(name: &str) -> (&str, u64) {
    let (name, bound) = name.split_once("{le=\"").unwrap_or((name, "0"));
    let bound: f64 = bound.trim_end_matches("\"}").parse().unwrap_or_default();
    (name, bound.to_bits()) // of numbers that are not negative: in the same order
}

fn kind(name: &str) -> &'static str {
    let bare = name.split('{').next().unwrap_or(name);
    match bare {
        _ if family(name) != bare => "histogram",
        _ if bare.ends_with("_total") => "counter",
        _ => "gauge",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_of_the_dead_stay_and_gauges_go() {
        let report = |n: u32| {
            format!(
                r#"{{"production_connections":{n},"production_request_seconds_count":{n},
                "production_requests_total{{route=\"/\",status=\"200\"}}":{n}}}"#
            )
        };
        let mut cluster = Cluster::default();
        cluster.hear(1, &report(1));
        cluster.hear(2, &report(10));
        cluster.hear(2, &report(20));
        cluster.ended(1);
        cluster.hear(3, "no report");
        assert_eq!(
            cluster.text(),
            "# TYPE production_connections gauge\nproduction_connections 20\n\
             # TYPE production_request_seconds histogram\n\
             production_request_seconds_count 21\n\
             # TYPE production_requests_total counter\n\
             production_requests_total{route=\"/\",status=\"200\"} 21\n\
             # TYPE production_worker_exits_total counter\nproduction_worker_exits_total 1\n"
        );
    }
}

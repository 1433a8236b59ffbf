//! The connections of one server: how many may be open at once, what each of them is doing,
//! and their end.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::ko_en;
use crate::log::warn;

/// How long requests that are in flight may take once the server is to stop.
pub const SHUTDOWN_LIMIT: Duration = Duration::from_secs(10);

/// All connections of a server.
pub struct Connections {
    /// Whether the server is to stop.
    pub stop: CancellationToken,
    /// Whether it listens on loopback addresses alone.
    pub loopback: bool,
    limit: u32,
    places: Arc<Semaphore>,
    full: AtomicBool,
    opened: AtomicU64,
}

impl Connections {
    /// At most `limit` connections at once, until `stop` is cancelled.
    pub fn new(limit: u32, stop: CancellationToken, loopback: bool) -> Arc<Self> {
        let places = Arc::new(Semaphore::new(limit as usize));
        let (full, opened) = (AtomicBool::new(false), AtomicU64::new(0));
        Arc::new(Self { stop, loopback, limit, places, full, opened })
    }

    /// Waits until there is a place for one more connection. Meanwhile new clients wait in the
    /// listener's backlog, and the time limits of those who are here free places.
    pub async fn place(&self) -> Place {
        match self.try_place() {
            Some(place) => place,
            None => self.places.clone().acquire_owned().await.expect("never closed"),
        }
    }

    /// A place for one more connection, if there is one.
    pub fn try_place(&self) -> Option<Place> {
        let place = self.places.clone().try_acquire_owned().ok();
        let (limit, free) = (self.limit, self.places.available_permits());
        if place.is_none() && !self.full.swap(true, Relaxed) {
            warn(ko_en!(
                "연결 {limit}개가 가득 찼습니다. 새 연결은 자리가 날 때까지 기다립니다.",
                "All {limit} connections are in use. New clients wait for a free one."
            ));
        } else if self.full.load(Relaxed) && free >= limit as usize / 8 {
            self.full.store(false, Relaxed);
            warn(ko_en!(
                "연결 {free}개를 새로 받을 수 있습니다.",
                "There is room for {free} connections again."
            ));
        }
        place
    }

    /// A connection that has come, in its place.
    pub fn open(&self, place: Place) -> Arc<Connection> {
        Arc::new(Connection {
            id: self.opened.fetch_add(1, Relaxed) + 1,
            // A token of its own: to ask it locks nobody else out.
            stop: self.stop.child_token(),
            loopback: self.loopback,
            client: OnceLock::new(),
            received: AtomicBool::new(false),
            unanswered: AtomicBool::new(false),
            _place: place,
        })
    }

    /// Waits until all connections have ended, for [`SHUTDOWN_LIMIT`] at most. They are told
    /// by [`Connections::stop`].
    pub async fn finish(&self) {
        let all = self.places.acquire_many(self.limit);
        if timeout(SHUTDOWN_LIMIT, all).await.is_err() {
            let seconds = SHUTDOWN_LIMIT.as_secs();
            warn(ko_en!(
                "{seconds}초가 지나 연결을 끊습니다.",
                "Closing connections after {seconds} s."
            ));
        }
    }
}

/// The right to have one connection open.
pub type Place = OwnedSemaphorePermit;

/// One connection: its number, and what it is doing.
pub struct Connection {
    /// Counts connections from 1.
    pub id: u64,
    /// Whether this connection is to end.
    pub stop: CancellationToken,
    /// Whether the server listens on loopback addresses alone.
    pub loopback: bool,
    /// Who is at the other end, for whoever asks behind a load balancer.
    pub client: OnceLock<IpAddr>,
    received: AtomicBool,
    unanswered: AtomicBool,
    _place: Place,
}

// Each flag stands for itself and is read by the task that sets it, or after `stop`.
impl Connection {
    /// Whether the client has sent a byte.
    pub fn has_received(&self) -> bool {
        self.received.load(Relaxed)
    }

    /// Whether bytes have come for which there is no answer yet.
    pub fn is_unanswered(&self) -> bool {
        self.unanswered.load(Relaxed)
    }

    /// Bytes have come.
    pub fn receives(&self) {
        self.received.store(true, Relaxed);
        self.unanswered.store(true, Relaxed);
    }

    /// There is an answer to all that has come.
    pub fn answers(&self) {
        self.unanswered.store(false, Relaxed);
    }
}

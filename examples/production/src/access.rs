//! The access log: one line for each request, whatever becomes of it.

use std::io::{self, BufWriter, Write, stderr, stdout};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::connection::Connection;
use common::log::INSTEAD;
use common::{Reply, Request};
use hyper::body::Body;
use hyper::header::{HeaderName, HeaderValue};
use hyper::{StatusCode, Version};
use tracing::{error, info};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};

use crate::metrics;
use crate::site::route;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What writes to standard output, and what writes to standard error.
static LINES: OnceLock<[NonBlocking; 2]> = OnceLock::new();

/// Lines that could not be written: the disk is full, say.
static UNWRITTEN: AtomicU64 = AtomicU64::new(0);

/// What writes the last lines when it is dropped.
static LAST: Mutex<Option<[WorkerGuard; 2]>> = Mutex::new(None);

/// How many lines may wait for who reads them.
const WAITING: usize = 10_000;

/// So much a pipe takes at once (`PIPE_BUF`): lines of two workers never run into each other.
const AT_ONCE: usize = 4096;

/// How long lines are gathered before they are written together.
const BATCH: Duration = Duration::from_millis(20);

/// The longest path in a line, in characters.
const LONGEST_PATH: usize = 512;

/// Lines on standard output, as JSON or as text, from this level on. Threads write them, and all
/// other lines: neither a client nor the master waits for who reads them.
pub fn start(json: bool, level: tracing::Level) {
    let (output, last_output) = lines(stdout());
    let (errors, last_errors) = lines(stderr());
    *LAST.lock().unwrap_or_else(PoisonError::into_inner) =
        Some([last_output, last_errors]);
    let _ = LINES.set([output.clone(), errors]);
    let _ = INSTEAD.set([|line| write(0, line), |line| write(1, line)]);
    let log = tracing_subscriber::fmt()
        .with_writer(output)
        .with_max_level(level)
        .with_target(false)
        .with_ansi(false);
    if json { log.json().flatten_event(true).init() } else { log.init() }
}

/// Writes the last lines, at the end of the process: for a second, if nobody reads them.
pub fn finish() {
    drop(LAST.lock().unwrap_or_else(PoisonError::into_inner).take());
}

/// Lines that have been lost: nobody read the ones before them, or they could not be written.
pub fn lost() -> u64 {
    let lost = |lines: &NonBlocking| lines.error_counter().dropped_lines() as u64;
    let lines = LINES.get().into_iter().flatten();
    UNWRITTEN.load(Relaxed) + lines.map(lost).sum::<u64>()
}

fn lines(to: impl Write + Send + 'static) -> (NonBlocking, WorkerGuard) {
    let batches = Batches(BufWriter::with_capacity(AT_ONCE, to));
    NonBlockingBuilder::default().buffered_lines_limit(WAITING).finish(batches)
}

fn write(output: usize, line: &str) {
    if let Some(lines) = LINES.get() {
        let _ = lines[output].clone().write_all(line.as_bytes());
    }
}

/// Writes what has come, then waits a moment for more: a thread that waited for each line would
/// have to be woken for each, by a system call.
struct Batches<W: Write>(BufWriter<W>);

impl<W: Write> Write for Batches<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write(line).inspect_err(|_| _ = UNWRITTEN.fetch_add(1, Relaxed))
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.0.flush();
        sleep(BATCH);
        result
    }
}

/// One request. Its line is written when this is dropped, so also for a client that went away
/// before its answer (499, as nginx has it) and for a handler that panicked.
pub struct Entry {
    client: IpAddr,
    id: HeaderValue,
    trace: Option<HeaderValue>,
    method: hyper::Method,
    path: String,
    version: Version,
    began: Instant,
    status: u16,
    bytes: u64,
}

impl Entry {
    /// A request that has come. Its `X-Request-Id` is kept, or it is given one.
    pub fn new(request: &Request, client: IpAddr) -> Self {
        let headers = request.headers();
        let id = headers.get(REQUEST_ID).filter(|id| is_id(id)).cloned();
        Self {
            client,
            id: id.unwrap_or_else(new_id),
            trace: headers.get(TRACEPARENT).filter(|trace| is_id(trace)).cloned(),
            // `common::guard` shows a handler HEAD as GET, and says so here.
            method: request.extensions().get().unwrap_or(request.method()).clone(),
            // Without what stands behind the `?`, which may be secret.
            path: request.uri().path().chars().take(LONGEST_PATH).collect(),
            version: request.version(),
            began: Instant::now(),
            status: 499,
            bytes: 0,
        }
    }

    /// Its answer. The ids go with it.
    pub fn answered(&mut self, reply: &mut Reply) {
        self.status = reply.status().as_u16();
        self.bytes = reply.body().size_hint().exact().unwrap_or_default();
        reply.headers_mut().insert(REQUEST_ID, self.id.clone());
        if let Some(trace) = &self.trace {
            reply.headers_mut().insert(TRACEPARENT, trace.clone());
        }
    }
}

/// One that `common::guard` has refused, and that no handler sees.
pub fn refused(request: &Request, connection: &Connection, status: StatusCode) {
    let nobody = IpAddr::from([0, 0, 0, 0]);
    let mut entry =
        Entry::new(request, connection.client.get().copied().unwrap_or(nobody));
    entry.status = status.as_u16();
}

impl Drop for Entry {
    fn drop(&mut self) {
        let status = if std::thread::panicking() { 500 } else { self.status };
        let (route, duration) = (route(&self.path), self.began.elapsed());
        metrics::answered(route, status, duration);
        let us = duration.as_micros() as u64;
        let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
        let (id, trace) = (text(&self.id), self.trace.as_ref().map(text));
        let (client, worker) = (self.client, std::process::id());
        macro_rules! line {
            ($level:ident) => {
                $level!(
                    id, trace, %client, method = %self.method, route, path = ?self.path,
                    status, bytes = self.bytes, us, protocol = ?self.version, worker,
                )
            };
        }
        if status >= 500 { line!(error) } else { line!(info) }
    }
}

/// Letters, digits, and what UUIDs and the like have besides, up to 64: fit for any log.
fn is_id(id: &HeaderValue) -> bool {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (1..=64).contains(&id.len()) && id.as_bytes().iter().all(plain)
}

/// A number that is drawn once for each process, and a count.
fn new_id() -> HeaderValue {
    static PROCESS: OnceLock<String> = OnceLock::new();
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let process = PROCESS.get_or_init(|| {
        session::Id::random()
            .map_or_else(|_| std::process::id().to_string(), |id| id.to_string())
    });
    let count = COUNT.fetch_add(1, Relaxed);
    let id = format!("{}-{count}", &process[..process.len().min(16)]);
    HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static("-"))
}

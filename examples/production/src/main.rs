//! The nine lessons in one program: HTTP/2 over TLS (7, 8), a master and its workers (9),
//! accounts with sessions in Redis (4 to 6), a list of users (3), pages (2); and what it takes
//! to run them for others, a file for each point.

mod access;
mod admin;
mod check;
mod limits;
mod metrics;
mod password;
mod plain;
mod proxy;
mod redis;
mod server;
mod settings;
mod site;
mod store;
mod systemd;
mod tickets;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use cluster::{Event, Master, Worker};
use common::error::CannotStart;
use common::http1::IDLE_LIMIT;
use common::ko_en;
use common::log::{say, warn};
use common::settings::cannot_start;
use common::stop::{Hangup, Signals};
use https::{Current, Tls};
use tokio::time::interval;

use crate::limits::Limits;
use crate::metrics::Cluster;
use crate::plain::Plain;
use crate::server::Server;
use crate::settings::{Settings, certificate};
use crate::site::Site;
use crate::store::Store;
use crate::tickets::Tickets;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let code = run().await.unwrap_or_else(|CannotStart(why)| {
        warn(format_args!("Error: {why}"));
        ExitCode::FAILURE
    });
    access::finish();
    code
}

async fn run() -> Result<ExitCode, CannotStart> {
    settings::apply_file()?;
    let settings = Settings::from_env();
    match std::env::args().nth(1).as_deref() {
        None => {}
        Some("--check") => return Ok(check::check(settings).await),
        Some(other) => {
            let what = ko_en!(
                "{other:?}: 인자는 --check뿐입니다",
                "{other:?}: the only argument is --check"
            );
            return Err(cannot_start(what, "PORT", 8443));
        }
    }
    let settings = settings?;
    access::start(settings.json, settings.level);
    let Some(worker) = Worker::inherited().await? else { return lead(settings).await };
    let code = work(worker, settings).await?;
    access::finish();
    std::process::exit(code)
}

/// The worker: everything that a client sees.
async fn work(worker: Worker, settings: Settings) -> Result<i32, CannotStart> {
    let _ = IDLE_LIMIT.set(settings.idle);
    let _ = common::guard::ON_REFUSAL.set(access::refused);
    let redis = settings.redis()?;
    let certificate = Arc::new(Current::new(certificate(worker.loopback())?));
    let tickets = Tickets::new(settings.ticket_keys.as_deref(), redis.clone())?;
    let store = Store::new(redis.clone(), settings.session);
    let port = settings.public_port.unwrap_or(worker.port());
    let server = Arc::new(Server {
        tls: Tls::new(certificate, http2::HTTP2, tickets, String::new())?,
        site: Site::new(store, settings.logins),
        client_header: settings.client_header,
        plain: Plain { port, acme: settings.acme },
        limits: Limits::new(settings.connections, settings.requests),
        proxies: settings.proxies,
    });
    tokio::spawn(metrics::report(worker.master(), redis.clone()));
    let connect = move |stream, connection| server.clone().connect(stream, connection);
    let (master, code) = (worker.master(), worker.run(connect).await?);
    metrics::tell(&master, redis.as_ref());
    Ok(code)
}

/// The master: listeners, workers, and what an operator looks at.
async fn lead(settings: Settings) -> Result<ExitCode, CannotStart> {
    let signals = Signals::catch_and_wait(Hangup::Notifies, settings.drain_delay)?;
    let [https, http, admin] = systemd::listeners(settings.admin).await?;
    settings.try_out(https.loopback && http.loopback)?; // better once than by every worker
    if settings.redis_url.is_none() {
        warn(ko_en!(
            "REDIS_URL이 없어 워커 하나의 메모리에 보관합니다. 끝나면 모두 사라집니다.",
            "Without REDIS_URL all is kept in the memory of one worker, and lost when it ends."
        ));
    }
    let (plain, operator) = (http.url("http"), admin.url("http"));
    warn(ko_en!(
        "https로 보내는 HTTP: {plain} · /livez, /readyz, /metrics: {operator}",
        "HTTP, which leads to https: {plain} · /livez, /readyz, /metrics: {operator}"
    ));
    let cluster = Arc::new(Mutex::new(Cluster::default()));
    tokio::spawn(admin::serve(admin, cluster.clone(), signals.draining.clone()));
    tokio::spawn(systemd::stopping(signals.draining.clone()));
    let mut master =
        Master::over(vec![https, http], "https", signals, &settings.cluster)?;
    for slot in 0..settings.cluster.workers {
        master.fork(slot);
    }
    let mut watchdog = interval(systemd::SIGN_OF_LIFE);
    loop {
        let event = tokio::select! {
            event = master.event() => event,
            _ = watchdog.tick() => {
                systemd::alive();
                continue;
            }
        };
        let mut cluster = cluster.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            None => return Ok(master.exit_code()),
            Some(Event::Online(_)) => {}
            Some(Event::Listening(first_line)) => {
                say(first_line);
                systemd::ready();
            }
            Some(Event::Report(pid, report)) => cluster.hear(pid, &report),
            Some(Event::Disconnect(slot)) => master.fork(slot),
            Some(Event::Exit(exit)) => {
                cluster.ended(exit.0);
                warn(exit);
            }
            Some(Event::RollBegins) => systemd::reloading(),
            Some(Event::RollEnds) => systemd::ready(),
        }
    }
}

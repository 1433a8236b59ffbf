//! What the environment asks of this server, and the file that may stand in for it.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, id};
use std::time::Duration;

use common::error::CannotStart;
use common::ko_en;
use common::settings::{cannot_start, number, one_of, variable, wrong};
use https::Certificate;
use ipnet::IpNet;
use tracing::Level;

use crate::proxy;
use crate::redis::Redis;
use crate::tickets::Tickets;

/// Everything that can be set; the README has a table of the variables.
pub struct Settings {
    /// `WORKERS`, and what the master needs besides.
    pub cluster: cluster::Settings,
    /// `ADMIN_HOST` and `ADMIN_PORT`.
    pub admin: SocketAddr,
    /// `REDIS_URL`; without it everything is in the memory of one worker.
    pub redis_url: Option<String>,
    /// `REDIS_CA`: the authority of a Redis that speaks TLS.
    pub redis_ca: Option<Vec<u8>>,
    /// `TICKET_KEY_FILE`.
    pub ticket_keys: Option<PathBuf>,
    /// `PROXY_FROM`.
    pub proxies: Vec<IpNet>,
    /// `CLIENT_HEADER`: where those say who the client is.
    pub client_header: Option<&'static str>,
    /// `PUBLIC_PORT`: the port of `https` as clients see it, where that is another.
    pub public_port: Option<u16>,
    /// `ACME_DIR`.
    pub acme: Option<PathBuf>,
    /// `DRAIN_DELAY_SECS`.
    pub drain_delay: Duration,
    /// `IDLE_SECS`.
    pub idle: Duration,
    /// `CONNECTIONS_PER_CLIENT`, in each worker.
    pub connections: u32,
    /// `REQUESTS_PER_SEC_PER_CLIENT`, in each worker.
    pub requests: u32,
    /// `LOGINS_PER_MIN`; 0 for no limit.
    pub logins: u64,
    /// `SESSION_TTL_SECS`.
    pub session: Duration,
    /// `LOG=json`.
    pub json: bool,
    /// `LOG_LEVEL`.
    pub level: Level,
}

impl Settings {
    /// Reads them all.
    ///
    /// # Errors
    /// A value that means nothing, with one that would.
    pub fn from_env() -> Result<Self, CannotStart> {
        let redis_url = variable("REDIS_URL");
        let cluster = cluster::Settings::from_env()?;
        let workers = if redis_url.is_some() { cluster.workers } else { 1 };
        let host: IpAddr = parse("ADMIN_HOST", "127.0.0.1")?;
        let port = number("ADMIN_PORT", 0..=u16::MAX, 9090)?.unwrap_or(9090);
        Ok(Self {
            cluster: cluster::Settings {
                workers,
                schedule: cluster::Schedule::Shared,
                crash_after: None,
                respawn: true,
                ..cluster
            },
            admin: SocketAddr::new(host, port),
            redis_url,
            redis_ca: variable("REDIS_CA")
                .map(|path| read("REDIS_CA", &path))
                .transpose()?,
            ticket_keys: variable("TICKET_KEY_FILE").map(PathBuf::from),
            proxies: networks()?,
            client_header: one_of(
                "CLIENT_HEADER",
                &[
                    ("either", None),
                    (proxy::USUAL, Some(proxy::USUAL)),
                    ("forwarded", Some("forwarded")),
                ],
            )?,
            public_port: number("PUBLIC_PORT", 1..=u16::MAX, 443)?,
            acme: variable("ACME_DIR").map(PathBuf::from),
            drain_delay: seconds("DRAIN_DELAY_SECS", 0..=600, 0)?,
            idle: seconds("IDLE_SECS", 1..=3600, 75)?,
            connections: number("CONNECTIONS_PER_CLIENT", 1..=100_000, 200)?
                .unwrap_or(200),
            requests: number("REQUESTS_PER_SEC_PER_CLIENT", 1..=1_000_000, 200)?
                .unwrap_or(200),
            logins: number("LOGINS_PER_MIN", 0..=1_000_000, 10)?.unwrap_or(10),
            session: seconds("SESSION_TTL_SECS", 1..=31_536_000, 86_400)?,
            json: one_of("LOG", &[("text", false), ("json", true)])?,
            level: one_of(
                "LOG_LEVEL",
                &[
                    ("info", Level::INFO),
                    ("error", Level::ERROR),
                    ("warn", Level::WARN),
                    ("debug", Level::DEBUG),
                ],
            )?,
        })
    }

    /// Reads the files that they name, as each worker will.
    ///
    /// # Errors
    /// A certificate, a ticket key or a `REDIS_URL` that is none.
    pub fn try_out(&self, loopback: bool) -> Result<(), CannotStart> {
        certificate(loopback)?;
        Tickets::new(self.ticket_keys.as_deref(), None)?;
        self.redis().map(drop)
    }

    /// The Redis of these settings, if there is one.
    ///
    /// # Errors
    /// A bad `REDIS_URL` or `REDIS_CA`.
    pub fn redis(&self) -> Result<Option<Redis>, CannotStart> {
        let open = |url: &String| Redis::open(url, self.redis_ca.clone());
        self.redis_url.as_ref().map(open).transpose()
    }
}

fn seconds(
    name: &str,
    range: std::ops::RangeInclusive<u64>,
    default: u64,
) -> Result<Duration, CannotStart> {
    Ok(Duration::from_secs(number(name, range, default)?.unwrap_or(default)))
}

fn parse<T: std::str::FromStr>(name: &str, default: &str) -> Result<T, CannotStart> {
    let value = variable(name).unwrap_or(default.into());
    let right = ko_en!("IP 주소", "an IP address");
    value.parse().map_err(|_| wrong(name, &value, &right, default))
}

/// `PROXY_FROM=10.0.0.0/8,::1`: networks and single addresses.
fn networks() -> Result<Vec<IpNet>, CannotStart> {
    let value = variable("PROXY_FROM").unwrap_or_default();
    let one =
        |text: &str| text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let all = value.split(',').map(str::trim).filter(|text| !text.is_empty());
    all.map(|text| one(text).map_err(|_| text)).collect::<Result<_, _>>().map_err(
        |text| {
            let right =
                ko_en!("쉼표로 나눈 네트워크", "networks, with commas between them");
            wrong("PROXY_FROM", text, &right, "10.0.0.0/8,::1/128")
        },
    )
}

fn read(name: &str, path: &str) -> Result<Vec<u8>, CannotStart> {
    std::fs::read(path).map_err(|error| {
        let what = ko_en!(
            "{path} 파일을 읽을 수 없습니다: {error}",
            "Cannot read {path}: {error}"
        );
        cannot_start(what, name, "/path")
    })
}

/// `CERT`, `KEY` and `CA`; self-made ones only for this machine itself.
///
/// # Errors
/// There is none, or it is not good today: see [`Certificate::read`].
pub fn certificate(loopback: bool) -> Result<Certificate, CannotStart> {
    if !loopback && (variable("CERT").is_none() || variable("KEY").is_none()) {
        let what = ko_en!(
            "다른 컴퓨터도 연결할 수 있는 주소에서는 CERT와 KEY가 필요합니다",
            "Beyond loopback it takes a certificate: CERT and KEY"
        );
        return Err(cannot_start(what, "CERT=/path/cert.pem KEY", "/path/key.pem"));
    }
    let files = certs::files()?;
    Certificate::read(&files.cert, &files.key, files.ca.as_deref())
}

/// The names that the file has set, and in which process: `101 PORT WORKERS`.
const APPLIED: &str = "SETTINGS_APPLIED";

/// Puts the lines of `SETTINGS_FILE` (`NAME=VALUE`, as in systemd's `EnvironmentFile`) into the
/// environment, by starting this program once more in the same process. Each worker does it
/// anew, so a roll takes new settings.
///
/// # Errors
/// The file cannot be read, or a line is no setting.
pub fn apply_file() -> Result<(), CannotStart> {
    let Some(path) = variable("SETTINGS_FILE") else { return Ok(()) };
    let applied = variable(APPLIED).unwrap_or_default();
    let mut applied = applied.split(' ');
    let me = id().to_string();
    if applied.next() == Some(&me) {
        return Ok(());
    }
    let text = read("SETTINGS_FILE", &path)?;
    let text = String::from_utf8_lossy(&text);
    let lines = text.lines().enumerate().map(|(n, line)| (n + 1, line.trim()));
    let mut command = Command::new("/proc/self/exe");
    command.args(std::env::args_os().skip(1));
    command.arg0(std::env::args_os().next().unwrap_or_default());
    let mut redis_is_gone = false;
    for old in applied {
        command.env_remove(old);
        redis_is_gone |= old == "REDIS_URL";
    }
    let mut names = me;
    for (number, line) in lines.filter(|(_, l)| !l.is_empty() && !l.starts_with('#')) {
        let Some((name, value)) = line.split_once('=') else {
            let what = ko_en!(
                "{path} {number}행은 이름=값 형식이어야 합니다",
                "{path}: line {number} must be NAME=VALUE"
            );
            return Err(cannot_start(what, "SETTINGS_FILE", &path));
        };
        let value = value.trim().trim_matches('"');
        command.env(name.trim(), value);
        redis_is_gone &= name.trim() != "REDIS_URL" || value.is_empty();
        names = names + " " + name.trim();
    }
    if redis_is_gone {
        let what = ko_en!(
            "{path}에서 REDIS_URL이 사라졌습니다. 워커마다 따로 기억하게 되므로 재시작이 필요합니다",
            "{path} has no REDIS_URL any more: each worker would remember by itself. Restart"
        );
        return Err(cannot_start(what, "REDIS_URL", "redis://localhost:6379"));
    }
    Err(command.env(APPLIED, names).exec().into())
}

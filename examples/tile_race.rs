//! 200 pictures over six connections of HTTP/1.1 against one of HTTP/2: the page `/tiles` of
//! the lesson http2, from the terminal.
//!
//! `cargo run -p examples --bin tile_race` starts the lesson itself;
//! `cargo run -p examples --bin tile_race https://localhost:8443` asks one that runs.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::error::CannotStart;
use common::ko_en;
use common::log::{say, warn};
use http_body_util::{BodyExt, Empty};
use hyper::{StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

type Https = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const TILES: u32 = 200;

/// As many connections as a browser opens to one host.
const CONNECTIONS: usize = 6;

/// What the server waits before each picture, in ms.
const DELAYS: [u32; 3] = [0, 20, 100];

const SECOND: Duration = Duration::from_secs(1);

/// Characters of the longest bar.
const WIDTH: f64 = 40.0;

#[tokio::main]
async fn main() -> std::result::Result<(), CannotStart> {
    let given = std::env::args().nth(1);
    race(given).await.map_err(|error| {
        CannotStart(ko_en!(
            "경주를 할 수 없습니다: {error}. http2 수업을 먼저 실행했는지 확인하세요: \
             cargo run -p http2",
            "Cannot race: {error}. Is the lesson running? cargo run -p http2"
        ))
    })
}

async fn race(given: Option<String>) -> Result<()> {
    let (url, _server) = match given {
        Some(url) => (url, None),
        None => start().await.map(|(url, server)| (url, Some(server)))?,
    };
    let http2_url = url.trim_end_matches('/').to_owned();
    let port = count(&client(true)?, &http2_url, "-").await?["http1Port"].clone();
    let host = http2_url.rsplit_once(':').map_or(&*http2_url, |(host, _)| host);
    let http1_url = format!("{host}:{port}");

    let mut rows = Vec::new();
    for delay in DELAYS {
        warn(ko_en!(
            "그림마다 {delay} ms씩 기다리는 경주입니다.",
            "Racing with a delay of {delay} ms for each picture."
        ));
        let (start, dots) = (Instant::now(), tokio::spawn(dots()));
        let one = measure(false, &http1_url, delay).await?;
        let two = measure(true, &http2_url, delay).await?;
        rows.push((delay, one, two));
        dots.abort();
        if start.elapsed() > SECOND {
            warn(""); // the end of the line of dots
        }
    }
    say(ko_en!(
        "\n그림 200장, 연결을 맺는 시간까지 포함\n",
        "\n200 pictures, with the time to connect\n"
    ));
    say(ko_en!(
        "  지연  프로토콜    연결  요청      시간",
        " delay  protocol   conns  reqs      time"
    ));
    for (delay, one, two) in &rows {
        let longest = one.time.max(two.time);
        say(format_args!("{delay:>3} ms  HTTP/1.1  {}", one.row(longest)));
        say(format_args!("        HTTP/2    {}", two.row(longest)));
        say(format_args!("        {}\n", verdict(one.time, two.time)));
    }
    Ok(())
}

/// A dot for each second: nothing is silent for long.
async fn dots() {
    loop {
        tokio::time::sleep(SECOND).await;
        eprint!(".");
    }
}

/// What one way to fetch all pictures took.
struct Measured {
    time: Duration,
    connections: u64,
    streams: u64,
}

impl Measured {
    fn row(&self, longest: Duration) -> String {
        let part = self.time.as_secs_f64() / longest.as_secs_f64().max(f64::MIN_POSITIVE);
        let bar = "█".repeat(((part * WIDTH).round() as usize).max(1));
        let ms = self.time.as_millis();
        format!("{:>6}{:>6}{ms:>7} ms  {bar}", self.connections, self.streams)
    }
}

fn verdict(one: Duration, two: Duration) -> String {
    let ratio = one.as_secs_f64() / two.as_secs_f64();
    if ratio >= 1.1 {
        ko_en!(
            "HTTP/2가 {ratio:.1}배 빨랐습니다.",
            "HTTP/2 was {ratio:.1} times as fast."
        )
    } else if ratio > 0.9 {
        ko_en!("차이가 거의 없습니다.", "Hardly a difference.")
    } else {
        let ratio = 1.0 / ratio;
        ko_en!(
            "이번에는 HTTP/1.1이 {ratio:.1}배 빨랐습니다.",
            "This time HTTP/1.1 was {ratio:.1} times as fast."
        )
    }
}

/// Fetches all pictures: over HTTP/1.1 as many at once as there are connections, over HTTP/2
/// all at once. Then asks the server what it has seen of that.
async fn measure(http2: bool, url: &str, delay: u32) -> Result<Measured> {
    let client = client(http2)?;
    let page = format!("race-{http2}-{delay}-{}", std::process::id());
    let next = Arc::new(AtomicU32::new(0));
    let at_once = if http2 { TILES as usize } else { CONNECTIONS };
    let start = Instant::now();
    let mut workers = JoinSet::new();
    for _ in 0..at_once {
        let (client, next) = (client.clone(), next.clone());
        let (url, page) = (url.to_owned(), page.clone());
        workers.spawn(async move {
            loop {
                let n = next.fetch_add(1, Relaxed);
                if n >= TILES {
                    return Ok(());
                }
                let tile = format!("{url}/tile/{n}.svg?delay={delay}&page={page}");
                get(&client, &tile).await?;
            }
        });
    }
    while let Some(done) = workers.join_next().await {
        let done: Result<()> = done?;
        done?;
    }
    let time = start.elapsed();
    let count = count(&client, url, &page).await?;
    let number = |name: &str| count[name].as_u64().unwrap_or_default();
    Ok(Measured { time, connections: number("connections"), streams: number("streams") })
}

async fn count(client: &Https, url: &str, page: &str) -> Result<Value> {
    let body = get(client, &format!("{url}/tiles/count?page={page}")).await?;
    Ok(serde_json::from_slice(&body)?)
}

async fn get(client: &Https, url: &str) -> Result<Bytes> {
    let answer = client.get(url.parse::<Uri>()?).await?;
    if answer.status() != StatusCode::OK {
        return Err(format!("{url}: {}", answer.status()).into());
    }
    Ok(answer.into_body().collect().await?.to_bytes())
}

/// A client for one of the two protocols that believes the lessons' own authority.
fn client(http2: bool) -> Result<Https> {
    let files = certs::files().map_err(|why| why.0)?;
    let authority = files.ca.as_deref().unwrap_or(&files.cert);
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority)?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let https = HttpsConnectorBuilder::new().with_tls_config(config).https_only();
    let connector =
        if http2 { https.enable_http2().build() } else { https.enable_http1().build() };
    Ok(Client::builder(TokioExecutor::new()).http2_only(http2).build(connector))
}

/// Starts the lesson on free ports and takes the URL from its first line.
async fn start() -> Result<(String, Child)> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    warn(ko_en!(
        "http2 수업을 빌드하고 시작합니다.",
        "Building and starting the lesson http2."
    ));
    let mut command = Command::new(cargo);
    // `cargo run` has set these for this program. ring's build script looks at them: it would
    // run again, and all that needs ring be compiled again.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&*name);
        }
    }
    let mut server = command
        .args(["run", "-p", "http2"]) // cargo says what it compiles
        .env("PORT", "0")
        .env("H1_PORT", "0")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let stdout = server.stdout.take().ok_or("no output")?;
    let line = BufReader::new(stdout).lines().next_line().await?.unwrap_or_default();
    let url = line.split_whitespace().last().filter(|url| url.starts_with("https:"));
    Ok((
        url.ok_or_else(|| {
            ko_en!("http2 수업이 시작되지 않았습니다", "the lesson http2 did not start")
        })?
        .to_owned(),
        server,
    ))
}

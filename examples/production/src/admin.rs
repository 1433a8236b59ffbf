//! What an operator and a load balancer look at, on a port of its own: whether the process
//! lives, whether it is ready for clients, and what has been counted.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use common::connection::Connections;
use common::error::CannotStart;
use common::listen::Listener;
use common::reply::{self, not_allowed};
use common::serve::accept_loop;
use common::settings::cannot_start;
use common::{Error, Reply, Request, http1, ko_en};
use hyper::StatusCode;
use hyper::header::HeaderValue;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::Cluster;

/// Connections at once: one of Prometheus, some of load balancers.
const CONNECTIONS: u32 = 64;

/// Opens the port.
///
/// # Errors
/// It is taken, or forbidden.
pub async fn listen(address: SocketAddr) -> Result<Listener, CannotStart> {
    let socket = TcpListener::bind(address).await.map_err(|error| {
        let what = ko_en!(
            "ADMIN_PORT {address}에서 연결을 받을 수 없습니다: {error}",
            "Cannot listen at {address} (ADMIN_PORT): {error}"
        );
        cannot_start(what, "ADMIN_PORT", 0)
    })?;
    Ok(Listener::inherited(vec![socket]))
}

/// Serves it until the process ends. `draining` is cancelled when a load balancer is to send
/// nobody new.
pub async fn serve(
    listener: Listener,
    cluster: Arc<Mutex<Cluster>>,
    draining: CancellationToken,
) {
    let connections =
        Connections::new(CONNECTIONS, CancellationToken::new(), listener.loopback);
    accept_loop(listener, connections, move |stream, connection| {
        let (cluster, draining) = (cluster.clone(), draining.clone());
        let handle = move |request| {
            let reply = handle(&request, &cluster, draining.is_cancelled());
            async { reply }
        };
        http1(stream, connection, handle)
    })
    .await;
}

fn handle(
    request: &Request,
    cluster: &Mutex<Cluster>,
    draining: bool,
) -> Result<Reply, Error> {
    const METRICS: HeaderValue =
        HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    let cluster = cluster.lock().unwrap_or_else(PoisonError::into_inner);
    let path = request.uri().path();
    match (request.method().as_str(), path) {
        ("GET", "/livez") => Ok(reply::text(StatusCode::OK, "ok\n")),
        ("GET", "/readyz") => match not_ready(&cluster, draining) {
            None => Ok(reply::text(StatusCode::OK, "ready\n")),
            Some(why) => Err(Error::new(StatusCode::SERVICE_UNAVAILABLE, why)),
        },
        ("GET", "/metrics") => Ok(reply::reply(StatusCode::OK, METRICS, cluster.text())),
        (_, "/livez" | "/readyz" | "/metrics") => {
            not_allowed(request.method(), "GET, HEAD, OPTIONS")
        }
        _ => Err(Error::not_found()),
    }
}

/// For machines, so in one language.
fn not_ready(cluster: &Cluster, draining: bool) -> Option<&'static str> {
    match () {
        () if draining => Some("draining"),
        () if cluster.sum("production_workers") == 0.0 => Some("no worker"),
        () if cluster.sum("production_workers_with_redis") == 0.0 => {
            Some("redis is away")
        }
        () => None,
    }
}

//! What a worker serves: any path is the page, and a second after its first request it ends.

use std::sync::Arc;

use cluster::{MasterHandle, Settings};
use common::connection::Connection;
use common::error::CannotStart;
use common::reply::{self, not_allowed};
use common::{Error, Reply, Request, http1};
use fs_html::Files;
use hyper::header::{HeaderName, HeaderValue};
use tokio::net::TcpStream;

use crate::page;
use crate::visits::Visits;

/// What all requests of one worker share. The other workers have their own: processes share
/// no memory.
pub struct State {
    settings: Settings,
    master: Arc<MasterHandle>,
    visits: Visits,
    files: Files,
    pid: HeaderValue,
}

impl State {
    /// # Errors
    /// The pages are not there, or `REDIS_URL` is bad.
    pub fn new(
        settings: Settings,
        master: Arc<MasterHandle>,
    ) -> Result<Arc<Self>, CannotStart> {
        let (visits, files) = (Visits::from_env()?, Files::open("")?);
        let pid = std::process::id().into();
        Ok(Arc::new(Self { settings, master, visits, files, pid }))
    }

    /// Serves one connection.
    pub async fn serve(self: Arc<Self>, stream: TcpStream, connection: Arc<Connection>) {
        let from_here = connection.loopback
            || stream.peer_addr().is_ok_and(|a| a.ip().to_canonical().is_loopback());
        http1(stream, connection, |request| handle(request, from_here, self.clone()))
            .await;
    }
}

async fn handle(
    request: Request,
    from_here: bool,
    state: Arc<State>,
) -> Result<Reply, Error> {
    let mut reply = route(request, from_here, &state).await?;
    reply.headers_mut().insert(HeaderName::from_static("x-worker"), state.pid.clone());
    Ok(reply)
}

/// `from_here`: the client is on this machine.
async fn route(request: Request, from_here: bool, state: &State) -> Result<Reply, Error> {
    let path = request.uri().path();
    if path == "/cluster" || path.starts_with("/cluster/") {
        return page::route(&request, from_here, &state.master, &state.files).await;
    }
    match (request.method().as_str(), path) {
        ("GET", "/visits") => Ok(state.visits.count().await),
        ("GET", _) => {
            state.master.count();
            if let Some(delay) = state.settings.crash_after
                && path != "/favicon.ico"
            {
                // setTimeout(() => process.exit(1), 1000);
                state.master.crash_after(delay);
            }
            // res.writeHead(200, { "Content-Type": "text/html; charset=utf-8" }); res.end(…);
            Ok(reply::html("<h1>Hello Node!</h1><p>Hello Cluster!</p>"))
        }
        _ => not_allowed(request.method(), "GET, HEAD, OPTIONS"),
    }
}

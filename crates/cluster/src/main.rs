//! Lesson 9: one port, as many processes as cores, and a master that replaces those that die.

mod live;
mod visits;

use std::process::ExitCode;
use std::sync::Arc;

use cluster::{Settings, ToMaster, Worker, master};
use common::connection::http1;
use common::error::CannotStart;
use common::reply::{self, not_allowed};
use common::{Error, Files, Reply, Request};
use hyper::header::{HeaderName, HeaderValue};
use visits::Visits;

/// What all requests of one worker share. The other workers have their own: processes share
/// no memory.
struct State {
    settings: Settings,
    to_master: Arc<ToMaster>,
    visits: Visits,
    files: Files,
    pid: HeaderValue,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, CannotStart> {
    let settings = Settings::from_env()?;
    let Some(worker) = Worker::inherited().await? else {
        // if (cluster.isPrimary) { cluster.fork(); cluster.on("exit", …) }
        visits::check_redis().await?;
        return master::run(8086, &settings).await;
    };
    // else http.createServer(handle).listen(8086)
    let state = Arc::new(State {
        settings,
        to_master: worker.to_master(),
        visits: Visits::default(),
        files: Files::new(""),
        pid: std::process::id().into(),
    });
    let handle = move |request| handle(request, state.clone());
    worker.run(move |stream, seat| http1(stream, seat, handle.clone())).await
}

async fn handle(request: Request, state: Arc<State>) -> Result<Reply, Error> {
    let mut reply = route(request, &state).await?;
    reply.headers_mut().insert(HeaderName::from_static("x-worker"), state.pid.clone());
    Ok(reply)
}

async fn route(request: Request, state: &State) -> Result<Reply, Error> {
    let path = request.uri().path();
    if path == "/cluster" || path.starts_with("/cluster/") {
        return live::route(&request, &state.to_master, &state.files).await;
    }
    match (request.method().as_str(), path) {
        ("GET", "/visits") => Ok(state.visits.count().await),
        ("GET", _) => {
            state.to_master.count();
            if let Some(delay) = state.settings.crash_after
                && path != "/favicon.ico"
            {
                // setTimeout(() => process.exit(1), 1000);
                state.to_master.crash_after(delay);
            }
            // res.writeHead(200, { "Content-Type": "text/html; charset=utf-8" }); res.end(…);
            Ok(reply::html("<h1>Hello Node!</h1><p>Hello Cluster!</p>"))
        }
        _ => not_allowed(request.method(), "GET, HEAD, OPTIONS"),
    }
}

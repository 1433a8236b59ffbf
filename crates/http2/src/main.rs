//! Lesson 8: HTTP/2, and a page of 200 pictures that shows what it is for.

mod tiles;

use std::sync::Arc;

use common::error::CannotStart;
use common::listen::listen_beside;
use common::tls::{self, Certificate, HTTP1};
use common::{Error, Reply, Request, listen, reply};
use tiles::Tiles;

#[tokio::main]
async fn main() -> Result<(), CannotStart> {
    let listener = listen(443).await?;
    let http2 = tls::protocols_from_env()?; // h2, or http/1.1 for clients that have no h2
    // The same server once more, without HTTP/2: for the comparison.
    let beside = listen_beside("H1_PORT", 8444).await?;
    let tiles = Arc::new(Tiles::new(listener.port(), beside.port()));
    tls::serve(certificate, [(listener, http2), (beside, HTTP1)], move |request, id| {
        handle(request, id, tiles.clone())
    })
    .await
}

/// Called at the start, and again at every SIGHUP: a renewed certificate needs no restart.
fn certificate() -> Result<Certificate, CannotStart> {
    let files = certs::files()?; // CERT, KEY, CA; or those in certs/, made on first need
    // { cert: fs.readFileSync("…"), key: fs.readFileSync("…"), ca: [fs.readFileSync("…")] }
    Certificate::read(&files.cert, &files.key, files.ca.as_deref())
}

async fn handle(request: Request, id: u64, tiles: Arc<Tiles>) -> Result<Reply, Error> {
    match request.method().as_str() {
        "GET" if tiles.has(&request) => tiles.get(&request, id).await,
        "GET" => Ok(reply::html("<h1>Hello Node!</h1><p>Hello Server!</p>")),
        _ => reply::not_allowed(request.method(), "GET, HEAD, OPTIONS"),
    }
}

//! Lesson 8: HTTP/2, and a page of 200 pictures that shows what it is for.

mod tiles;

use std::sync::Arc;

use common::connection::Connection;
use common::error::CannotStart;
use common::listen::listen_beside;
use common::{Error, Reply, Request, listen, reply};
use http2::{protocols_from_env, speak};
use https::{Certificate, HTTP1};
use tiles::Tiles;

#[tokio::main]
async fn main() -> Result<(), CannotStart> {
    let alpn = protocols_from_env()?; // h2, or http/1.1 for clients that have no h2
    let listener = listen(443).await?;
    // The same server once more, without HTTP/2: for the comparison.
    let beside = listen_beside("H1_PORT", 8444).await?;
    let tiles = Arc::new(Tiles::new(listener.port, beside.port)?);
    let speak = move |tls, connection: Arc<Connection>| {
        let (tiles, id) = (tiles.clone(), connection.id);
        speak(tls, connection, move |request| handle(request, id, tiles.clone()))
    };
    https::serve(certificate, [(listener, alpn), (beside, HTTP1)], speak).await
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

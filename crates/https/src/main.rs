//! Lesson 7: HTTP over TLS, with a certificate, its key and its chain.

use common::error::CannotStart;
use common::{Error, Reply, Request, http1, listen, reply};
use https::{Certificate, HTTP1};

#[tokio::main]
async fn main() -> Result<(), CannotStart> {
    let listener = listen(443).await?;
    // The handshake comes first; then HTTP/1.1 as in every lesson, over what comes out of it.
    let speak = |tls, connection| http1(tls, connection, handle);
    https::serve(certificate, [(listener, HTTP1)], speak).await
}

/// Called at the start, and again at every SIGHUP: a renewed certificate needs no restart.
fn certificate() -> Result<Certificate, CannotStart> {
    let files = certs::files()?; // CERT, KEY, CA; or those in certs/, made on first need
    // { cert: fs.readFileSync("…"), key: fs.readFileSync("…"), ca: [fs.readFileSync("…")] }
    Certificate::read(&files.cert, &files.key, files.ca.as_deref())
}

async fn handle(request: Request) -> Result<Reply, Error> {
    match request.method().as_str() {
        "GET" => Ok(reply::html("<h1>Hello Node!</h1><p>Hello Server!</p>")),
        _ => reply::not_allowed(request.method(), "GET, HEAD, OPTIONS"),
    }
}

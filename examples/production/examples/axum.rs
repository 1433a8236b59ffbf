//! A router of axum on the stack of the lessons: `cargo run -p production --example axum`.
//! Listener, TLS, HTTP/2, limits and graceful shutdown are those of lessons 7 and 8.

use axum::{Router, body::Body, routing::get};
use common::error::CannotStart;
use common::listen::listen;
use common::{Reply, Request};
use http_body_util::BodyExt;
use https::Certificate;
use tower::ServiceExt;

#[tokio::main]
async fn main() -> Result<(), CannotStart> {
    let listener = listen(443).await?;
    let router = Router::new().route("/", get(|| async { "Hello axum" }));
    let speak = move |tls, connection| {
        let router = router.clone();
        http2::speak(tls, connection, move |request: Request| {
            let answer = router.clone().oneshot(request.map(Body::new));
            async move {
                let Ok(answer) = answer.await;
                let (head, body) = answer.into_parts();
                let body = body.collect().await.map_err(std::io::Error::other)?;
                Ok(Reply::from_parts(head, body.to_bytes().into()))
            }
        })
    };
    https::serve(certificate, [(listener, http2::HTTP2)], speak).await
}

fn certificate() -> Result<Certificate, CannotStart> {
    let files = certs::files()?;
    Certificate::read(&files.cert, &files.key, files.ca.as_deref())
}

//! Lesson 1: the smallest server, with the accept loop written by hand.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use common::{error::CannotStart, ko_en, listen, log};
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};

#[tokio::main]
async fn main() -> Result<(), CannotStart> {
    let listener = listen(8080).await?; // server.listen(8080, …)
    log::say(listener.first_line("http"));
    let mut warned = false;
    loop {
        let stream = match listener.accept().await {
            Ok(stream) => stream,
            Err(error) => {
                // Too many open files, say. That passes; a server that ends here does not.
                if !warned {
                    log::warn(ko_en!(
                        "연결을 받지 못했습니다: {error}",
                        "Cannot accept: {error}"
                    ));
                    warned = true; // said once, and not ten times a second
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // A task for each connection. Awaited here instead, one idle browser would block all.
        tokio::spawn(async move {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new()) // without it the next line does nothing
                .header_read_timeout(Duration::from_secs(10))
                .serve_connection(TokioIo::new(stream), service_fn(handle));
            let _ = connection.await; // an error here is the client's, who is gone
        });
    }
}

// http.createServer((req, res) => …)
async fn handle(_: common::Request) -> Result<Response<Full<Bytes>>, Infallible> {
    // res.write(…) three times in Node; one piece here, so that its length is known.
    let page = "<h1>Hello Node!</h1><p>Hello Server!</p><p>Hello Annie</p>";
    let mut response = Response::new(Full::from(page));
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, html);
    Ok(response)
}

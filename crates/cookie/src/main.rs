//! Lesson 4: a cookie. The server asks once, and the browser sends it with every request.

use common::error::CannotStart;
use common::log::{Escaped, say};
use common::{Error, Reply, Request, reply, serve};
use hyper::StatusCode;
use hyper::header::{COOKIE, HeaderValue, SET_COOKIE};

#[tokio::main]
async fn main() -> Result<(), CannotStart> {
    serve(8083, handle).await
}

async fn handle(request: Request) -> Result<Reply, Error> {
    // console.log(req.url, req.headers.cookie);
    let line = format!("{} {}", request.uri(), cookies(&request));
    say(Escaped(&line));
    match request.method().as_str() {
        // res.writeHead(200, { "Set-Cookie": "mycookie=test" }); res.end("Hello Cookie");
        "GET" => {
            let mut reply = reply::text(StatusCode::OK, "Hello Cookie");
            let cookie = HeaderValue::from_static("mycookie=test");
            reply.headers_mut().insert(SET_COOKIE, cookie);
            Ok(reply)
        }
        _ => reply::not_allowed(request.method(), "GET, HEAD, OPTIONS"),
    }
}

/// The `Cookie` header as Node shows it: `undefined` without one, several fields as one.
fn cookies(request: &Request) -> String {
    let fields = request.headers().get_all(COOKIE).iter();
    let fields: Vec<_> =
        fields.map(|field| String::from_utf8_lossy(field.as_bytes())).collect();
    if fields.is_empty() { "undefined".into() } else { fields.join("; ") }
}

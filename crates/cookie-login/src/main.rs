//! Lesson 5: a login in a cookie. The browser holds the name, and shows it at every request.

use std::time::Duration;

use common::error::CannotStart;
use common::reply::{self, not_allowed, personal};
use common::{Error, Reply, Request, cookie, ko_en, query, serve};
use fs_html::Files;
use hyper::StatusCode;

/// How long the browser keeps the cookie.
const LIFETIME: Duration = Duration::from_secs(5 * 60);

#[tokio::main]
async fn main() -> Result<(), CannotStart> {
    let files = Files::open("")?;
    serve(8084, move |request| handle(request, files.clone())).await
}

async fn handle(request: Request, files: Files) -> Result<Reply, Error> {
    match (request.method().as_str(), request.uri().path()) {
        ("GET", "/login") => login(&request),
        ("GET", "/logout") => logout(),
        ("GET", "/cookie2.css") => files.page(&request, "cookie2.css").await,
        ("GET", _) => match cookie::get(request.headers(), "name") {
            Some(name) => Ok(greeting(name)),
            None => files.page(&request, "cookie2.html").await,
        },
        _ => not_allowed(request.method(), "GET, HEAD, OPTIONS"),
    }
}

fn login(request: &Request) -> Result<Reply, Error> {
    let name = query::first(request.uri(), "name")?.unwrap_or_default();
    if !(1..=MAX_NAME).contains(&cookie::encode(&name).len()) {
        return Err(Error::bad_request(ko_en!(
            "name은 비어 있지 않아야 하고 인코딩해서 {MAX_NAME}바이트까지입니다. \
             예: /login?name=Annie",
            "name must not be empty, and may have {MAX_NAME} bytes when it is encoded. \
             Example: /login?name=Annie"
        )));
    }
    // res.writeHead(302, { Location: "/", "Set-Cookie": `name=${encodeURIComponent(name)}; …` });
    let mut reply = reply::redirect("/");
    cookie::set(&mut reply, "name", &name, LIFETIME)?;
    Ok(reply)
}

fn logout() -> Result<Reply, Error> {
    let mut reply = reply::redirect("/");
    cookie::remove(&mut reply, "name")?;
    Ok(reply)
}

fn greeting(name: String) -> Reply {
    let mut reply = reply::text(StatusCode::OK, name + "님 안녕하세요");
    personal(&mut reply);
    reply
}

/// The longest name, encoded, in bytes: about what a browser takes as one cookie.
const MAX_NAME: usize = 4000;

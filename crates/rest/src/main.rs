//! Lesson 3: a REST API over users in memory, and a page that uses it.

mod users;

use std::io;
use std::sync::Arc;

use common::error::CannotStart;
use common::log::{Escaped, say};
use common::reply::{self, not_allowed};
use common::{Error, Reply, Request, body, ko_en, serve};
use fs_html::Files;
use hyper::StatusCode;
use hyper::header::{HeaderValue, LOCATION};
use users::Users;

/// What all requests share: `const users = {}` in Node.
struct State {
    users: Users,
    files: Files,
}

#[tokio::main]
async fn main() -> Result<(), CannotStart> {
    let state = State { users: Users::default(), files: Files::open("rest")? };
    let state = Arc::new(state);
    serve(8082, move |request| handle(request, state.clone())).await
}

// if (req.method === "GET") { if (req.url === "/") … } in Node: here one table.
async fn handle(request: Request, state: Arc<State>) -> Result<Reply, Error> {
    let State { users, files } = &*state;
    let path = request.uri().path();
    match (request.method().as_str(), path) {
        ("GET", "/") => files.page(&request, "restFront.html").await,
        ("GET", "/about") => files.page(&request, "about.html").await,
        ("GET", "/users") => Ok(reply::json(users.all())),
        (_, "/" | "/about" | "/users") => not_allowed(request.method(), READ),
        ("POST", "/user") => add_user(request, users).await,
        (_, "/user") => not_allowed(request.method(), "POST, OPTIONS"),
        (method, _) => match path.strip_prefix("/user/") {
            Some(id) => one_user(number(id), request, users).await,
            // /restFront.css, /restFront.js: whatever lies in html/rest/.
            None => match (method, files.asset(&request).await?) {
                ("GET", file) => Ok(file),
                _ => not_allowed(request.method(), READ),
            },
        },
    }
}

/// The methods of what can only be read.
const READ: &str = "GET, HEAD, OPTIONS";

async fn add_user(request: Request, users: &Users) -> Result<Reply, Error> {
    let id = users.add(name_in_body(request).await?)?;
    // res.writeHead(201, { Location: `/user/${id}` }); res.end("등록 성공");
    let mut reply = reply::text(StatusCode::CREATED, "등록 성공");
    let location =
        HeaderValue::try_from(format!("/user/{id}")).map_err(io::Error::other)?;
    reply.headers_mut().insert(LOCATION, location);
    Ok(reply)
}

/// `/user/{id}`; an id that is no number was never given out.
async fn one_user(
    id: Option<u64>,
    request: Request,
    users: &Users,
) -> Result<Reply, Error> {
    let id = id.ok_or_else(Error::not_found)?;
    match request.method().as_str() {
        "GET" => Ok(reply::json(users.one(id)?)),
        // A user has nothing but a name, so a part of it (PATCH) is the whole (PUT).
        "PUT" | "PATCH" => {
            let name = name_in_body(request).await?;
            Ok(reply::json(users.rename(id, name)?))
        }
        "DELETE" => Ok(reply::json(users.remove(id)?)),
        _ => not_allowed(request.method(), "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"),
    }
}

/// An id as we show it: `+1` and `01` are numbers to Rust, but no other names of user 1.
fn number(id: &str) -> Option<u64> {
    id.parse().ok().filter(|number: &u64| number.to_string() == id)
}

/// `const { name } = JSON.parse(body)`, with a look at what came.
async fn name_in_body(request: Request) -> Result<String, Error> {
    let method = request.method().clone();
    let body = body::read(request).await?;
    say(format_args!(
        "{method} 본문(Body): {}",
        Escaped(&String::from_utf8_lossy(&body))
    ));
    match body::json(&body)?["name"].as_str() {
        Some(name) if (1..=MAX_NAME).contains(&name.chars().count()) => {
            Ok(name.to_owned())
        }
        _ => Err(Error::bad_request(ko_en!(
            "name은 1자에서 {MAX_NAME}자까지의 문자열이어야 합니다. 예: {{\"name\":\"Annie\"}}",
            "name must be a text of 1 to {MAX_NAME} characters. Example: {{\"name\":\"Annie\"}}"
        ))),
    }
}

/// Characters in a name at most.
const MAX_NAME: usize = 100;

//! Lesson 6: a login that the server remembers. The browser holds a number, and no data.

use std::sync::Arc;

use common::error::CannotStart;
use common::reply::{self, not_allowed, personal};
use common::{Error, Reply, Request, cookie, ko_en, query, serve};
use fs_html::Files;
use hyper::StatusCode;
use session::{Id, Store};

/// What all requests share.
struct State {
    store: Store,
    files: Files,
}

#[tokio::main]
async fn main() -> Result<(), CannotStart> {
    let state = State { store: Store::from_env().await?, files: Files::open("")? };
    let state = Arc::new(state);
    serve(8085, move |request| handle(request, state.clone())).await
}

async fn handle(request: Request, state: Arc<State>) -> Result<Reply, Error> {
    let State { store, files } = &*state;
    let id = cookie::get(request.headers(), "session").and_then(|id| Id::parse(&id));
    match (request.method().as_str(), request.uri().path()) {
        ("GET", "/login") => login(&request, id, store).await,
        ("GET", "/logout") => logout(id, store).await,
        ("GET", "/cookie2.css") => files.page(&request, "cookie2.css").await,
        ("GET", _) => match store.name(id).await? {
            Some(name) => Ok(greeting(name)),
            None => files.page(&request, "cookie2.html").await,
        },
        _ => not_allowed(request.method(), "GET, HEAD, OPTIONS"),
    }
}

/// A new id at every login: one that somebody else has put into this browser before (session
/// fixation) is worth nothing after it.
async fn login(
    request: &Request,
    old: Option<Id>,
    store: &Store,
) -> Result<Reply, Error> {
    let name = query::first(request.uri(), "name")?.unwrap_or_default();
    if !(1..=MAX_NAME).contains(&cookie::encode(&name).len()) {
        return Err(Error::bad_request(ko_en!(
            "name은 비어 있지 않아야 하고 인코딩해서 {MAX_NAME}바이트까지입니다. \
             예: /login?name=Annie",
            "name must not be empty, and may have {MAX_NAME} bytes when it is encoded. \
             Example: /login?name=Annie"
        )));
    }
    let id = store.add(name).await?;
    store.remove(old).await?;
    // res.writeHead(302, { Location: "/", "Set-Cookie": `session=${id}; …` });
    let mut reply = reply::redirect("/");
    cookie::set(&mut reply, "session", &id.to_string(), store.ttl())?;
    Ok(reply)
}

/// Ends the session here and not only in this browser: a stolen id is worth nothing either.
async fn logout(id: Option<Id>, store: &Store) -> Result<Reply, Error> {
    store.remove(id).await?;
    let mut reply = reply::redirect("/");
    cookie::remove(&mut reply, "session")?;
    Ok(reply)
}

fn greeting(name: String) -> Reply {
    let mut reply = reply::text(StatusCode::OK, name + "님 안녕하세요");
    personal(&mut reply);
    reply
}

/// The longest name, encoded, in bytes: about what a browser takes as one cookie.
const MAX_NAME: usize = 4000;

//! The site: what each path answers. Sessions are in a cookie's name that browsers send back over
//! HTTPS and to this host alone (`__Host-`).

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::IpAddr;

use bytes::Bytes;
use common::reply::{self, not_allowed, personal};
use common::{Error, Reply, Request, body, cookie, ko_en, query};
use hyper::StatusCode;
use hyper::header::{
    CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, LOCATION,
};
use serde_json::json;
use session::Id;

use crate::limits::network;
use crate::password;
use crate::store::{Account, Store};

const COOKIE: &str = "__Host-session";
/// The methods of what can only be read, what can only be sent, and what can be both.
const READ: &str = "GET, HEAD, OPTIONS";
const SEND: &str = "POST, OPTIONS";
const BOTH: &str = "GET, HEAD, POST, OPTIONS";

type Answer = Result<Reply, Error>;

/// The site, and what it remembers.
pub struct Site {
    store: Store,
    logins_per_min: u64,
}

/// The name of a path in the metrics: as many as there are routes, whatever is asked for.
pub fn route(path: &str) -> &'static str {
    const ROUTES: &str = "/ /signup /login /logout /logout/everywhere /me /users \
                          /site.css /site.js /language.js /icon.svg";
    let user = path.strip_prefix("/users/").and_then(number).map(|_| "/users/{id}");
    ROUTES.split(' ').find(|route| *route == path).or(user).unwrap_or("other")
}

impl Site {
    /// A site on `store`, which takes so many attempts to log in for each account and from each
    /// address in a minute (0: any number).
    pub fn new(store: Store, logins_per_min: u64) -> Self {
        Self { store, logins_per_min }
    }

    /// Answers a request from `client`.
    ///
    /// # Errors
    /// The answer is an error.
    pub async fn handle(&self, request: Request, client: IpAddr) -> Answer {
        let id = cookie::get(request.headers(), COOKIE).and_then(|id| Id::parse(&id));
        let path = request.uri().path().to_owned();
        match (request.method().as_str(), &*path) {
            ("GET", "/") => self.front(id).await,
            ("GET", "/site.css") => Ok(file(&request, "text/css; charset=utf-8", CSS)),
            ("GET", "/site.js") => Ok(file(&request, SCRIPT, JS)),
            ("GET", "/language.js") => Ok(file(&request, SCRIPT, LANGUAGE)),
            ("GET", "/icon.svg") => Ok(file(&request, "image/svg+xml", ICON)),
            (_, "/" | "/site.css" | "/site.js" | "/language.js" | "/icon.svg") => {
                not_allowed(request.method(), READ)
            }
            ("POST", "/signup") => self.sign_up(request, client, id).await,
            ("POST", "/login") => self.log_in(request, client, id).await,
            ("POST", "/logout") => self.log_out(id).await,
            ("POST", "/logout/everywhere") => self.log_out_everywhere(id).await,
            (_, "/signup" | "/login" | "/logout" | "/logout/everywhere") => {
                not_allowed(request.method(), SEND)
            }
            ("GET", "/me") => self.show_me(id).await,
            ("POST", "/me") => self.set_shown(request, id).await,
            ("GET", "/users") => Ok(reply::json(self.store.users().await?)),
            ("POST", "/users") => self.add_user(request, id).await,
            (_, "/me" | "/users") => not_allowed(request.method(), BOTH),
            _ => match path.strip_prefix("/users/").and_then(number) {
                Some(user) => self.one_user(request, id, user).await,
                None => Err(Error::not_found()),
            },
        }
    }

    /// A stranger's page needs no store: it is there even while Redis is away.
    async fn front(&self, id: Option<Id>) -> Answer {
        let page = if self.store.who(id).await?.is_some() { HOME } else { LOGIN };
        let mut reply = reply::html(page);
        personal(&mut reply);
        Ok(reply)
    }

    async fn sign_up(&self, request: Request, from: IpAddr, old: Option<Id>) -> Answer {
        let (name, password) = credentials(request).await?;
        if !is_name(&name) || !is_password(&password) {
            return Err(Error::bad_request(ko_en!(
                "이름은 a–z, 0–9, _, - 중 3–32자, 비밀번호는 8–200자여야 합니다.",
                "A name must have 3 to 32 of a–z, 0–9, _ and -, a password 8 to 200 characters."
            )));
        }
        self.count(&network(from).to_string(), 1).await?;
        let hash = password::hash(password).await?;
        if self.store.create_account(&name, &hash).await? {
            return self.begin(&name, 0, old).await;
        }
        let message =
            ko_en!("{name}은(는) 이미 있는 이름입니다.", "The name {name} is taken.");
        Err(Error::new(StatusCode::CONFLICT, message))
    }

    async fn log_in(&self, request: Request, from: IpAddr, old: Option<Id>) -> Answer {
        let (name, password) = credentials(request).await?;
        self.count(&network(from).to_string(), 1).await?;
        // What can be no account and no password costs nothing: that it is wrong is no secret.
        if is_name(&name) && is_password(&password) {
            self.count(&name, FROM_ALL).await?;
            let account = self.store.account(&name).await?;
            let (hash, epoch) = account.unzip();
            if password::verify(password, hash).await? {
                return self.begin(&name, epoch.unwrap_or_default(), old).await;
            }
        }
        let message = ko_en!(
            "이름이나 비밀번호가 틀렸습니다.",
            "The name or the password is wrong."
        );
        Err(Error::new(StatusCode::UNAUTHORIZED, message))
    }

    /// One more attempt of somebody.
    async fn count(&self, key: &str, times: u64) -> Result<(), Error> {
        let most = self.logins_per_min * times;
        if most == 0 || self.store.count_login(key).await? <= most {
            return Ok(());
        }
        let message = ko_en!(
            "로그인은 1분에 {most}번까지 시도할 수 있습니다. 1분 뒤 다시 시도하세요.",
            "There may be {most} attempts to log in within a minute. Try again in a minute."
        );
        Err(Error::new(StatusCode::TOO_MANY_REQUESTS, message).retry_after(60))
    }

    /// A new session at every login; one that this browser had before ends.
    async fn begin(&self, name: &str, epoch: u64, old: Option<Id>) -> Answer {
        let id = self.store.begin(name, epoch).await?;
        self.store.end(old).await?;
        let mut reply = home();
        cookie::set(&mut reply, COOKIE, &id.to_string(), self.store.ttl())?;
        Ok(reply)
    }

    async fn log_out(&self, id: Option<Id>) -> Answer {
        self.store.end(id).await?;
        let mut reply = home();
        cookie::remove(&mut reply, COOKIE)?;
        Ok(reply)
    }

    async fn log_out_everywhere(&self, id: Option<Id>) -> Answer {
        if let Some(account) = self.store.who(id).await? {
            self.store.end_all(&account.name).await?;
        }
        self.log_out(id).await
    }

    /// Who asks; 401 for a stranger.
    async fn me(&self, id: Option<Id>) -> Result<Account, Error> {
        let message = || ko_en!("먼저 로그인하세요.", "Log in first.");
        let stranger = || Error::new(StatusCode::UNAUTHORIZED, message());
        self.store.who(id).await?.ok_or_else(stranger)
    }

    async fn show_me(&self, id: Option<Id>) -> Answer {
        let Account { name, shown } = self.me(id).await?;
        let mut reply = reply::json(json!({ "name": name, "shown": shown }).to_string());
        personal(&mut reply);
        Ok(reply)
    }

    async fn set_shown(&self, request: Request, id: Option<Id>) -> Answer {
        let me = self.me(id).await?;
        self.store.set_shown(&me.name, &text(request, "shown").await?).await?;
        Ok(home())
    }

    async fn add_user(&self, request: Request, id: Option<Id>) -> Answer {
        self.me(id).await?;
        let user = self.store.change_user(None, &text(request, "name").await?).await?;
        let mut reply = reply::text(StatusCode::CREATED, user.to_string());
        let location =
            HeaderValue::try_from(format!("/users/{user}")).map_err(io::Error::other)?;
        reply.headers_mut().insert(LOCATION, location);
        Ok(reply)
    }

    async fn one_user(&self, request: Request, id: Option<Id>, user: u64) -> Answer {
        match request.method().as_str() {
            "GET" => Ok(user_json(&self.store.user(user).await?)),
            "PUT" => {
                self.me(id).await?;
                let name = text(request, "name").await?;
                self.store.change_user(Some(user), &name).await?;
                Ok(user_json(&name))
            }
            "DELETE" => {
                self.me(id).await?;
                self.store.change_user(Some(user), "").await?;
                let mut reply = reply::text(StatusCode::NO_CONTENT, "");
                reply.headers_mut().remove(CONTENT_TYPE);
                Ok(reply)
            }
            _ => not_allowed(request.method(), "GET, HEAD, PUT, DELETE, OPTIONS"),
        }
    }
}

/// How many times as many attempts an account has from all addresses together as from one: so
/// nobody locks it by being wrong from their own.
const FROM_ALL: u64 = 10;

const LOGIN: &str = include_str!("../pages/login.html");
const HOME: &str = include_str!("../pages/home.html");
const CSS: &str = include_str!("../pages/site.css");
const SCRIPT: &str = "text/javascript; charset=utf-8";
const JS: &str = include_str!("../pages/site.js");
/// That of lesson 3.
const LANGUAGE: &str = include_str!("../../../html/rest/language.js");
const ICON: &str = include_str!("../pages/icon.svg");

/// A file, which a browser keeps and asks about each time: 304 where it has this very one.
fn file(request: &Request, kind: &'static str, text: &'static str) -> Reply {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    let tag = format!("\"{:016x}\"", hasher.finish());
    let known = |field: &HeaderValue| field.to_str().is_ok_and(|f| f.contains(&tag));
    let is_known = request.headers().get_all(IF_NONE_MATCH).iter().any(known);
    let mut reply = reply::reply(StatusCode::OK, HeaderValue::from_static(kind), text);
    if is_known {
        *reply.status_mut() = StatusCode::NOT_MODIFIED;
        *reply.body_mut() = Bytes::new().into();
    }
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    reply.headers_mut().extend(HeaderValue::try_from(tag).map(|tag| (ETAG, tag)));
    reply
}

/// 303: the answer to a form is a page (RFC 9110 section 15.4.4).
fn home() -> Reply {
    let mut reply = reply::redirect("/");
    *reply.status_mut() = StatusCode::SEE_OTHER;
    personal(&mut reply);
    reply
}

fn user_json(name: &str) -> Reply {
    reply::json(json!({ "name": name }).to_string())
}

async fn credentials(request: Request) -> Result<(String, String), Error> {
    let body = body::read(request).await?;
    let field = |name| query::form(&body, name).map(Option::unwrap_or_default);
    Ok((field("name")?, field("password")?))
}

/// A field of a form that holds a name to show.
async fn text(request: Request, field: &str) -> Result<String, Error> {
    let text = query::form(&body::read(request).await?, field)?.unwrap_or_default();
    let is_good = (1..=100).contains(&text.chars().count());
    is_good.then_some(text).ok_or_else(|| {
        Error::bad_request(ko_en!(
            "{field} 값은 1–100자여야 합니다. 예: {field}=Annie",
            "{field} must have 1 to 100 characters. Example: {field}=Annie"
        ))
    })
}

fn is_name(name: &str) -> bool {
    let is_plain = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    (3..=32).contains(&name.len()) && name.bytes().all(is_plain)
}

fn is_password(password: &str) -> bool {
    (8..=200).contains(&password.chars().count())
}

/// An id as we show it: `+1` and `01` are numbers to Rust, but no other names of user 1.
fn number(id: &str) -> Option<u64> {
    id.parse().ok().filter(|number: &u64| number.to_string() == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_of_few_names() {
        for path in ["/", "/logout/everywhere", "/users", "/site.css", "/language.js"] {
            assert_eq!(route(path), path);
        }
        assert_eq!(route("/users/17"), "/users/{id}");
        for other in
            ["", "/x", "/login/", "/ /signup", "/users/", "/users/01", "/users/1/2"]
        {
            assert_eq!(route(other), "other", "{other}");
        }
    }

    #[test]
    fn names_and_passwords() {
        for (name, good) in
            [("ab", false), ("a_-9", true), ("Annie", false), ("안니안니", false)]
        {
            assert_eq!(is_name(name), good, "{name}");
        }
        assert!(is_name(&"a".repeat(32)) && !is_name(&"a".repeat(33)));
        assert!(is_password(&"안".repeat(8)) && is_password(&"안".repeat(200)));
        assert!(!is_password("1234567") && !is_password(&"a".repeat(201)));
    }
}

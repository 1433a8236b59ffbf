//! A lesson's answers by bare hyper, without a limit, a time limit or a check: what a lesson's
//! own cost is measured against. `bare rest`, `bare http2`; the port is `PORT`.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, COOKIE, HeaderValue, LOCATION, SET_COOKIE,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use tokio::net::{TcpListener, TcpSocket};
use tokio_rustls::TlsAcceptor;

type Reply = Response<Full<Bytes>>;
type Anything<T> = Result<T, Box<dyn Error + Send + Sync>>;

const POLICY: &str = "default-src 'self'; form-action 'self'; frame-ancestors 'none'";
const HTML: &str = "text/html; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json; charset=utf-8";

fn main() -> Anything<()> {
    let lesson = std::env::args().nth(1).unwrap_or("hello".into());
    if lesson == "cluster" {
        return workers();
    }
    let runtime = match &*lesson {
        "worker" => tokio::runtime::Builder::new_current_thread().enable_all().build()?,
        _ => tokio::runtime::Builder::new_multi_thread().enable_all().build()?,
    };
    runtime.block_on(run(lesson))
}

async fn run(lesson: String) -> Anything<()> {
    let page = |page: &'static str| move |_| async move { reply(HTML, page) };
    match &*lesson {
        "worker" => {
            let socket = std::net::TcpListener::from(inherited()?);
            socket.set_nonblocking(true)?;
            let listener = TcpListener::from_std(socket)?;
            plain(listener, page("<h1>Hello Node!</h1><p>Hello Cluster!</p>")).await
        }
        "fs-html" => {
            let html = concat!(env!("CARGO_MANIFEST_DIR"), "/../html/server-html.html");
            let html = Bytes::from(std::fs::read(html)?);
            let handle = move |_| {
                let html = html.clone();
                async move { reply(HTML, html) }
            };
            plain(listen("http").await?, handle).await
        }
        "rest" => {
            let users = Arc::new(Mutex::new(BTreeMap::new()));
            let handle = move |request| rest(request, users.clone());
            plain(listen("http").await?, handle).await
        }
        "session" => {
            let sessions = Arc::new(Mutex::new(HashMap::new()));
            let handle = move |request| session(request, sessions.clone());
            plain(listen("http").await?, handle).await
        }
        "cookie" | "cookie-login" => {
            plain(listen("http").await?, |_| async { reply(TEXT, "Hello Cookie") }).await
        }
        "https" | "http2" => {
            let hello = page("<h1>Hello Node!</h1><p>Hello Server!</p>");
            encrypted(listen("https").await?, hello).await
        }
        _ => {
            let hello =
                page("<h1>Hello Node!</h1><p>Hello Server!</p><p>Hello Annie</p>");
            plain(listen("http").await?, hello).await
        }
    }
}

/// A first line as the lessons print it: tools take the URL from it.
async fn listen(scheme: &str) -> io::Result<TcpListener> {
    let port = std::env::var("PORT").unwrap_or_default().parse().unwrap_or(0);
    // With the one option that nobody can do without: those that are accepted inherit it.
    let socket = TcpSocket::new_v4()?;
    socket.set_nodelay(true)?;
    socket.bind(([127, 0, 0, 1], port).into())?;
    let listener = socket.listen(1024)?;
    let port = listener.local_addr()?.port();
    println!("{port}번 포트에서 서버 대기 중입니다 {scheme}://localhost:{port}/");
    Ok(listener)
}

async fn plain<H, F>(listener: TcpListener, handle: H) -> Anything<()>
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Reply, Infallible>> + Send + 'static,
{
    loop {
        let (stream, _) = listener.accept().await?;
        let service = service_fn(handle.clone());
        tokio::spawn(async move {
            let http = http1::Builder::new();
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// HTTP/1.1 or HTTP/2, with the certificate that the lessons made in `CERTS_DIR`.
async fn encrypted<H, F>(listener: TcpListener, handle: H) -> Anything<()>
where
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Reply, Infallible>> + Send + 'static,
{
    let certs = std::env::var("CERTS_DIR")
        .unwrap_or(concat!(env!("CARGO_MANIFEST_DIR"), "/../certs").into());
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(format!("{certs}/cert.pem"))?.collect();
    let key = PrivateKeyDer::from_pem_file(format!("{certs}/key.pem"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain?, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    loop {
        let (stream, _) = listener.accept().await?;
        let (acceptor, service) = (acceptor.clone(), service_fn(handle.clone()));
        tokio::spawn(async move {
            let Ok(tls) = acceptor.accept(stream).await else { return };
            if tls.get_ref().1.alpn_protocol() == Some(b"h2") {
                let http = http2::Builder::new(TokioExecutor::new());
                let _ = http.serve_connection(TokioIo::new(tls), service).await;
            } else {
                let http = http1::Builder::new();
                let _ = http.serve_connection(TokioIo::new(tls), service).await;
            }
        });
    }
}

fn reply(media: &'static str, body: impl Into<Bytes>) -> Result<Reply, Infallible> {
    let mut reply = Response::new(Full::new(body.into()));
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if media == HTML {
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    }
    Ok(reply)
}

type Users = Arc<Mutex<BTreeMap<u64, String>>>;

#[expect(clippy::unwrap_used, reason = "nothing is looked after here")]
async fn rest(request: Request<Incoming>, users: Users) -> Result<Reply, Infallible> {
    let (head, body) = request.into_parts();
    let id = head.uri.path().strip_prefix("/user/").and_then(|id| id.parse().ok());
    if head.method != "GET" {
        let body = body.collect().await.unwrap().to_bytes();
        println!("{} 본문(Body): {}", head.method, String::from_utf8_lossy(&body));
        let name = serde_json::from_slice::<Value>(&body).unwrap()["name"].clone();
        let name = name.as_str().unwrap().to_owned();
        let mut users = users.lock().unwrap();
        let next = users.last_key_value().map_or(1, |(last, _)| last + 1);
        let id = id.unwrap_or(next);
        users.insert(id, name);
        if head.method == "POST" {
            let mut reply = reply(TEXT, "등록 성공")?;
            let location = HeaderValue::try_from(format!("/user/{id}")).unwrap();
            *reply.status_mut() = hyper::StatusCode::CREATED;
            reply.headers_mut().insert(LOCATION, location);
            return Ok(reply);
        }
    }
    let users = users.lock().unwrap();
    reply(JSON, serde_json::to_vec(&*users).unwrap())
}

type Sessions = Arc<Mutex<HashMap<String, String>>>;

#[expect(clippy::unwrap_used, reason = "nothing is looked after here")]
async fn session(request: Request<Incoming>, all: Sessions) -> Result<Reply, Infallible> {
    if let Some(name) = request.uri().query().and_then(|q| q.strip_prefix("name=")) {
        let id = format!("{:032x}", all.lock().unwrap().len());
        let cookie = HeaderValue::try_from(format!("session={id}")).unwrap();
        all.lock().unwrap().insert(id, name.to_owned());
        let mut reply = reply(TEXT, "")?;
        reply.headers_mut().insert(SET_COOKIE, cookie);
        reply.headers_mut().insert(LOCATION, HeaderValue::from_static("/"));
        *reply.status_mut() = hyper::StatusCode::FOUND;
        return Ok(reply);
    }
    let cookie = request.headers().get(COOKIE).and_then(|cookie| cookie.to_str().ok());
    let id = cookie.and_then(|cookie| cookie.strip_prefix("session="));
    let name = id.and_then(|id| all.lock().unwrap().get(id).cloned());
    match name {
        Some(name) => reply(TEXT, format!("{name}님 안녕하세요")),
        None => reply(TEXT, "?"),
    }
}

/// `WORKERS` processes on one inherited socket.
fn workers() -> Anything<()> {
    let port = std::env::var("PORT").unwrap_or_default().parse().unwrap_or(0);
    let listener = std::net::TcpListener::bind(("127.0.0.1", port))?;
    let port = listener.local_addr()?.port();
    let count = std::env::var("WORKERS").unwrap_or_default().parse().unwrap_or(2);
    let mut children = Vec::new();
    for _ in 0..count {
        let mut command = Command::new(std::env::current_exe()?);
        let socket = OwnedFd::from(listener.try_clone()?);
        children.push(command.arg("worker").stdin(Stdio::from(socket)).spawn()?);
    }
    println!("{port}번 포트에서 서버 대기 중입니다 http://localhost:{port}/");
    for mut child in children {
        child.wait()?;
    }
    Ok(())
}

/// The socket that is this worker's standard input.
fn inherited() -> io::Result<OwnedFd> {
    use std::os::fd::AsFd;
    io::stdin().as_fd().try_clone_to_owned()
}

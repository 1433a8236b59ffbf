//! `/cluster`: a page that shows the workers as they are now. It asks again and again; should
//! the worker that answers it die, the next one answers the next question.

use cluster::ToMaster;
use common::reply::{self, not_allowed};
use common::{Error, Files, Reply, Request};
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, HOST, HeaderValue, ORIGIN};
use serde_json::Value;

/// All that lies under `/cluster`. None of it starts a worker's crash clock.
pub async fn route(
    request: &Request,
    to_master: &ToMaster,
    files: &Files,
) -> Result<Reply, Error> {
    let path = request.uri().path();
    match (request.method().as_str(), path) {
        ("GET", "/cluster") => files.page(request, "cluster/cluster.html").await,
        ("GET", "/cluster/status") => {
            let mut reply = reply::json(status(to_master).await?);
            let fresh = HeaderValue::from_static("no-store");
            reply.headers_mut().insert(CACHE_CONTROL, fresh);
            Ok(reply)
        }
        (_, "/cluster" | "/cluster/status") => not_allowed(request.method(), READ),
        (method, _) => match path.strip_prefix("/cluster/crash/") {
            Some(pid) if method == "POST" => crash(request, pid, to_master).await,
            Some(_) => not_allowed(request.method(), "POST, OPTIONS"),
            // /cluster/cluster.css, /cluster/cluster.js
            None => match (method, files.asset(request).await?) {
                ("GET", file) => Ok(file),
                _ => not_allowed(request.method(), READ),
            },
        },
    }
}

const READ: &str = "GET, HEAD, OPTIONS";

async fn status(to_master: &ToMaster) -> Result<String, Error> {
    to_master.status().await.ok_or_else(|| {
        let message = "마스터가 답하지 않습니다. 잠시 뒤 다시 시도하세요.";
        Error::new(StatusCode::SERVICE_UNAVAILABLE, message)
    })
}

/// 202: the worker of this number has been asked to end.
async fn crash(
    request: &Request,
    pid: &str,
    to_master: &ToMaster,
) -> Result<Reply, Error> {
    if !is_same_origin(request) {
        let message = "다른 사이트의 페이지는 워커를 끝낼 수 없습니다.";
        return Err(Error::new(StatusCode::FORBIDDEN, message));
    }
    let pid: u32 = pid.parse().map_err(|_| Error::not_found())?;
    let status: Value =
        serde_json::from_str(&status(to_master).await?).map_err(std::io::Error::from)?;
    let mut workers = status["workers"].as_array().into_iter().flatten();
    if !workers.any(|worker| worker["pid"] == pid) {
        return Err(Error::not_found());
    }
    to_master.crash(pid);
    Ok(reply::text(StatusCode::ACCEPTED, format!("{pid}번 워커에 종료를 요청했습니다.")))
}

/// Any page in the world can have a browser send us a POST; only our own may mean it. Browsers
/// say where a request comes from. Whoever says nothing is no browser, and no victim.
fn is_same_origin(request: &Request) -> bool {
    let header = |name: &str| request.headers().get(name).map(HeaderValue::as_bytes);
    match (header("sec-fetch-site"), header(ORIGIN.as_str())) {
        (Some(site), _) => matches!(site, b"same-origin" | b"none"),
        (None, Some(origin)) => {
            let own = header(HOST.as_str());
            own.is_some() && origin.strip_prefix(b"http://") == own
        }
        (None, None) => true,
    }
}

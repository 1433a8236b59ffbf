//! `/cluster`: a page that shows the workers as they are now. It asks again and again; should
//! the worker that answers it die, the next one answers the next question.

use cluster::MasterHandle;
use common::reply::{self, not_allowed};
use common::{Error, Reply, Request, ko_en};
use fs_html::Files;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, HeaderValue};
use serde_json::Value;

/// All that lies under `/cluster`. None of it starts a worker's crash clock. `from_here`: the
/// client is on this machine.
pub async fn route(
    request: &Request,
    from_here: bool,
    master: &MasterHandle,
    files: &Files,
) -> Result<Reply, Error> {
    let path = request.uri().path();
    match (request.method().as_str(), path) {
        ("GET", "/cluster") => files.page(request, "cluster/cluster.html").await,
        ("GET", "/cluster/status") => {
            let mut reply = reply::json(status(master).await?);
            let fresh = HeaderValue::from_static("no-store");
            reply.headers_mut().insert(CACHE_CONTROL, fresh);
            Ok(reply)
        }
        (_, "/cluster" | "/cluster/status") => not_allowed(request.method(), READ),
        (method, _) => match path.strip_prefix("/cluster/crash/") {
            Some(pid) if method == "POST" => crash(pid, from_here, master).await,
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

async fn status(master: &MasterHandle) -> Result<String, Error> {
    master.status().await.ok_or_else(|| {
        let message = ko_en!(
            "마스터가 답하지 않습니다. 잠시 뒤 다시 시도하세요.",
            "The master does not answer. Try again in a moment."
        );
        Error::new(StatusCode::SERVICE_UNAVAILABLE, message)
    })
}

/// 202: the worker of this number has been asked to end.
async fn crash(
    pid: &str,
    from_here: bool,
    master: &MasterHandle,
) -> Result<Reply, Error> {
    if !from_here {
        let message = ko_en!(
            "워커는 이 컴퓨터에서만 종료할 수 있습니다.",
            "A worker can be ended from this machine alone."
        );
        return Err(Error::new(StatusCode::FORBIDDEN, message));
    }
    let pid: u32 = pid.parse().map_err(|_| Error::not_found())?;
    let status: Value =
        serde_json::from_str(&status(master).await?).map_err(std::io::Error::from)?;
    let mut workers = status["workers"].as_array().into_iter().flatten();
    if !workers.any(|worker| worker["pid"] == pid) {
        return Err(Error::not_found());
    }
    master.crash(pid);
    let line = ko_en!(
        "{pid}번 워커에 종료를 요청했습니다.",
        "Worker {pid} has been asked to end."
    );
    Ok(reply::text(StatusCode::ACCEPTED, line))
}

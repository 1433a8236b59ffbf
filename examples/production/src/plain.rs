//! Plain HTTP: sends everybody on to `https`, and answers whoever issues our certificate.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use common::reply;
use common::{Error, Reply, Request, ko_en};
use hyper::StatusCode;
use hyper::header::{HOST, HeaderValue, LOCATION};

/// What plain HTTP needs to know.
pub struct Plain {
    /// The port of `https`.
    pub port: u16,
    /// `ACME_DIR`, into which an ACME client (certbot `--webroot`, lego) writes its files.
    pub acme: Option<PathBuf>,
}

impl Plain {
    /// 308 to the same path by `https` (RFC 9110 section 15.4.9), whatever the method was.
    ///
    /// # Errors
    /// 404 for a file of ACME that is not there; 400 for HTTP/1.0 without a `Host`: nobody knows
    /// where to send it.
    pub async fn handle(&self, request: Request) -> Result<Reply, Error> {
        let path = request.uri().path();
        // RFC 8555 section 8.3: the answer to a challenge comes by plain HTTP.
        if let Some(token) = path.strip_prefix("/.well-known/acme-challenge/") {
            return challenge(self.acme.as_deref(), token).await;
        }
        // `guard` has looked at it: where there is one, it is a host.
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let host = host.ok_or_else(|| {
            Error::bad_request(ko_en!(
                "Host 헤더가 필요합니다.",
                "It takes a Host header."
            ))
        })?;
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => host,
        };
        let port =
            if self.port == 443 { String::new() } else { format!(":{}", self.port) };
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let location = HeaderValue::try_from(format!("https://{name}{port}{path}"));
        let mut reply = reply::text(StatusCode::PERMANENT_REDIRECT, "");
        reply.headers_mut().insert(LOCATION, location.map_err(io::Error::other)?);
        Ok(reply)
    }
}

async fn challenge(folder: Option<&Path>, token: &str) -> Result<Reply, Error> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    let Some(folder) = folder.filter(|_| !token.is_empty() && token.bytes().all(plain))
    else {
        return Err(Error::not_found());
    };
    let path = folder.join(token);
    // Opening anything else, such as a pipe, may take for ever.
    let read = move || {
        let is_file = path.metadata()?.is_file();
        if is_file { std::fs::read(path) } else { Err(ErrorKind::NotFound.into()) }
    };
    let file = tokio::task::spawn_blocking(read);
    match file.await.map_err(io::Error::other)? {
        Ok(text) => Ok(reply::text(StatusCode::OK, text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::not_found()),
        Err(error) => Err(error.into()),
    }
}

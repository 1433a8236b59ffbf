//! Answers with the headers that every one of them should have.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderValue,
    LOCATION, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Response, StatusCode};

use crate::{Error, ko_en};

/// A whole answer. The body is one piece of memory: for a page or a JSON text, a channel or a
/// stream would only cost more.
pub type Reply = Response<Full<Bytes>>;

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// Scripts, styles and pictures from this server alone and nothing inline, so that a name with
/// markup in it stays a name even where a page forgets to escape it; and no page of another site
/// may frame ours and have its visitors press our buttons (CSP level 3).
const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; form-action 'self'; frame-ancestors 'none'",
);

/// 200 with a page.
pub fn html(page: impl Into<Full<Bytes>>) -> Reply {
    reply(StatusCode::OK, HTML, page)
}

/// This status with a line of plain text.
pub fn text(status: StatusCode, line: impl Into<Full<Bytes>>) -> Reply {
    reply(status, TEXT, line)
}

/// 200 with JSON that is already serialised.
pub fn json(json: impl Into<Full<Bytes>>) -> Reply {
    reply(StatusCode::OK, JSON, json)
}

/// This status, media type and body.
pub fn reply(code: StatusCode, kind: HeaderValue, body: impl Into<Full<Bytes>>) -> Reply {
    let mut reply = Response::new(body.into());
    *reply.status_mut() = code;
    *reply.headers_mut() = headers(kind);
    reply
}

/// The headers that go with a media type. Pages get their Content-Security-Policy here.
pub fn headers(media: HeaderValue) -> HeaderMap {
    // Room for these and a few more in one allocation.
    let mut headers = HeaderMap::with_capacity(6);
    if media.as_bytes().starts_with(b"text/html") {
        headers.insert(CONTENT_SECURITY_POLICY, PAGE_POLICY);
    }
    headers.insert(CONTENT_TYPE, media);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers
}

/// 302 to another path of this server (RFC 9110 section 15.4.3).
pub fn redirect(location: &'static str) -> Reply {
    let mut reply = text(StatusCode::FOUND, "");
    reply.headers_mut().insert(LOCATION, HeaderValue::from_static(location));
    reply
}

/// Marks an answer as meant for one client: no cache, the browser's own among them, keeps it
/// and shows it to the next one, or after a logout (RFC 9111 section 5.2.2.5).
pub fn personal(reply: &mut Reply) {
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

/// The end of every `match` on method and path: the path is known, this method is not one of
/// `allow`. 204 for `OPTIONS`, 405 for all others, both with `Allow` (RFC 9110 section 10.2.1).
///
/// `HEAD` never comes here: [`mod@crate::guard`] hands it on as `GET`.
///
/// # Errors
/// The 405.
pub fn not_allowed(method: &Method, allow: &'static str) -> Result<Reply, Error> {
    let allow_value = HeaderValue::from_static(allow);
    if method == Method::OPTIONS {
        let mut reply = text(StatusCode::NO_CONTENT, "");
        reply.headers_mut().remove(CONTENT_TYPE);
        reply.headers_mut().insert(ALLOW, allow_value);
        return Ok(reply);
    }
    let message = ko_en!(
        "{method} 메서드는 쓸 수 없습니다. 쓸 수 있는 메서드: {allow}",
        "The method {method} is not allowed here. Allowed: {allow}"
    );
    let error = Error::new(StatusCode::METHOD_NOT_ALLOWED, message);
    Err(Error { allow: Some(allow_value), ..error })
}

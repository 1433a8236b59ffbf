//! Any page in the world can have a visitor's browser send us a POST. Browsers say for whom
//! they send a request; what is not for a page of ours changes nothing here. The rule is that of
//! Go's `http.CrossOriginProtection`. It needs no token in any form.
//!
//! One case it cannot see: a page of `evil.example` whose name is made to lead to 127.0.0.1
//! (DNS rebinding) is of the same origin as we are, to the browser. So while we listen on
//! loopback addresses alone, a browser must also have called us by a name for one.

use std::net::IpAddr;

use hyper::header::{HOST, HeaderName, HeaderValue, ORIGIN};
use hyper::{Method, StatusCode};

use crate::{Error, Request, ko_en};

const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Checks a request that may change something. `loopback`: we listen on loopback alone.
///
/// # Errors
/// 403 for one that a browser sends on behalf of another site.
pub fn check(request: &Request, loopback: bool) -> Result<(), Error> {
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    let headers = request.headers();
    let mut sites = headers.get_all(SITE).iter().peekable();
    let origin = headers.get(ORIGIN);
    if sites.peek().is_none() && origin.is_none() {
        return Ok(()); // no browser, and so nobody's visitor
    }
    // HTTP/2 has no Host; it has an authority.
    let host = request.uri().authority().map(|authority| authority.as_str());
    let host = host.or_else(|| headers.get(HOST)?.to_str().ok()).unwrap_or_default();
    let same_site = match (sites.peek(), origin) {
        (None, Some(origin)) => is_origin_of(host, origin),
        _ => sites.all(|site| matches!(site.as_bytes(), b"same-origin" | b"none")),
    };
    if same_site && (!loopback || is_loopback(host)) {
        return Ok(());
    }
    let message = ko_en!(
        "다른 사이트의 페이지는 여기서 아무것도 바꿀 수 없습니다.",
        "A page of another site cannot change anything here."
    );
    Err(Error::new(StatusCode::FORBIDDEN, message))
}

/// `null`, which has no host, is the origin of nobody.
fn is_origin_of(host: &str, origin: &HeaderValue) -> bool {
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    origin.is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(host))
}

/// A host that can only be this machine: `localhost`, names below it (RFC 6761 section 6.3),
/// and loopback addresses.
fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_matches(['[', ']']).to_ascii_lowercase();
    match name.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => name == "localhost" || name.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_this_machine() {
        for loopback in [
            "localhost",
            "LOCALHOST:8082",
            "a.localhost",
            "127.0.0.1",
            "127.9.9.9:80",
            "[::1]",
            "[::1]:443",
        ] {
            assert!(is_loopback(loopback), "{loopback}");
        }
        for other in [
            "",
            "evil.example",
            "localhost.evil.example",
            "notlocalhost",
            "10.0.0.1",
            "[::2]:80",
            "127.0.0.1.evil.example:80",
            "0.0.0.0",
        ] {
            assert!(!is_loopback(other), "{other}");
        }
    }

    #[test]
    fn origins() {
        let is = |host, origin| is_origin_of(host, &HeaderValue::from_static(origin));
        assert!(is("localhost:8082", "http://localhost:8082"));
        assert!(is("LocalHost", "https://localhost"));
        for origin in
            ["null", "", "http://localhost", "http://evil.example", "localhost:8082"]
        {
            assert!(!is("localhost:8082", origin), "{origin}");
        }
        assert!(!is("", "null"));
    }
}

//! HTTP/1.1 asks for exactly one `Host`, and hyper does not look (RFC 9112 section 3.2).

use std::net::Ipv6Addr;

use hyper::Version;
use hyper::header::HOST;

use crate::{Error, Request, ko_en};

/// # Errors
/// 400 without a `Host`, with two, or with one that is malformed.
pub fn check(request: &Request) -> Result<(), Error> {
    let version = request.version();
    if version >= Version::HTTP_2 {
        return Ok(());
    }
    let mut hosts = request.headers().get_all(HOST).iter();
    Err(Error::bad_request(match (hosts.next(), hosts.next()) {
        (Some(host), None) if is_host(host.as_bytes()) => return Ok(()),
        (None, _) if version < Version::HTTP_11 => return Ok(()),
        (None, _) => ko_en!(
            "HTTP/1.1 요청에는 Host 헤더가 있어야 합니다. 예: Host: localhost",
            "An HTTP/1.1 request needs a Host header. Example: Host: localhost"
        ),
        (Some(_), Some(_)) => {
            ko_en!("Host 헤더는 하나여야 합니다.", "There must be one Host header.")
        }
        (Some(_), None) => ko_en!(
            "Host 헤더의 형식이 잘못되었습니다. 예: Host: localhost:8082",
            "The Host header is malformed. Example: Host: localhost:8082"
        ),
    }))
}

/// `host [":" port]`, where host is a name, an IPv4 address or an IPv6 address in brackets
/// (RFC 3986 section 3.2.2). No name has an escape (`%41`), though that RFC would allow one.
fn is_host(host: &[u8]) -> bool {
    let (name_is_good, rest) = if let Some(inner) = host.strip_prefix(b"[") {
        let end = inner.iter().position(|b| *b == b']').unwrap_or(inner.len());
        let address = std::str::from_utf8(&inner[..end]).ok();
        let good = address.is_some_and(|a| a.parse::<Ipv6Addr>().is_ok());
        (good && end < inner.len(), inner.get(end + 1..).unwrap_or_default())
    } else {
        let allowed =
            |b: &u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(b);
        let end = host.iter().position(|b| !allowed(b)).unwrap_or(host.len());
        (end > 0, &host[end..])
    };
    let port_is_good = match rest.strip_prefix(b":") {
        Some(port) => port.len() <= 5 && port.iter().all(u8::is_ascii_digit),
        None => rest.is_empty(),
    };
    name_is_good && port_is_good
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_passes_is_an_authority(host in "[a-z0-9.:\\[\\]%@/ \\-]{0,12}|\\PC{0,12}") {
            if is_host(host.as_bytes()) {
                let authority: hyper::http::uri::Authority = host.parse().expect(&host);
                prop_assert!(!host.contains(['@', '/', ' ', '\\']), "{host}");
                prop_assert!(!authority.host().is_empty(), "{host}");
            }
        }
    }

    #[test]
    fn hosts() {
        for good in [
            "localhost",
            "localhost:8082",
            "127.0.0.1:1",
            "[::1]",
            "[::1]:65535",
            "a-b.c_d",
            "a:",
        ] {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            ":80",
            "a b",
            "a/b",
            "user@host",
            "%",
            "%41",
            "[::1",
            "[zz]",
            "[]",
            "a:b",
            "a:1:2",
            "a:123456",
            "[::1]x",
            "::1",
            "a\\b",
            "a\u{e9}",
            "http://a",
        ] {
            assert!(!is_host(bad.as_bytes()), "{bad}");
        }
    }
}

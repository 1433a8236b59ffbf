//! Cookies: what a browser sends back (`Cookie`), and what we ask it to keep (`Set-Cookie`).
//! RFC 6265 says how both look on the wire.

use std::time::Duration;

use cookie::time::{self, OffsetDateTime};
use cookie::{Cookie, SameSite};
use hyper::HeaderMap;
use hyper::header::{COOKIE, HeaderValue, SET_COOKIE};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};

use crate::Error;
use crate::reply::{Reply, personal};

/// The value of the cookie `name`, decoded; `parseCookies(req.headers.cookie).name` in Node.
///
/// Whatever a client sends is some answer and never an error: a cookie without a value, or
/// one that is no percent-encoded UTF-8, counts as not sent. Of two with one name the first
/// counts: a browser sends the one with the longer path first (RFC 6265 section 5.4).
pub fn get(headers: &HeaderMap, name: &str) -> Option<String> {
    // Over HTTP/2 each cookie may come in a field of its own, and `headers.get(COOKIE)` would
    // see the first of them only (RFC 9113 section 8.2.3).
    for field in headers.get_all(COOKIE) {
        // Bytes, not text: one cookie that is no UTF-8 must not hide the others.
        for pair in field.as_bytes().split(|b| *b == b';') {
            // The value begins behind the first `=`; it may itself hold more of them.
            let Some(equals) = pair.iter().position(|b| *b == b'=') else { continue };
            if pair[..equals].trim_ascii() == name.as_bytes()
                && let Some(value) =
                    decode(without_quotes(pair[equals + 1..].trim_ascii()))
            {
                return Some(value);
            }
        }
    }
    None
}

/// RFC 6265 section 4.1.1 lets a server wrap a value in double quotes, and a browser sends
/// them back as they are. They are the wrapping, not the value: a quote that belongs to the
/// value would be `%22`.
fn without_quotes(value: &[u8]) -> &[u8] {
    let inner = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    inner.unwrap_or(value)
}

/// `decodeURIComponent`, which throws where this returns nothing; so it does for an empty value.
fn decode(value: &[u8]) -> Option<String> {
    let is_escape =
        |part: &[u8]| part.len() >= 2 && part[..2].iter().all(u8::is_ascii_hexdigit);
    let decoded = if !value.contains(&b'%') {
        std::str::from_utf8(value).ok()?.to_owned() // an id, say
    } else if value.split(|b| *b == b'%').skip(1).all(is_escape) {
        percent_decode(value).decode_utf8().ok()?.into_owned()
    } else {
        return None;
    };
    (!decoded.is_empty()).then_some(decoded)
}

/// What `encodeURIComponent` leaves as it is. All of it may stand in a cookie's value; what
/// ends a cookie or a header (`;`, a space, a line end) may not, and is escaped.
const PLAIN: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// `encodeURIComponent`: any text, as what may stand in a cookie.
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, &PLAIN).to_string()
}

/// Asks the browser to keep a cookie for `lifetime` and to send it to every path, but to show
/// it to no script (`HttpOnly`) and to bring it along from no other site's forms (`SameSite`).
/// The value is encoded by [`encode`].
///
/// # Errors
/// None that a value could cause: a `name` that is no token.
pub fn set(
    reply: &mut Reply,
    name: &str,
    value: &str,
    lifetime: Duration,
) -> Result<(), Error> {
    let lifetime =
        time::Duration::seconds(lifetime.as_secs().try_into().unwrap_or(i64::MAX));
    let cookie = Cookie::build((name, encode(value)))
        // Two ways to say one thing: `Max-Age` wins, and the oldest clients know `Expires` only.
        .expires(OffsetDateTime::now_utc().saturating_add(lifetime))
        .max_age(lifetime);
    append(reply, cookie.build())
}

/// Asks the browser to forget a cookie that [`set`] made: the same one, long expired.
///
/// # Errors
/// As [`set`].
pub fn remove(reply: &mut Reply, name: &str) -> Result<(), Error> {
    let mut cookie = Cookie::from(name);
    cookie.make_removal();
    append(reply, cookie)
}

fn append(reply: &mut Reply, mut cookie: Cookie<'_>) -> Result<(), Error> {
    // Browsers take a cookie with such a name in no other way (RFC 6265bis section 4.1.3).
    if ["__Host-", "__Secure-"].iter().any(|prefix| cookie.name().starts_with(prefix)) {
        cookie.set_secure(true);
    }
    cookie.set_http_only(true);
    cookie.set_same_site(SameSite::Lax);
    cookie.set_path("/");
    let value =
        HeaderValue::try_from(cookie.to_string()).map_err(std::io::Error::other)?;
    reply.headers_mut().append(SET_COOKIE, value);
    personal(reply);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers(fields: &[&[u8]]) -> HeaderMap {
        let value = |field: &&[u8]| HeaderValue::from_bytes(field).unwrap();
        fields.iter().map(|field| (COOKIE, value(field))).collect()
    }

    fn name_in(field: &[u8]) -> Option<String> {
        get(&headers(&[field]), "name")
    }

    #[test]
    fn cookies_are_read() {
        let rows: [(&[u8], Option<&str>); 42] = [
            (b"name=Annie", Some("Annie")),
            (b"name=%EC%95%88%EB%8B%88", Some("안니")),
            (b"name=%ec%95%88%eb%8b%88", Some("안니")),
            (b"a=1; name=Annie; b=2", Some("Annie")),
            (b"a=1;name=Annie;b=2", Some("Annie")),
            (b"  name = Annie  ", Some("Annie")),
            (b"\tname=Annie\t;", Some("Annie")),
            (b";;; ;name=Annie", Some("Annie")),
            // The value begins behind the first `=` and goes on to the `;`.
            (b"name=a=b", Some("a=b")),
            (b"name==", Some("=")),
            (b"name=a=b==; x=y", Some("a=b==")),
            (b"name=a b", Some("a b")),
            (b"name=a+b", Some("a+b")), // a plus is a space in a query, not here
            (b"name=a%3Db%3Bc%25", Some("a=b;c%")),
            (b"name=%22", Some("\"")),
            (b"name=%00%0D%0A", Some("\0\r\n")),
            (b"name=%2525", Some("%25")), // decoded once
            (b"name=a,b", Some("a,b")),
            // The first of two counts, and what counts as absent is not the first.
            (b"name=1; name=2", Some("1")),
            (b"name=; name=2", Some("2")),
            (b"name=%; name=2", Some("2")),
            // Quotes are the wrapping, where both are there.
            (b"name=\"Annie\"", Some("Annie")),
            (b"name=\"%22\"", Some("\"")),
            (b"name=\"\"", None),
            (b"name=\"", Some("\"")),
            (b"name=\"Annie", Some("\"Annie")),
            (b"name=An\"nie", Some("An\"nie")),
            // No value, or none that can be read.
            (b"", None),
            (b"=", None),
            (b"name", None),
            (b"name=", None),
            (b"name=   ", None),
            (b"name=%", None),
            (b"name=%4", None),
            (b"name=%zz", None),
            (b"name=100%", None),
            (b"name=%ff", None),
            (b"name=%EC%95", None),
            // Another name is another cookie.
            (b"Name=Annie", None),
            (b"names=Annie; xname=Annie; =name", None),
            // Bytes beyond ASCII break a rule, but hurt nobody.
            (b"x=\xff\xfe; name=Annie", Some("Annie")),
            ("name=안니".as_bytes(), Some("안니")),
        ];
        for (field, expected) in rows {
            let shown = String::from_utf8_lossy(field);
            assert_eq!(name_in(field).as_deref(), expected, "Cookie: {shown}");
        }
        assert_eq!(name_in(b"name=\xff"), None);
    }

    #[test]
    fn all_fields_of_a_request_are_read_in_order() {
        let several = headers(&[b"a=1", b"b=2; name=first", b"name=second; c=3"]);
        assert_eq!(get(&several, "name").as_deref(), Some("first"));
        assert_eq!(get(&several, "c").as_deref(), Some("3"));
        assert_eq!(get(&HeaderMap::new(), "name"), None);
    }

    #[test]
    fn what_is_plain_for_encode_uri_component_is_plain() {
        // Node: encodeURIComponent(String.fromCharCode(...Array(128).keys()))
        let ascii: String = (0..128u8).map(char::from).collect();
        assert_eq!(
            encode(&ascii),
            "%00%01%02%03%04%05%06%07%08%09%0A%0B%0C%0D%0E%0F%10%11%12%13%14%15%16%17\
             %18%19%1A%1B%1C%1D%1E%1F%20!%22%23%24%25%26'()*%2B%2C-.%2F0123456789%3A%3B\
             %3C%3D%3E%3F%40ABCDEFGHIJKLMNOPQRSTUVWXYZ%5B%5C%5D%5E_%60\
             abcdefghijklmnopqrstuvwxyz%7B%7C%7D~%7F"
        );
        assert_eq!(encode("안😀"), "%EC%95%88%F0%9F%98%80");
    }

    /// `name=value` and the attributes of the one `Set-Cookie` of an answer.
    fn set_cookie(reply: &Reply) -> (String, Vec<String>) {
        let mut fields = reply.headers().get_all(SET_COOKIE).iter();
        let field = fields.next().unwrap().to_str().unwrap();
        assert!(fields.next().is_none(), "one cookie");
        let mut parts = field.split("; ").map(str::to_owned);
        (parts.next().unwrap(), parts.collect())
    }

    #[test]
    fn a_cookie_is_set_with_all_its_attributes() {
        let mut reply = crate::reply::redirect("/");
        set(&mut reply, "name", "안니", Duration::from_secs(300)).unwrap();
        let (pair, mut attributes) = set_cookie(&reply);
        assert_eq!(pair, "name=%EC%95%88%EB%8B%88");
        attributes.sort();
        let expires = attributes.remove(0);
        assert_eq!(attributes, ["HttpOnly", "Max-Age=300", "Path=/", "SameSite=Lax"]);
        assert_eq!(expires.len(), "Expires=Mon, 23 Nov 2026 19:23:03 GMT".len());
        assert!(
            expires.starts_with("Expires=") && expires.ends_with(" GMT"),
            "{expires}"
        );
        assert_eq!(reply.headers()["cache-control"], "no-store");
    }

    #[test]
    fn a_cookie_is_removed_with_the_attributes_it_was_set_with() {
        let mut reply = crate::reply::redirect("/");
        remove(&mut reply, "name").unwrap();
        let (pair, attributes) = set_cookie(&reply);
        assert_eq!(pair, "name=");
        for attribute in ["Max-Age=0", "Path=/", "HttpOnly", "SameSite=Lax"] {
            assert!(attributes.iter().any(|a| a == attribute), "{attributes:?}");
        }
        assert!(attributes.iter().any(|a| a.starts_with("Expires=")), "{attributes:?}");
    }

    #[test]
    fn a_name_that_demands_it_makes_a_secure_cookie() {
        for (name, secure) in [("__Host-a", true), ("__Secure-a", true), ("a", false)] {
            let (mut first, mut last) =
                (crate::reply::redirect("/"), crate::reply::redirect("/"));
            set(&mut first, name, "1", Duration::from_secs(300)).unwrap();
            remove(&mut last, name).unwrap();
            for reply in [first, last] {
                let (_, attributes) = set_cookie(&reply);
                let is = |a: &str| attributes.iter().any(|other| other == a);
                assert!(is("Secure") == secure && is("Path=/"), "{name}: {attributes:?}");
            }
        }
    }

    #[test]
    fn no_lifetime_is_too_long() {
        let mut reply = crate::reply::redirect("/");
        set(&mut reply, "name", "a", Duration::MAX).unwrap();
        assert!(set_cookie(&reply).1.iter().any(|a| a.starts_with("Max-Age=")));
    }

    proptest! {
        #[test]
        fn any_value_survives_the_round_trip(value in "\\PC*|[ -~]*|(?s).*", other: String) {
            prop_assume!(!value.is_empty());
            let mut reply = crate::reply::redirect("/");
            set(&mut reply, "name", &value, Duration::from_secs(300)).unwrap();
            let (pair, attributes) = set_cookie(&reply);
            prop_assert_eq!(attributes.len(), 5, "no value makes an attribute");
            // cookie-octet, RFC 6265 section 4.1.1
            let octet = |b: u8| b.is_ascii_graphic() && !b"\",;\\".contains(&b);
            prop_assert!(pair["name=".len()..].bytes().all(octet), "{}", pair);
            // Back from the browser, among others.
            let field = format!("x={}; {pair}; y=1", encode(&other));
            prop_assert_eq!(name_in(field.as_bytes()), Some(value));
        }

        #[test]
        fn no_field_is_an_error(fields: Vec<Vec<u8>>) {
            let fields = fields.iter().filter_map(|f| HeaderValue::from_bytes(f).ok());
            let headers: HeaderMap = fields.map(|field| (COOKIE, field)).collect();
            if let Some(value) = get(&headers, "name") {
                prop_assert!(!value.is_empty());
            }
        }

        #[test]
        fn no_field_near_a_cookie_is_an_error(field in "[name=%;\" 0-9a-fA-F\\t]{0,40}") {
            if let Some(value) = name_in(field.as_bytes()) {
                prop_assert!(!value.is_empty() && !value.contains(';') || field.contains('%'));
            }
        }
    }
}

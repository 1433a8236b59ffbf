//! What stands behind the `?` of a URL: `new URL(req.url, base).searchParams` in Node; and what
//! a browser's form sends in a body, which looks the same.

use hyper::Uri;
use percent_encoding::percent_decode;

use crate::{Error, ko_en};

/// The first value of `name` in the query, decoded as a browser's form encodes it: `+` is a
/// space, `%EC%95%88` is 안 (WHATWG URL, application/x-www-form-urlencoded). A `%` that
/// begins no escape is a `%`. A name without `=` has an empty value.
///
/// # Errors
/// 400 where the value is no UTF-8. Other parameters may hold what they like.
pub fn first(uri: &Uri, name: &str) -> Result<Option<String>, Error> {
    find(uri.query().unwrap_or_default(), name)
}

/// The first value of `name` in a form that came as a body, decoded as in [`first`].
///
/// # Errors
/// 400 where the value, or the body as it came, is no UTF-8.
pub fn form(body: &[u8], name: &str) -> Result<Option<String>, Error> {
    find(std::str::from_utf8(body).map_err(|_| no_utf8(name))?, name)
}

fn find(pairs: &str, name: &str) -> Result<Option<String>, Error> {
    for pair in pairs.split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if decode(key) == name.as_bytes() {
            let value = String::from_utf8(decode(value));
            return value.map(Some).map_err(|_| no_utf8(name));
        }
    }
    Ok(None)
}

fn no_utf8(name: &str) -> Error {
    Error::bad_request(ko_en!(
        "{name} 값이 올바른 UTF-8이 아닙니다. 예: {name}=%EC%95%88%EB%8B%88",
        "{name} is no UTF-8. Example: {name}=%EC%95%88%EB%8B%88"
    ))
}

fn decode(text: &str) -> Vec<u8> {
    // Before the escapes are decoded: `%2B` stays a plus.
    percent_decode(text.replace('+', " ").as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name(query: &str) -> Option<String> {
        first(&format!("/login{query}").parse().unwrap(), "name").unwrap()
    }

    #[test]
    fn values() {
        for (query, expected) in [
            ("", None),
            ("?", None),
            ("?name", Some("")),
            ("?name=", Some("")),
            ("?name=Annie", Some("Annie")),
            ("?name=%EC%95%88%EB%8B%88", Some("안니")),
            ("?name=a+b%20c", Some("a b c")),
            ("?name=a%2Bb", Some("a+b")),
            ("?name=a=b", Some("a=b")),
            ("?name=100%", Some("100%")),
            ("?name=%zz", Some("%zz")),
            ("?name=%2", Some("%2")),
            ("?name=a%26b", Some("a&b")),
            ("?name=1&name=2", Some("1")),
            ("?x=%ff&name=a", Some("a")),
            ("?%ff=x&name=a", Some("a")),
            ("?&&name=a&", Some("a")),
            ("?n%61me=a", Some("a")),
            ("?name+=a", None),
            ("?Name=a", None),
            ("?name=%00%0d%0a", Some("\0\r\n")),
        ] {
            assert_eq!(name(query).as_deref(), expected, "{query}");
        }
    }

    #[test]
    fn a_form_in_a_body_is_read_as_a_query_is() {
        let name = |body: &[u8]| form(body, "name").unwrap();
        assert_eq!(name(b"name=a+b%2B%EC%95%88&name=2").as_deref(), Some("a b+안"));
        assert_eq!(name("x=%ff&name=안".as_bytes()).as_deref(), Some("안"));
        assert_eq!((name(b"name").as_deref(), name(b"")), (Some(""), None));
        for body in [&b"name=%ff"[..], b"name=a&x=\xff"] {
            let error = form(body, "name").unwrap_err();
            assert_eq!(error.status, hyper::StatusCode::BAD_REQUEST);
        }
    }

    #[test]
    fn a_value_that_is_no_utf8_is_400() {
        for query in ["name=%ff", "name=%EC%95", "name=a%C0%80", "name=%ED%A0%80"] {
            let uri = format!("/login?{query}&name=a").parse().unwrap();
            let error = first(&uri, "name").unwrap_err();
            assert_eq!(error.status, hyper::StatusCode::BAD_REQUEST, "{query}");
        }
    }

    proptest! {
        #[test]
        fn any_text_survives(text: String, before in "[a-z=%&+]*") {
            let encoded: String = text.bytes().map(|b| format!("%{b:02X}")).collect();
            prop_assume!(!before.contains("name"));
            prop_assert_eq!(name(&format!("?{before}&name={encoded}")), Some(text));
        }

        #[test]
        fn any_query_is_read_or_refused(query in "[ -~&&[^#\"<> `{}]]{0,60}") {
            if let Ok(uri) = format!("/?{query}").parse() {
                let _ = first(&uri, "name");
            }
        }
    }
}

//! Cookies: what a browser sends back (`Cookie`), and what we ask it to keep (`Set-Cookie`).
//! RFC 6265 says how both look on the wire.

use std::borrow::Cow;
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
    let fields = headers.get_all(COOKIE).iter();
    // Bytes, not text: one cookie that is no UTF-8 must not hide the others.
    let pairs = fields.flat_map(|field| field.as_bytes().split(|b| *b == b';'));
    pairs.filter(|pair| name_of(pair) == name.as_bytes()).find_map(value_of)
}

/// What is before the first `=`, without the space round it.
fn name_of(pair: &[u8]) -> &[u8] {
    pair.split(|b| *b == b'=').next().unwrap_or_default().trim_ascii()
}

/// What is behind the first `=`, decoded; the value itself may hold more of them.
fn value_of(pair: &[u8]) -> Option<String> {
    let equals = pair.iter().position(|b| *b == b'=')?;
    decode(without_quotes(pair[equals + 1..].trim_ascii()))
        .filter(|text| !text.is_empty())
}

/// RFC 6265 section 4.1.1 lets a server wrap a value in double quotes, and a browser sends
/// them back as they are. They are the wrapping, not the value: a quote that belongs to the
/// value would be `%22`.
fn without_quotes(value: &[u8]) -> &[u8] {
    let inner = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    inner.unwrap_or(value)
}

/// `decodeURIComponent`, which throws where this returns nothing.
fn decode(value: &[u8]) -> Option<String> {
    let broken = |rest: &[u8]| !matches!(rest, [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit());
    let mut escapes = value.iter().enumerate().filter(|(_, b)| **b == b'%');
    if escapes.any(|(at, _)| broken(&value[at + 1..])) {
        return None;
    }
    percent_decode(value).decode_utf8().ok().map(Cow::into_owned)
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
    let lifetime = time::Duration::seconds(lifetime.as_secs() as i64);
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
    cookie.set_http_only(true);
    cookie.set_same_site(SameSite::Lax);
    cookie.set_path("/");
    let value =
        HeaderValue::try_from(cookie.to_string()).map_err(std::io::Error::other)?;
    reply.headers_mut().append(SET_COOKIE, value);
    personal(reply);
    Ok(())
}

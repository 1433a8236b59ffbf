//! Who the client is, behind a load balancer: the PROXY protocol before a connection, and
//! `X-Forwarded-For` or `Forwarded` in a request. Both are believed from `PROXY_FROM` alone.

use std::net::IpAddr;
use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::{FORWARDED, HeaderValue};
use ipnet::IpNet;
use ppp::{HeaderResult, PartialResult, v1, v2};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// How long a load balancer may take over its line.
const LIMIT: Duration = Duration::from_secs(5);

/// The longest line: 107 bytes in version 1; here version 2 may be that of HAProxy with its
/// extensions.
const LONGEST: usize = 536;

/// The header that nginx, HAProxy and most others write.
pub const USUAL: &str = "x-forwarded-for";

/// How soon the rest of a line that was cut in two is looked for.
const AGAIN: Duration = Duration::from_millis(5);

/// Takes the PROXY line from a connection, where a trusted balancer sends one, and returns who
/// the client is. Nothing for a line that is broken, or does not come.
pub async fn client(stream: &mut TcpStream, trusted: &[IpNet]) -> Option<IpAddr> {
    let peer = stream.peer_addr().ok()?.ip().to_canonical();
    if !is_in(trusted, peer) {
        return Some(peer);
    }
    let mut bytes = [0; LONGEST];
    let line = async {
        loop {
            let count = stream.peek(&mut bytes).await.ok().filter(|count| *count > 0)?;
            let bytes = &bytes[..count];
            if bytes[0] != b'P' && bytes[0] != b'\r' {
                return Some((peer, 0)); // TLS or HTTP without a PROXY line
            }
            let result = HeaderResult::parse(bytes);
            if result.is_complete() || count == LONGEST {
                return line(result, peer)
                    .or_else(|| is_http(bytes).then_some((peer, 0)));
            }
            sleep(AGAIN).await;
        }
    };
    let (client, length) = timeout(LIMIT, line).await.ok()??;
    stream.read_exact(&mut bytes[..length]).await.ok()?;
    Some(client.to_canonical())
}

/// `POST` begins as `PROXY` does.
fn is_http(bytes: &[u8]) -> bool {
    !bytes.starts_with(b"PROXY") && bytes[0] == b'P'
}

/// The client that a PROXY line names, and the length of the line in bytes.
fn line(result: HeaderResult<'_>, peer: IpAddr) -> Option<(IpAddr, usize)> {
    match result {
        HeaderResult::V1(Ok(header)) => {
            let client = match header.addresses {
                v1::Addresses::Tcp4(ip) => ip.source_address.into(),
                v1::Addresses::Tcp6(ip) => ip.source_address.into(),
                v1::Addresses::Unknown => peer,
            };
            Some((client, header.header.len()))
        }
        HeaderResult::V2(Ok(header)) => {
            let client = match header.addresses {
                // The balancer itself, looking whether we are there.
                _ if header.command == v2::Command::Local => peer,
                v2::Addresses::IPv4(ip) => ip.source_address.into(),
                v2::Addresses::IPv6(ip) => ip.source_address.into(),
                _ => peer,
            };
            Some((client, header.len()))
        }
        _ => None,
    }
}

/// Who the client of one request is: the last address that was added by somebody whom we do
/// not trust to name another (RFC 7239 section 5.2).
///
/// By one header alone, the one that the balancer writes: the other may have been sent by
/// anybody. That is `X-Forwarded-For` where it is there, unless `header` says which one.
pub fn forwarded(
    headers: &HeaderMap,
    header: Option<&'static str>,
    peer: IpAddr,
    trusted: &[IpNet],
) -> IpAddr {
    if !is_in(trusted, peer) {
        return peer;
    }
    let usual = if headers.contains_key(USUAL) { USUAL } else { FORWARDED.as_str() };
    let header = header.unwrap_or(usual);
    let lines: Vec<_> =
        headers.get_all(header).iter().map(HeaderValue::as_bytes).collect();
    let hops = lines.iter().flat_map(|line| line.split(|byte| *byte == b','));
    let mut client = peer;
    for hop in hops.rev() {
        let hop = std::str::from_utf8(hop).ok();
        let hop = if header == FORWARDED.as_str() { hop.and_then(for_) } else { hop };
        let Some(address) = hop.and_then(address) else { break };
        client = address;
        if !is_in(trusted, client) {
            break;
        }
    }
    client
}

/// `for=192.0.2.1;proto=https`
fn for_(hop: &str) -> Option<&str> {
    hop.split(';').find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        name.eq_ignore_ascii_case("for").then(|| value.trim_matches('"'))
    })
}

/// An address, with or without a port: `192.0.2.1:80`, `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = || text.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    let socket = || text.parse::<std::net::SocketAddr>().ok().map(|socket| socket.ip());
    bare().or_else(socket).map(|address| address.to_canonical())
}

/// Whether an address is in one of these networks.
pub fn is_in(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_hop_that_nobody_vouches_for_is_the_client() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        for (name, value, client) in [
            ("x-forwarded-for", &b"1.1.1.1, 2.2.2.2"[..], "2.2.2.2"),
            ("x-forwarded-for", b"1.1.1.1, 10.0.0.2", "1.1.1.1"),
            ("x-forwarded-for", b"nonsense, 10.0.0.2", "10.0.0.2"),
            ("x-forwarded-for", b"\xff, 2.2.2.2", "2.2.2.2"),
            ("x-forwarded-for", b"", "10.0.0.1"),
            (
                "forwarded",
                b"for=1.1.1.1, for=\"[2001:db8::1]:80\";proto=https",
                "2001:db8::1",
            ),
            ("forwarded", b"proto=http;For=2.2.2.2:99", "2.2.2.2"),
            ("forwarded", b"for=_hidden", "10.0.0.1"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_bytes(value).unwrap());
            let peer = "10.0.0.1".parse().unwrap();
            let is = |header, peer| forwarded(&headers, header, peer, &trusted);
            assert_eq!(is(None, peer).to_string(), client, "{value:?}");
            assert_eq!(is(Some(name), peer).to_string(), client, "{value:?}");
            let stranger = "9.9.9.9".parse().unwrap();
            assert_eq!(is(None, stranger), stranger);
            // What the balancer does not write, anybody may have sent.
            let other = if name == USUAL { FORWARDED.as_str() } else { USUAL };
            assert_eq!(is(Some(other), peer), peer);
        }
    }
}

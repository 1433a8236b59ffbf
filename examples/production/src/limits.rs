//! What one client may ask of one worker: connections at once, requests a second, and requests
//! at once. A connection too many is closed, a request too many gets 429 (RFC 6585 section 4),
//! and nobody else notices.

use std::collections::HashMap;
use std::future::poll_fn;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use common::{Error, Reply, ko_en};
use hyper::StatusCode;
use hyper::body::{Body, Frame};

/// Clients that are remembered. Where there are more, those go that have no connection and no
/// request.
const REMEMBERED: usize = 100_000;

/// Requests that a client may have under way at once. One whose answer is long counts more than
/// once until the client has taken it: for each [`SHORT`] of it.
const UNDER_WAY: usize = 500;

/// An answer of so many bytes costs too little to count.
const SHORT: usize = 16 * 1024;

/// The limits, and how near to them each client is.
pub struct Limits {
    connections: u32,
    requests: f64,
    clients: Mutex<HashMap<IpAddr, Client>>,
}

struct Client {
    connections: u32,
    under_way: usize,
    /// Requests that it may send at once; as many come back each second as it may send.
    tokens: f64,
    at: Instant,
}

impl Limits {
    /// So many connections at once, and so many requests a second.
    pub fn new(connections: u32, requests: u32) -> Arc<Self> {
        Arc::new(Self {
            connections,
            requests: requests.into(),
            clients: Mutex::default(),
        })
    }

    /// The right to have one connection more, if there is one.
    pub fn connection(self: &Arc<Self>, client: IpAddr) -> Option<OneConnection> {
        let client = network(client);
        let mut clients = self.clients();
        let known = self.client(&mut clients, client);
        if known.connections >= self.connections {
            return None;
        }
        known.connections += 1;
        Some(OneConnection { limits: self.clone(), client })
    }

    /// The right to one request more.
    ///
    /// # Errors
    /// 429: too many in this second, or at once.
    pub fn request(self: &Arc<Self>, client: IpAddr) -> Result<OneRequest, Error> {
        let client = network(client);
        let mut clients = self.clients();
        let known = self.client(&mut clients, client);
        let now = Instant::now();
        let back = now.duration_since(known.at).as_secs_f64() * self.requests;
        (known.tokens, known.at) = ((known.tokens + back).min(self.requests), now);
        if known.tokens < 1.0 || known.under_way >= UNDER_WAY {
            let message = ko_en!(
                "요청이 너무 많습니다. 1초 뒤에 다시 시도하세요.",
                "Too many requests. Try again in 1 s."
            );
            return Err(Error::new(StatusCode::TOO_MANY_REQUESTS, message).retry_after(1));
        }
        known.tokens -= 1.0;
        known.under_way += 1;
        Ok(OneRequest { limits: self.clone(), client, counts: 1 })
    }

    fn client<'a>(
        &self,
        clients: &'a mut HashMap<IpAddr, Client>,
        client: IpAddr,
    ) -> &'a mut Client {
        if clients.len() >= REMEMBERED {
            clients.retain(|_, client| client.connections > 0 || client.under_way > 0);
        }
        let (tokens, at) = (self.requests, Instant::now());
        clients.entry(client).or_insert(Client {
            connections: 0,
            under_way: 0,
            tokens,
            at,
        })
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<IpAddr, Client>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One client is one address; over IPv6 it is a network of 64 bits, which is what one
/// household has.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 => v4,
    }
}

/// One connection of a client. Dropping it makes room for another.
pub struct OneConnection {
    limits: Arc<Limits>,
    client: IpAddr,
}

impl Drop for OneConnection {
    fn drop(&mut self) {
        if let Some(known) = self.limits.clients().get_mut(&self.client) {
            known.connections -= 1;
        }
    }
}

/// One request of a client. Dropping it makes room for another.
pub struct OneRequest {
    limits: Arc<Limits>,
    client: IpAddr,
    counts: usize,
}

impl OneRequest {
    /// Stays with a long answer until the client has taken it (over HTTP/2, where it may leave
    /// hundreds of them lying).
    pub async fn until_taken(mut self, mut reply: Reply) -> Reply {
        let length = reply.body().size_hint().lower() as usize;
        if length < SHORT {
            return reply;
        }
        let body = reply.body_mut();
        let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await;
        if let Some(Ok(Ok(bytes))) = frame.map(|frame| frame.map(Frame::into_data)) {
            self.count(length / SHORT);
            *body = Bytes::from_owner(Untaken { bytes, _place: self }).into();
        }
        reply
    }

    fn count(&mut self, more: usize) {
        self.counts += more;
        if let Some(known) = self.limits.clients().get_mut(&self.client) {
            known.under_way += more;
        }
    }
}

impl Drop for OneRequest {
    fn drop(&mut self) {
        if let Some(known) = self.limits.clients().get_mut(&self.client) {
            known.under_way -= self.counts;
        }
    }
}

/// An answer, and the place that it takes.
struct Untaken {
    bytes: Bytes,
    _place: OneRequest,
}

impl AsRef<[u8]> for Untaken {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_that_nobody_takes_count_and_short_ones_do_not() {
        let limits = Limits::new(1, 1000);
        let client = "192.0.2.1".parse().unwrap();
        let answer = |length: usize| common::reply::html("x".repeat(length));
        let mut untaken = vec![];
        for _ in 0..2 * UNDER_WAY / 65 {
            for length in [64 * SHORT, SHORT - 1] {
                let Ok(place) = limits.request(client) else { continue };
                untaken.push(place.until_taken(answer(length)).await);
            }
        }
        let long = |reply: &&Reply| reply.body().size_hint().lower() as usize > SHORT;
        assert_eq!(untaken.iter().filter(long).count(), UNDER_WAY / 65 + 1);
        let error = limits.request(client).err().unwrap();
        assert_eq!((error.status.as_u16(), error.retry_after), (429, Some(1)));
        assert!(limits.request("192.0.2.2".parse().unwrap()).is_ok());
        drop(untaken);
        assert!(limits.request(client).is_ok());
        let all: Vec<_> = (0..=UNDER_WAY).map(|_| limits.request(client)).collect();
        assert_eq!(all.iter().filter(|one| one.is_err()).count(), 1);
    }

    #[test]
    fn one_client_has_its_limits_and_another_has_its_own() {
        let limits = Limits::new(2, 3);
        let [a, b] = ["2001:db8::1", "2001:db8::2"].map(|a| a.parse::<IpAddr>().unwrap());
        let other = "192.0.2.1".parse().unwrap();
        let first = limits.connection(a);
        assert!(
            first.is_some() && limits.connection(b).is_some(),
            "the second one is dropped"
        );
        let second = limits.connection(b);
        assert!(
            second.is_some() && limits.connection(a).is_none(),
            "one network, one client"
        );
        assert!(limits.connection(other).is_some());
        drop(first);
        assert!(limits.connection(a).is_some());
        (0..3).for_each(|_| drop(limits.request(a).unwrap()));
        let error = limits.request(b).err().unwrap();
        assert_eq!((error.status.as_u16(), error.retry_after), (429, Some(1)));
        assert!(limits.request(other).is_ok());
    }

    #[test]
    fn who_shares_a_limit() {
        let of = |address: &str| network(address.parse().unwrap());
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
        assert_ne!(of("::ffff:10.0.0.1"), of("::ffff:10.0.0.2"));
        assert_eq!(of("2001:db8:0:1::1"), of("2001:db8:0:1:ffff::2"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
    }
}

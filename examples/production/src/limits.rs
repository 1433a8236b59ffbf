//! What one client may ask of one worker: connections at once, and requests a second. A
//! connection too many is closed, a request too many gets 429 (RFC 6585 section 4), and nobody
//! else notices.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use common::{Error, ko_en};
use hyper::StatusCode;

/// Clients that are remembered. Where there are more, those without a connection go.
const REMEMBERED: usize = 100_000;

/// The limits, and how near to them each client is.
pub struct Limits {
    connections: u32,
    requests: f64,
    clients: Mutex<HashMap<IpAddr, Client>>,
}

struct Client {
    connections: u32,
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

    /// Counts a request.
    ///
    /// # Errors
    /// 429: too many in this second.
    pub fn request(&self, client: IpAddr) -> Result<(), Error> {
        let mut clients = self.clients();
        let known = self.client(&mut clients, network(client));
        let now = Instant::now();
        let back = now.duration_since(known.at).as_secs_f64() * self.requests;
        (known.tokens, known.at) = ((known.tokens + back).min(self.requests), now);
        if known.tokens < 1.0 {
            let message = ko_en!(
                "요청이 너무 많습니다. 1초 뒤에 다시 시도하세요.",
                "Too many requests. Try again in 1 s."
            );
            return Err(Error::new(StatusCode::TOO_MANY_REQUESTS, message).retry_after(1));
        }
        known.tokens -= 1.0;
        Ok(())
    }

    fn client<'a>(
        &self,
        clients: &'a mut HashMap<IpAddr, Client>,
        client: IpAddr,
    ) -> &'a mut Client {
        if clients.len() >= REMEMBERED {
            clients.retain(|_, client| client.connections > 0);
        }
        let (tokens, at) = (self.requests, Instant::now());
        clients.entry(client).or_insert(Client { connections: 0, tokens, at })
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

#[cfg(test)]
mod tests {
    use super::*;

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
        (0..3).for_each(|_| limits.request(a).unwrap());
        let error = limits.request(b).unwrap_err();
        assert_eq!((error.status.as_u16(), error.retry_after), (429, Some(1)));
        limits.request(other).unwrap();
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

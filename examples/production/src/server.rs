//! What a worker does with one connection: who is it, TLS or not, which HTTP; and with one
//! request: a line in the log, the limits, then the site.

use std::net::IpAddr;
use std::sync::Arc;

use common::connection::Connection;
use common::{Error, Reply, Request, http1};
use http2::speak;
use https::{Accepted, Tls};
use hyper::header::{HeaderValue, STRICT_TRANSPORT_SECURITY};
use ipnet::IpNet;
use rustls::HandshakeKind;
use tokio::net::TcpStream;

use crate::access::Entry;
use crate::limits::Limits;
use crate::metrics::{Handshake, Open, handshake};
use crate::plain::Plain;
use crate::proxy;
use crate::site::Site;

/// Browsers ask for this host by `https` alone from now on, for two years (RFC 6797).
const HSTS: HeaderValue = HeaderValue::from_static("max-age=63072000");

/// What all connections of a worker share.
pub struct Server {
    /// Certificate, ticket keys, protocols.
    pub tls: Tls,
    /// What HTTPS serves.
    pub site: Site,
    /// What plain HTTP serves.
    pub plain: Plain,
    /// What one client may ask for.
    pub limits: Arc<Limits>,
    /// Who may say who the client is.
    pub proxies: Vec<IpNet>,
    /// In which header they say it.
    pub client_header: Option<&'static str>,
}

impl Server {
    /// Serves one connection.
    pub async fn connect(
        self: Arc<Self>,
        mut stream: TcpStream,
        connection: Arc<Connection>,
    ) {
        let Some(client) = proxy::client(&mut stream, &self.proxies).await else {
            return;
        };
        let _ = connection.client.set(client);
        // A load balancer has as many as it likes: it speaks for everybody.
        let place = self.limits.connection(client);
        if place.is_none() && !proxy::is_in(&self.proxies, client) {
            return;
        }
        let _open = Open::new();
        match self.tls.accept(stream, &connection).await {
            Some(Accepted::Tls(tls)) => {
                let kind = match tls.get_ref().1.handshake_kind() {
                    Some(HandshakeKind::Resumed) => Handshake::Resumed,
                    _ => Handshake::Full,
                };
                handshake(kind);
                let loopback = connection.loopback;
                let server = self.clone();
                speak(tls, connection, move |request| {
                    server.clone().site(request, client, loopback)
                })
                .await;
            }
            Some(Accepted::Plain(stream)) => {
                http1(stream, connection, |request| self.plain(request, client)).await;
            }
            None => handshake(Handshake::Failed),
        }
    }

    async fn site(
        self: Arc<Self>,
        request: Request,
        client: IpAddr,
        loopback: bool,
    ) -> Result<Reply, Error> {
        let client = self.client(&request, client);
        let mut entry = Entry::new(&request, client);
        let mut reply = match self.limits.request(client) {
            Ok(place) => {
                let result = self.site.handle(request, client).await;
                place.until_taken(result.unwrap_or_else(Error::into_reply)).await
            }
            Err(error) => error.into_reply(),
        };
        entry.answered(&mut reply);
        // On localhost it would lock a developer out of every other server there.
        if !loopback {
            reply.headers_mut().insert(STRICT_TRANSPORT_SECURITY, HSTS);
        }
        Ok(reply)
    }

    async fn plain(&self, request: Request, client: IpAddr) -> Result<Reply, Error> {
        let client = self.client(&request, client);
        let mut entry = Entry::new(&request, client);
        let result = match self.limits.request(client) {
            Ok(_place) => self.plain.handle(request).await,
            Err(error) => Err(error),
        };
        let mut reply = result.unwrap_or_else(Error::into_reply);
        entry.answered(&mut reply);
        Ok(reply)
    }

    fn client(&self, request: &Request, peer: IpAddr) -> IpAddr {
        let headers = request.headers();
        proxy::forwarded(headers, self.client_header, peer, &self.proxies)
    }
}

//! TLS for the client: rustls over a plain socket.

use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore,
    SignatureScheme, StreamOwned,
};

use crate::Client;

/// Whom a client believes.
#[derive(Clone)]
pub enum Trust {
    /// Certificates that the authority in this PEM file has signed.
    Authority(PathBuf),
    /// Anybody: for a server of which only the URL is known.
    Anybody,
}

impl Client {
    /// Connects with TLS and finishes the handshake; offers these protocols over ALPN.
    #[track_caller]
    pub fn connect_tls(authority: &str, trust: Trust, protocols: &[&str]) -> Self {
        Self::try_tls(authority, trust, protocols)
            .unwrap_or_else(|error| panic!("TLS with {authority}: {error}"))
    }

    /// As [`Client::connect_tls`], where the handshake may be what is tested.
    ///
    /// # Errors
    /// The handshake fails.
    #[track_caller]
    pub fn try_tls(
        authority: &str,
        trust: Trust,
        protocols: &[&str],
    ) -> std::io::Result<Self> {
        Self::tls_over(Self::tcp(authority), authority, trust, protocols)
    }

    /// As [`Client::try_tls`], over a connection that is open already.
    ///
    /// # Errors
    /// The handshake fails.
    #[track_caller]
    pub fn tls_over(
        tcp: TcpStream,
        authority: &str,
        trust: Trust,
        protocols: &[&str],
    ) -> std::io::Result<Self> {
        let stream = handshake(tcp.try_clone()?, authority, trust, protocols)?;
        Ok(Self::over(Box::new(stream), tcp, authority, "https"))
    }
}

fn handshake(
    mut tcp: TcpStream,
    authority: &str,
    trust: Trust,
    protocols: &[&str],
) -> std::io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let (host, _) = authority.rsplit_once(':').unwrap_or((authority, ""));
    let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
        .unwrap_or_else(|error| panic!("{host}: {error}"));
    let mut connection = ClientConnection::new(config(trust, protocols), name)
        .map_err(std::io::Error::other)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut tcp)?;
    }
    Ok(StreamOwned::new(connection, tcp))
}

fn config(trust: Trust, protocols: &[&str]) -> Arc<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("versions");
    let mut config = match trust {
        Trust::Authority(path) => {
            let mut roots = RootCertStore::empty();
            let authority = CertificateDer::from_pem_file(&path);
            let authority =
                authority.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            roots.add(authority).expect("an authority");
            builder.with_root_certificates(roots).with_no_client_auth()
        }
        Trust::Anybody => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
            .with_no_client_auth(),
    };
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().into()).collect();
    Arc::new(config)
}

#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

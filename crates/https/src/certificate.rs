//! Reading certificates and keys, and saying what is wrong with them before a browser does.

use std::io;
use std::path::Path;
use std::sync::Arc;

use common::error::CannotStart;
use common::ko_en;
use common::settings::{cannot_start, variable};
use rustls::CertificateError::{
    self, BadEncoding, Expired, ExpiredContext, NotValidYet, NotValidYetContext,
};
use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls_pemfile::Item;

use crate::provider;

/// A certificate, its chain and its private key: what `tls.createSecureContext` is in Node.
pub struct Certificate(pub(crate) Arc<CertifiedKey>);

impl Certificate {
    /// Reads PEM files: the certificate (with its chain, if it is in the same file), its
    /// private key, and the authorities to add to the chain.
    ///
    /// # Errors
    /// A file is missing, unreadable or no PEM; a certificate is not valid today; the key
    /// belongs to another certificate. Each names the file and the way out.
    pub fn read(cert: &Path, key: &Path, ca: Option<&Path>) -> Result<Self, CannotStart> {
        let mut chain = certificates(cert)?;
        if let Some(ca) = ca {
            chain.extend(certificates(ca)?);
        }
        let private_key = private_key(key)?;
        let (path, what) = match CertifiedKey::from_der(chain, private_key, &provider()) {
            Ok(certified) => return Ok(Self(Arc::new(certified))),
            Err(rustls::Error::InconsistentKeys(_)) => {
                let cert = cert.display();
                let what = ko_en!(
                    "이 개인 키는 {cert}의 짝이 아닙니다",
                    "this private key does not belong to {cert}"
                );
                (key, what)
            }
            Err(rustls::Error::InvalidCertificate(error)) => (cert, no_x509(&error)),
            Err(error) => {
                let what = ko_en!(
                    "쓸 수 없는 개인 키입니다({error})",
                    "this private key cannot be used ({error})"
                );
                (key, what)
            }
        };
        Err(wrong(path, &what))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CannotStart> {
    let certificate = |item| match item {
        Item::X509Certificate(certificate) => Some(certificate),
        _ => None,
    };
    let certificates: Vec<_> = pem(path)?.into_iter().filter_map(certificate).collect();
    if certificates.is_empty() {
        let what = ko_en!(
            "PEM 인증서(BEGIN CERTIFICATE)가 없습니다. CERT와 KEY가 뒤바뀌지 않았는지 확인하세요",
            "no certificate in PEM form (BEGIN CERTIFICATE); check that it is not the KEY"
        );
        return Err(wrong(path, &what));
    }
    // A browser sees it at once; rustls does not look at its own certificates.
    certificates.iter().try_for_each(|one| valid_today(path, one))?;
    Ok(certificates)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, CannotStart> {
    pem(path)?.into_iter().find_map(private).ok_or_else(|| {
        let what = ko_en!(
            "PEM 개인 키(BEGIN PRIVATE KEY)가 없습니다. CERT와 KEY가 뒤바뀌지 않았는지 확인하세요. \
             암호가 걸린 키는 openssl pkey로 먼저 푸세요",
            "no private key in PEM form (BEGIN PRIVATE KEY); check that it is not the CERT. \
             A key that is encrypted must first be decrypted by openssl pkey"
        );
        wrong(path, &what)
    })
}

fn private(item: Item) -> Option<PrivateKeyDer<'static>> {
    match item {
        Item::Pkcs1Key(key) => Some(key.into()),
        Item::Pkcs8Key(key) => Some(key.into()),
        Item::Sec1Key(key) => Some(key.into()),
        _ => None,
    }
}

/// The one place that uses rustls-pemfile, which is archived (RUSTSEC-2025-0134): a thin layer
/// over rustls-pki-types, where one line does it now:
/// `CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>()`.
fn pem(path: &Path) -> Result<Vec<Item>, CannotStart> {
    let items = std::fs::read(path)
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ko_en!("파일이 없습니다", "there is no such file"),
            io::ErrorKind::PermissionDenied => {
                ko_en!("파일을 읽을 권한이 없습니다", "you may not read this file")
            }
            _ => ko_en!("파일을 읽을 수 없습니다({error})", "cannot be read ({error})"),
        })
        .and_then(|text| {
            let items: io::Result<_> = rustls_pemfile::read_all(&mut &text[..]).collect();
            items.map_err(|error| {
                ko_en!("PEM 형식이 깨졌습니다({error})", "this is broken PEM ({error})")
            })
        });
    items.map_err(|what| wrong(path, &what))
}

const DAY_SECS: u64 = 24 * 60 * 60;

fn no_x509(error: &CertificateError) -> String {
    ko_en!(
        "올바른 X.509 인증서가 아닙니다({error:?})",
        "this is no X.509 certificate ({error:?})"
    )
}

fn valid_today(path: &Path, certificate: &CertificateDer<'_>) -> Result<(), CannotStart> {
    let days = |from: UnixTime, to: UnixTime| (to.as_secs() - from.as_secs()) / DAY_SECS;
    let what = match validity(certificate) {
        Ok(()) => return Ok(()),
        Err(ExpiredContext { time, not_after }) => {
            let days = days(not_after, time);
            ko_en!(
                "유효 기간이 {days}일 전에 끝난 인증서입니다",
                "this certificate expired {days} days ago"
            )
        }
        Err(NotValidYetContext { time, not_before }) => {
            let days = days(time, not_before);
            ko_en!(
                "유효 기간이 {days}일 뒤에 시작하는 인증서입니다. 컴퓨터의 시계도 확인하세요",
                "this certificate is not valid for {days} days yet; check the clock, too"
            )
        }
        Err(error) => no_x509(&error),
    };
    Err(wrong(path, &what))
}

/// Whether a certificate may be used today (RFC 5280 section 4.1.2.5). The verifier looks at
/// that before it looks for an issuer; we give it none, and do not mind what it says of them.
fn validity(certificate: &CertificateDer<'_>) -> Result<(), CertificateError> {
    let verified = ParsedCertificate::try_from(certificate).and_then(|certificate| {
        verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &RootCertStore::empty(),
            &[],
            UnixTime::now(),
            provider().signature_verification_algorithms.all,
        )
    });
    match verified {
        Err(rustls::Error::InvalidCertificate(
            error @ (Expired
            | ExpiredContext { .. }
            | NotValidYet
            | NotValidYetContext { .. }
            | BadEncoding),
        )) => Err(error),
        _ => Ok(()),
    }
}

/// What is wrong with a file, and what to type.
fn wrong(path: &Path, what: &str) -> CannotStart {
    let what = format!("{}: {what}", path.display());
    if variable("CERT").is_some() || variable("CA").is_some() {
        return cannot_start(what, "CERT= KEY= CA", "");
    }
    let folder = path.parent().unwrap_or(path).display();
    let remove = format!("rm {folder}/*.pem {folder}/.made; CERTS_DIR");
    cannot_start(what, &remove, folder)
}

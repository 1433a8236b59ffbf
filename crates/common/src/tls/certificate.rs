//! Reading certificates and keys, and saying what is wrong with them before a browser does.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::CertificateError::{
    self, BadEncoding, Expired, ExpiredContext, NotValidYet, NotValidYetContext,
};
use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls_pemfile::Item;

use super::provider;
use crate::error::CannotStart;
use crate::listen::program;

/// A certificate, its chain and its private key: what `tls.createSecureContext` is in Node.
pub struct Certificate(pub(super) Arc<CertifiedKey>);

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
        match CertifiedKey::from_der(chain, private_key, &provider()) {
            Ok(certified) => Ok(Self(Arc::new(certified))),
            Err(rustls::Error::InconsistentKeys(_)) => Err(wrong(
                key,
                &format!("이 개인 키는 {}의 짝이 아닙니다", cert.display()),
            )),
            Err(rustls::Error::InvalidCertificate(error)) => {
                Err(wrong(cert, &format!("올바른 X.509 인증서가 아닙니다({error:?})")))
            }
            Err(error) => Err(wrong(key, &format!("쓸 수 없는 개인 키입니다({error})"))),
        }
    }
}

/// The certificate that a PEM file begins with; nothing where there is none.
pub fn first(path: &Path) -> Option<CertificateDer<'static>> {
    match pem(path).ok()?.into_iter().next()? {
        Item::X509Certificate(certificate) => Some(certificate),
        _ => None,
    }
}

/// Whether a file begins with a certificate whose time is over.
pub fn is_expired(path: &Path) -> bool {
    first(path).is_some_and(|certificate| {
        matches!(validity(&certificate), Err(Expired | ExpiredContext { .. }))
    })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, CannotStart> {
    let items = pem(path)?;
    let has_key = items.iter().any(|item| private(item).is_some());
    let certificates: Vec<_> = items
        .into_iter()
        .filter_map(|item| match item {
            Item::X509Certificate(certificate) => Some(certificate),
            _ => None,
        })
        .collect();
    match (certificates.is_empty(), has_key) {
        (false, _) => {
            // A browser sees it at once; rustls does not look at its own certificates.
            certificates.iter().try_for_each(|one| valid_today(path, one))?;
            Ok(certificates)
        }
        (true, true) => Err(wrong(
            path,
            "인증서가 아니라 개인 키입니다. CERT와 KEY가 바뀐 것 같습니다",
        )),
        (true, false) => {
            Err(wrong(path, "PEM 형식의 인증서(BEGIN CERTIFICATE)가 없습니다"))
        }
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, CannotStart> {
    let items = pem(path)?;
    let is_certificate = matches!(items.first(), Some(Item::X509Certificate(_)));
    items.into_iter().find_map(|item| private(&item)).ok_or_else(|| {
        wrong(
            path,
            if is_certificate {
                "개인 키가 아니라 인증서입니다. CERT와 KEY가 바뀐 것 같습니다"
            } else {
                "PEM 형식의 개인 키(BEGIN PRIVATE KEY)가 없습니다. 암호가 걸린 키는 \
                 openssl pkey로 먼저 푸세요"
            },
        )
    })
}

fn private(item: &Item) -> Option<PrivateKeyDer<'static>> {
    Some(match item {
        Item::Pkcs1Key(key) => PrivateKeyDer::Pkcs1(key.clone_key()),
        Item::Pkcs8Key(key) => PrivateKeyDer::Pkcs8(key.clone_key()),
        Item::Sec1Key(key) => PrivateKeyDer::Sec1(key.clone_key()),
        _ => return None,
    })
}

/// The one place that uses rustls-pemfile, which is archived (RUSTSEC-2025-0134): a thin layer
/// over rustls-pki-types, where one line does it now:
/// `CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>()`.
fn pem(path: &Path) -> Result<Vec<Item>, CannotStart> {
    let text = std::fs::read(path).map_err(|error| {
        wrong(
            path,
            &match error.kind() {
                io::ErrorKind::NotFound => "파일이 없습니다".into(),
                io::ErrorKind::PermissionDenied => "파일을 읽을 권한이 없습니다".into(),
                _ => format!("파일을 읽을 수 없습니다({error})"),
            },
        )
    })?;
    rustls_pemfile::read_all(&mut &text[..])
        .collect::<io::Result<_>>()
        .map_err(|error| wrong(path, &format!("PEM 형식이 깨졌습니다({error})")))
}

fn valid_today(path: &Path, certificate: &CertificateDer<'_>) -> Result<(), CannotStart> {
    let days = |from: UnixTime, to: UnixTime| {
        to.as_secs().saturating_sub(from.as_secs()) / (24 * 60 * 60)
    };
    let what = match validity(certificate) {
        Ok(()) => return Ok(()),
        Err(ExpiredContext { time, not_after }) => {
            format!("유효 기간이 {}일 전에 끝난 인증서입니다", days(not_after, time))
        }
        Err(NotValidYetContext { time, not_before }) => format!(
            "유효 기간이 {}일 뒤에 시작하는 인증서입니다. 컴퓨터의 시계도 확인하세요",
            days(time, not_before)
        ),
        Err(Expired | NotValidYet) => "유효 기간이 아닌 인증서입니다".into(),
        Err(error) => format!("올바른 X.509 인증서가 아닙니다({error:?})"),
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
    let name = program();
    let given = ["CERT", "CA"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
    let cure = if given {
        format!("새로 만든 인증서로 실행: CERT= KEY= CA= cargo run -p {name}")
    } else {
        let folder = path.parent().unwrap_or(path).display();
        format!(
            "지우고 새로 만들기: rm {folder}/*.pem {folder}/.made; cargo run -p {name}"
        )
    };
    CannotStart(format!("{}: {what}. {cure}", path.display()))
}

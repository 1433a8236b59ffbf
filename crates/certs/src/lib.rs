//! The certificate of https and http2: the learner's own, or one that is made here.
//!
//! Made here means: a local authority signs one certificate for `localhost`, 127.0.0.1 and
//! ::1. Its key signs that once and is never written, so nobody can sign anything else with
//! it; it is constrained to those names besides.

mod make;
mod record;

use std::env;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use common::error::CannotStart;
use common::ko_en;
use common::log::warn;
use common::settings::{cannot_start, html_folder, program, variable};
use ring::digest::{SHA256, digest};
use rustls::pki_types::{CertificateDer, pem::PemObject};

pub use make::make;
use record::Record;

/// How long a certificate that is made here is good for.
pub const LIFETIME: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// The clock of whoever looks at it may be a little behind ours.
const CLOCKS_DIFFER: Duration = Duration::from_secs(60 * 60);

/// Where certificate, key and authority lie.
///
/// While this lives, nobody else makes them anew: read them, then drop it.
pub struct Files {
    /// The certificate.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// What is added to the chain, if there is such a file.
    pub ca: Option<PathBuf>,
    /// All of them were made here: the authority is constrained, and its key is gone.
    pub are_ours: bool,
    _record: Option<Record>,
}

/// The files that `CERT`, `KEY` and `CA` name; without them those in `CERTS_DIR`, or in
/// `certs/` beside the pages, which are made here if they are not there.
///
/// # Errors
/// Only one of `CERT` and `KEY` is given; some of the files lie there without the others; files
/// are missing and cannot be made.
pub fn files() -> Result<Files, CannotStart> {
    let path = |name| variable(name).map(PathBuf::from);
    let mut files = match (path("CERT"), path("KEY")) {
        (Some(cert), Some(key)) => {
            Files { cert, key, ca: None, are_ours: false, _record: None }
        }
        (None, None) => in_folder(&folder()?)?,
        (cert, _) => {
            let missing = if cert.is_some() { "KEY" } else { "CERT" };
            let what = ko_en!(
                "{missing}가 없습니다: CERT와 KEY는 함께 지정합니다",
                "{missing} is missing: CERT and KEY go together"
            );
            return Err(cannot_start(what, "CERT=cert.pem KEY", "key.pem"));
        }
    };
    if let Some(ca) = path("CA") {
        files = Files { ca: Some(ca), are_ours: false, ..files };
    }
    Ok(files)
}

/// `CERTS_DIR`, which is made; or the folder beside the pages, which must be there.
fn folder() -> Result<PathBuf, CannotStart> {
    let folder = html_folder().join("../certs");
    match variable("CERTS_DIR") {
        Some(folder) => Ok(folder.into()),
        None if folder.is_dir() => Ok(folder),
        None => Err(cannot(&folder, &io::Error::from(ErrorKind::NotFound))),
    }
}

fn cannot(folder: &Path, why: &io::Error) -> CannotStart {
    let folder = folder.display();
    let what = ko_en!(
        "{folder}에 인증서를 만들 수 없습니다: {why}",
        "Cannot make a certificate in {folder}: {why}"
    );
    cannot_start(what, "CERTS_DIR", "$HOME/certs")
}

/// The files in a folder; made if there are none, or if those that were made are no longer
/// valid. What somebody else put there is never written to.
///
/// # Errors
/// As [`files`].
pub fn in_folder(folder: &Path) -> Result<Files, CannotStart> {
    let [ca, key, cert] = make::NAMES.map(|name| folder.join(name));
    let mut are_ours = false;
    let record = match Record::take(folder) {
        Ok(mut record) => {
            are_ours = record.made_all_in(folder);
            if are_ours && !record.is_good(folder) {
                let now = SystemTime::now();
                let texts = make::sign(now - CLOCKS_DIFFER, now + LIFETIME)
                    .map_err(|error| cannot(folder, &error))?;
                // First what will be ours, then the files: whoever finds some of them after
                // a crash knows that they may be replaced.
                record
                    .add(now + LIFETIME, &texts)
                    .and_then(|()| make::write(folder, &texts))
                    .map_err(|error| cannot(folder, &error))?;
                announce(&ca);
            }
            Some(record)
        }
        // A folder that can only be read is good enough if all is there.
        Err(why) if why.kind() == ErrorKind::PermissionDenied && cert.exists() => None,
        Err(why) => return Err(cannot(folder, &why)),
    };
    if let Some(missing) = [&cert, &key].into_iter().find(|path| !path.exists()) {
        let name = missing.file_name().unwrap_or_default().display();
        let why = ko_en!(
            "{name}이 없는데, 직접 넣은 다른 파일(cert.pem, key.pem, ca.pem)이 있어 덮어쓰지 않습니다",
            "{name} is missing, and others of cert.pem, key.pem and ca.pem are your own"
        );
        return Err(cannot(folder, &io::Error::other(why)));
    }
    let ca = ca.exists().then_some(ca);
    Ok(Files { cert, key, ca, are_ours, _record: record })
}

/// The SHA-256 fingerprint of a PEM file's first certificate, as browsers show it.
///
/// # Errors
/// The file cannot be read, or has no certificate.
pub fn fingerprint(path: &Path) -> io::Result<String> {
    let certificate = CertificateDer::from_pem_file(path)
        .map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
    let hash = digest(&SHA256, &certificate);
    let hex: Vec<_> = hash.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    Ok(hex.join(":"))
}

fn announce(ca: &Path) {
    let (days, ca) = (LIFETIME.as_secs() / (24 * 60 * 60), shown(ca));
    let ca = ca.display();
    if program() != "certs" {
        warn(ko_en!(
            "localhost용 인증서를 만들었습니다. 유효 기간은 {days}일입니다.\n\
             브라우저에서는 경고 화면의 고급 → 계속, 터미널에서는 curl --cacert {ca}\n\
             브라우저가 믿게 하려면: cargo run -p certs",
            "Made a certificate for localhost, good for {days} days.\n\
             In a browser: Advanced → Proceed. In a terminal: curl --cacert {ca}\n\
             To make your browser trust it: cargo run -p certs"
        ));
    }
}

/// A path as a person would write it: without `..`, and from here where that is shorter.
pub fn shown(path: &Path) -> PathBuf {
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let here = env::current_dir().and_then(|here| here.canonicalize());
    let from_here =
        here.ok().and_then(|here| Some(whole.strip_prefix(here).ok()?.to_owned()));
    from_here.unwrap_or(whole)
}

//! The certificate of https and http2: the learner's own, or one that is made here.
//!
//! Made here means: a local authority signs one certificate for `localhost`, 127.0.0.1 and
//! ::1. Its key signs that once and is never written, so nobody can sign anything else with
//! it; it is constrained to those names besides.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use common::error::CannotStart;
use common::listen::program;
use common::log::warn;
use common::tls;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    NameConstraints, date_time_ymd,
};
use ring::digest::{SHA256, digest};

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
    /// They were made just now.
    pub are_new: bool,
    #[expect(dead_code, reason = "it holds the lock as long as it lives")]
    ledger: Option<Ledger>,
}

/// The files that `CERT`, `KEY` and `CA` name; without them those in `CERTS_DIR`, or in
/// `certs/` of the workspace, which are made here if they are not there.
///
/// # Errors
/// Only one of `CERT` and `KEY` is given; a key lies there without a certificate; files are
/// missing and cannot be made.
pub fn files() -> Result<Files, CannotStart> {
    let var =
        |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let mut files = match (var("CERT"), var("KEY")) {
        (Some(cert), Some(key)) => {
            Files { cert, key, ca: None, are_new: false, ledger: None }
        }
        (None, None) => in_folder(&var("CERTS_DIR").unwrap_or_else(|| {
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../certs")
        }))?,
        (cert, _) => {
            let missing = if cert.is_some() { "KEY" } else { "CERT" };
            return Err(CannotStart(format!(
                "{missing}가 없습니다: CERT와 KEY는 함께 지정합니다. \
                 예: CERT=cert.pem KEY=key.pem cargo run -p {}",
                program()
            )));
        }
    };
    if let Some(ca) = files.ca.as_ref().filter(|_| files.are_new && program() != "certs")
    {
        announce(ca);
    }
    files.ca = var("CA").or(files.ca);
    Ok(files)
}

/// The files in a folder; made if there are none, or if those that were made are no longer
/// valid. What somebody else put there is never touched.
///
/// # Errors
/// As [`files`].
pub fn in_folder(folder: &Path) -> Result<Files, CannotStart> {
    let [cert, key, ca] = ["cert.pem", "key.pem", "ca.pem"].map(|name| folder.join(name));
    let cannot = |error: io::Error| {
        CannotStart(format!(
            "{}에 인증서를 만들 수 없습니다: {error}. 다른 폴더로 실행: \
             CERTS_DIR=/tmp/certs cargo run -p {}",
            folder.display(),
            program()
        ))
    };
    let mut are_new = false;
    let ledger = match Ledger::open(folder) {
        Ok(mut ledger) => {
            let entry = ledger.read().map_err(cannot)?;
            let nothing = !cert.exists() && !key.exists();
            let ours = || fingerprint(&cert).is_ok_and(|print| print == entry);
            if nothing || entry == Ledger::MAKING || (ours() && tls::is_expired(&cert)) {
                let now = SystemTime::now();
                ledger.write(Ledger::MAKING).map_err(cannot)?;
                make(folder, now - CLOCKS_DIFFER, now + LIFETIME).map_err(cannot)?;
                ledger.write(&fingerprint(&cert).map_err(cannot)?).map_err(cannot)?;
                are_new = true;
            }
            Some(ledger)
        }
        // A folder that can only be read is good enough if all is there.
        Err(_) if cert.exists() => None,
        Err(error) => return Err(cannot(error)),
    };
    if !cert.exists() {
        return Err(CannotStart(format!(
            "{}은 있는데 짝이 되는 {}이 없습니다. 둘 다 있어야 합니다. 다른 폴더에 새로 \
             만들기: CERTS_DIR=/tmp/certs cargo run -p {}",
            key.display(),
            cert.display(),
            program()
        )));
    }
    let ca = ca.exists().then_some(ca);
    Ok(Files { cert, key, ca, are_new, ledger })
}

/// Who was here first, and how far they came: a file that is locked while somebody looks for
/// certificates or makes them. It says whose they are.
struct Ledger(File);

impl Ledger {
    /// Somebody began to make files. If we can read this, they never came to the end.
    const MAKING: &str = "making";

    /// Waits until nobody else has it. The lock goes with the process that holds it, however
    /// that ends.
    fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let path = folder.join(".made");
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        file.lock()?;
        Ok(Self(file))
    }

    /// [`Ledger::MAKING`], the fingerprint of the certificate that was made, or nothing.
    fn read(&mut self) -> io::Result<String> {
        let mut entry = String::new();
        self.0.rewind()?;
        self.0.read_to_string(&mut entry)?;
        Ok(entry)
    }

    fn write(&mut self, entry: &str) -> io::Result<()> {
        self.0.rewind()?;
        self.0.write_all(entry.as_bytes())?;
        self.0.set_len(entry.len() as u64)?;
        self.0.sync_all()
    }
}

/// Makes an authority and a certificate and writes `ca.pem`, `key.pem` and `cert.pem`.
///
/// # Errors
/// The system refuses to write them.
pub fn make(folder: &Path, from: SystemTime, to: SystemTime) -> io::Result<()> {
    let [authority, certificate, key] = sign(from, to).map_err(io::Error::other)?;
    replace(&folder.join("ca.pem"), &authority, 0o644)?;
    replace(&folder.join("key.pem"), &key, 0o600)?;
    replace(&folder.join("cert.pem"), &certificate, 0o644)
}

/// Authority, certificate and the certificate's key, as PEM. The authority's key ends here.
fn sign(from: SystemTime, to: SystemTime) -> Result<[String; 3], rcgen::Error> {
    let at = |time: SystemTime| {
        let age = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        date_time_ymd(1970, 1, 1) + age
    };
    let mut authority = CertificateParams::default();
    authority.distinguished_name = named("HTTP lessons local authority");
    (authority.not_before, authority.not_after) = (at(from), at(to));
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let v6 = std::net::Ipv6Addr::LOCALHOST.octets();
    authority.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![
            GeneralSubtree::DnsName("localhost".into()),
            GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([127, 0, 0, 1], 32)),
            GeneralSubtree::IpAddress(CidrSubnet::from_v6_prefix(v6, 128)),
        ],
        excluded_subtrees: Vec::new(),
    });
    let authority_key = KeyPair::generate()?; // P-256
    let authority_pem = authority.self_signed(&authority_key)?.pem();
    let issuer = Issuer::new(authority, authority_key);

    let names = ["localhost", "127.0.0.1", "::1"].map(String::from);
    let mut certificate = CertificateParams::new(names)?;
    certificate.distinguished_name = named("localhost");
    (certificate.not_before, certificate.not_after) = (at(from), at(to));
    certificate.is_ca = IsCa::ExplicitNoCa;
    certificate.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    certificate.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    certificate.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = certificate.signed_by(&key, &issuer)?;
    Ok([authority_pem, certificate.pem(), key.serialize_pem()])
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// Writes a file beside the old one and puts it in its place, so that nobody sees half of it.
/// It has its permissions from the first moment: a key is never readable by others.
fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let new = path.with_extension("new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode; // a user's own folder on Windows is the user's alone
    let mut file = options.open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)
}

/// The SHA-256 fingerprint of a PEM file's first certificate, as browsers show it.
///
/// # Errors
/// The file cannot be read, or has no certificate.
pub fn fingerprint(path: &Path) -> io::Result<String> {
    let certificate = tls::first(path).ok_or(ErrorKind::InvalidData)?;
    let hash = digest(&SHA256, &certificate);
    let hex: Vec<_> = hash.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    Ok(hex.join(":"))
}

fn announce(ca: &Path) {
    warn(format_args!(
        "localhost용 인증서를 만들었습니다. 유효 기간은 {}일입니다.\n\
         브라우저에서는 경고 화면의 고급 → 계속, 터미널에서는 curl --cacert {}\n\
         브라우저가 믿게 하려면: cargo run -p certs",
        LIFETIME.as_secs() / (24 * 60 * 60),
        shown(ca).display()
    ));
}

/// A path as a person would write it: without `..`, and from here where that is shorter.
pub fn shown(path: &Path) -> PathBuf {
    let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let here = env::current_dir().and_then(|here| here.canonicalize());
    match here {
        Ok(here) => whole.strip_prefix(here).map(Path::to_owned).unwrap_or(whole),
        Err(_) => whole,
    }
}

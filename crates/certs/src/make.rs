//! A local authority, and the one certificate that it signs.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    NameConstraints, date_time_ymd,
};

/// The files, in the order in which they are written.
pub const NAMES: [&str; 3] = ["ca.pem", "key.pem", "cert.pem"];

/// Makes an authority and a certificate and writes them into a folder, without a note of it:
/// they count as somebody's own.
///
/// # Errors
/// The system refuses to write them.
pub fn make(folder: &Path, from: SystemTime, to: SystemTime) -> io::Result<()> {
    write(folder, &sign(from, to)?)
}

/// Authority, key and certificate as PEM, in the order of [`NAMES`]. The authority's own key
/// ends here.
pub fn sign(from: SystemTime, to: SystemTime) -> io::Result<[String; 3]> {
    certificates(from, to).map_err(io::Error::other)
}

fn certificates(from: SystemTime, to: SystemTime) -> Result<[String; 3], rcgen::Error> {
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
    Ok([authority_pem, key.serialize_pem(), certificate.pem()])
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// Writes each file beside the old one and puts it in its place, so that nobody sees half of
/// it. A key is its owner's alone from the first moment.
pub fn write(folder: &Path, texts: &[String; 3]) -> io::Result<()> {
    for (name, text) in NAMES.iter().zip(texts) {
        let path = folder.join(name);
        let new = path.with_extension("new");
        match fs::remove_file(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(
            &mut options,
            if *name == "key.pem" { 0o600 } else { 0o644 },
        );
        let mut file = options.open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
    }
    Ok(())
}

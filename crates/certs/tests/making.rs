//! Making certificates: what they are, and that nobody ever sees half of them.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use certs::{fingerprint, in_folder, make};
use common::tls::Certificate;
use testkit::TempDir;

const BIN: &str = env!("CARGO_BIN_EXE_certs");
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads certificate and key as a lesson does, which fails if they are no pair.
#[track_caller]
fn expect_pair(folder: &Path) -> String {
    let files = in_folder(folder).expect("files");
    let ca = files.ca.as_deref().expect("ca.pem");
    Certificate::read(&files.cert, &files.key, Some(ca)).expect("a pair");
    let (ca, cert) = (ca.to_str().expect("path"), files.cert.to_str().expect("path"));
    let verified = openssl(&["verify", "-purpose", "sslserver", "-CAfile", ca, cert]);
    assert!(verified.status.success(), "{verified:?}");
    fingerprint(&files.cert).expect("fingerprint")
}

fn openssl(arguments: &[&str]) -> Output {
    Command::new("openssl").args(arguments).output().expect("openssl")
}

#[test]
fn a_certificate_is_for_this_machine_alone_and_so_is_its_authority() {
    let folder = TempDir::new();
    expect_pair(folder.path());
    let text = |name: &str| {
        let path = folder.path().join(name);
        let path = path.to_str().unwrap();
        let shown = openssl(&["x509", "-noout", "-text", "-in", path]);
        String::from_utf8(shown.stdout).unwrap()
    };
    let certificate = text("cert.pem");
    for part in [
        "DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1",
        "CA:FALSE",
        "TLS Web Server Authentication",
        "prime256v1",
    ] {
        assert!(certificate.contains(part), "{part} in {certificate}");
    }
    let authority = text("ca.pem");
    for part in [
        "CA:TRUE, pathlen:0",
        "X509v3 Name Constraints: critical",
        "DNS:localhost",
        "IP:127.0.0.1/255.255.255.255",
        "Certificate Sign",
    ] {
        assert!(authority.contains(part), "{part} in {authority}");
    }
    let cert = folder.path().join("cert.pem");
    let cert = cert.to_str().unwrap();
    let days = |n: u32| (n * 24 * 60 * 60).to_string();
    let good_for = |n| {
        let end = ["x509", "-noout", "-in", cert, "-checkend", &days(n)];
        openssl(&end).status.success()
    };
    assert!(good_for(89) && !good_for(91));
}

#[test]
fn only_the_certificates_own_key_is_written_and_only_for_its_owner() {
    let folder = TempDir::new();
    in_folder(folder.path()).unwrap();
    let mut names: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, [".made", "ca.pem", "cert.pem", "key.pem"]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let key = fs::metadata(folder.path().join("key.pem")).unwrap();
        assert_eq!(key.permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn what_is_there_and_valid_stays() {
    let folder = TempDir::new();
    let first = expect_pair(folder.path());
    assert_eq!(expect_pair(folder.path()), first);
}

#[test]
fn many_first_starts_at_once_make_one_certificate() {
    let folder = TempDir::new();
    let start = || {
        let mut command = Command::new(BIN);
        command.env("CERTS_DIR", folder.path()).env_remove("CERT").env_remove("KEY");
        command.stdout(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<_> = (0..8).map(|_| start()).collect();
    let outputs: Vec<_> = children
        .into_iter()
        .map(|child| child.wait_with_output().unwrap())
        .inspect(|output| assert!(output.status.success(), "{output:?}"))
        .map(|output| output.stdout)
        .collect();
    assert!(outputs.iter().all(|output| *output == outputs[0]));
    let print = expect_pair(folder.path());
    assert!(String::from_utf8_lossy(&outputs[0]).contains(&print));
}

#[test]
fn a_start_that_is_killed_leaves_nothing_that_is_half() {
    let folder = TempDir::new();
    for n in 0..40 {
        let mut command = Command::new(BIN);
        command.env("CERTS_DIR", folder.path()).env_remove("CERT").env_remove("KEY");
        let mut child =
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(250 * n)); // a little further each time
        child.kill().unwrap();
        child.wait().unwrap();
        expect_pair(folder.path());
        for name in ["cert.pem", "key.pem", "ca.pem"] {
            fs::remove_file(folder.path().join(name)).unwrap();
        }
    }
}

#[test]
fn files_of_two_generations_are_made_anew() {
    let (folder, other) = (TempDir::new(), TempDir::new());
    for name in ["ca.pem", "key.pem", "cert.pem"] {
        let before = expect_pair(folder.path());
        expect_pair(other.path());
        // As if a second maker had been killed after this file.
        fs::copy(other.path().join(name), folder.path().join(name)).unwrap();
        fs::write(folder.path().join(".made"), "making").unwrap();
        assert_ne!(expect_pair(folder.path()), before);
    }
}

#[test]
fn an_expired_certificate_of_ours_is_renewed_and_anybody_elses_is_not_touched() {
    let folder = TempDir::new();
    let (from, to) = (SystemTime::now() - 3 * DAY, SystemTime::now() - DAY);
    make(folder.path(), from, to).unwrap();
    let cert = folder.path().join("cert.pem");
    let expired = fingerprint(&cert).unwrap();
    let files = in_folder(folder.path()).unwrap();
    assert_eq!(fingerprint(&cert).unwrap(), expired);
    let read = Certificate::read(&files.cert, &files.key, None);
    let why = read.err().expect("it is expired").0;
    assert!(why.contains("1일 전에 끝난") && why.contains("cert.pem"), "{why}");
    drop(files);

    fs::write(folder.path().join(".made"), &expired).unwrap();
    assert_ne!(expect_pair(folder.path()), expired);
}

#[test]
fn a_key_that_lies_there_alone_is_never_overwritten() {
    let folder = TempDir::new();
    let key = folder.path().join("key.pem");
    fs::write(&key, "my own key").unwrap();
    let why = in_folder(folder.path()).err().expect("no certificate").0;
    assert!(why.contains("key.pem") && why.contains("cert.pem"), "{why}");
    assert_eq!(fs::read(&key).unwrap(), b"my own key");
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = TempDir::new();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let why = in_folder(&file).err().expect("no folder").0;
    assert!(why.contains("CERTS_DIR=") && why.contains("file"), "{why}");
}

#[test]
fn by_hand_it_says_the_fingerprints_and_three_ways_on() {
    let folder = TempDir::new();
    let mut command = Command::new(BIN);
    command.env("CERTS_DIR", folder.path()).env_remove("CERT").env_remove("KEY");
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let prints =
        ["cert.pem", "ca.pem"].map(|n| fingerprint(&folder.path().join(n)).unwrap());
    for part in [
        "curl --cacert",
        "고급",
        "update-ca-certificates",
        "security add-trusted-cert",
        "certutil -user -addstore Root",
        &prints[0],
        &prints[1],
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let shown = openssl(&[
        "x509",
        "-noout",
        "-fingerprint",
        "-sha256",
        "-in",
        folder.path().join("cert.pem").to_str().unwrap(),
    ]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains(&prints[0]));
}

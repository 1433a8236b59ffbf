//! Making certificates: what they are, and that nobody ever sees half of them.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use certs::{fingerprint, in_folder, make};
use testkit::TempDir;

const BIN: &str = env!("CARGO_BIN_EXE_certs");
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Expects all three files: the key is the certificate's, and the authority vouches for it.
#[track_caller]
fn expect_pair(folder: &Path) -> String {
    let files = in_folder(folder).expect("files");
    let ca = files.ca.as_deref().expect("ca.pem");
    let (ca, cert) = (ca.to_str().expect("path"), files.cert.to_str().expect("path"));
    let of_key = openssl(&["pkey", "-pubout", "-in", files.key.to_str().expect("path")]);
    let of_cert = openssl(&["x509", "-noout", "-pubkey", "-in", cert]);
    assert!(of_key.status.success(), "{of_key:?}");
    assert_eq!(of_key.stdout, of_cert.stdout, "no pair");
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
        for name in ["key.pem", ".made"] {
            let file = fs::metadata(folder.path().join(name)).unwrap();
            assert_eq!(file.permissions().mode() & 0o777, 0o600, "{name}");
        }
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

/// As if the certificate's time were over.
fn expire(folder: &Path) {
    let record = folder.join(".made");
    let text = fs::read_to_string(&record).expect(".made");
    let (_, hashes) = text.split_once(' ').expect("an end and hashes");
    fs::write(&record, format!("1 {hashes}")).expect(".made");
}

#[test]
fn an_expired_certificate_of_ours_is_renewed() {
    let folder = TempDir::new();
    let before = expect_pair(folder.path());
    expire(folder.path());
    assert_ne!(expect_pair(folder.path()), before);
}

#[test]
fn a_renewal_that_was_killed_is_done_again() {
    let folder = TempDir::new();
    for names in [&["ca.pem"][..], &["ca.pem", "key.pem"]] {
        expect_pair(folder.path());
        let old = names.iter().map(|name| fs::read(folder.path().join(name)).unwrap());
        let old: Vec<_> = old.collect();
        expire(folder.path());
        let renewed = expect_pair(folder.path());
        // As if it had been killed before these were replaced.
        for (name, old) in names.iter().zip(old) {
            fs::write(folder.path().join(name), old).unwrap();
        }
        assert_ne!(expect_pair(folder.path()), renewed);
    }
}

/// Whatever is somebody's own, whichever of the three it is and whatever happened before.
#[test]
fn what_somebody_else_put_there_is_never_written_to() {
    let own = TempDir::new();
    make(own.path(), SystemTime::now() - DAY, SystemTime::now() + DAY).unwrap();
    let names = ["ca.pem", "key.pem", "cert.pem"];
    for chosen in 1..8 {
        for before in ["nothing", "ours", "ours that expired", "a killed first start"] {
            let folder = TempDir::new();
            if before != "nothing" {
                expect_pair(folder.path());
            }
            if before == "ours that expired" {
                expire(folder.path());
            }
            if before == "a killed first start" {
                names
                    .iter()
                    .for_each(|n| fs::remove_file(folder.path().join(n)).unwrap());
            }
            let mine: Vec<_> =
                (0..3).filter(|n| chosen >> n & 1 == 1).map(|n| names[n]).collect();
            for name in &mine {
                fs::copy(own.path().join(name), folder.path().join(name)).unwrap();
            }
            let files = in_folder(folder.path());
            for name in &mine {
                let (now, then) = (folder.path().join(name), own.path().join(name));
                assert_eq!(fs::read(now).unwrap(), fs::read(then).unwrap(), "{before}");
            }
            match files {
                Ok(files) => assert!(!files.are_ours, "{mine:?}, {before}"),
                Err(why) => {
                    assert!(
                        why.0.contains("CERTS_DIR=$HOME"),
                        "{mine:?}, {before}: {why:?}"
                    );
                }
            }
        }
    }
}

#[cfg(unix)]
#[test]
fn a_lock_that_another_process_holds_costs_a_line_and_a_limit() {
    let folder = TempDir::new();
    expect_pair(folder.path());
    let record = fs::File::open(folder.path().join(".made")).unwrap();
    record.lock().unwrap();
    let mut command = Command::new(BIN);
    command.env("CERTS_DIR", folder.path()).env_remove("CERT").env_remove("KEY");
    let output = command.env("LC_ALL", "C").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].contains("waiting for up to 5 s"), "{said}");
    assert!(lines[1].contains(".made") && lines[1].contains("CERTS_DIR="), "{said}");
    drop(record);
    expect_pair(folder.path());
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
fn of_an_authority_that_is_somebodys_own_nothing_is_promised() {
    let (own, ours) = (TempDir::new(), TempDir::new());
    make(own.path(), SystemTime::now() - DAY, SystemTime::now() + DAY).unwrap();
    for (folder, promised) in [(&own, false), (&ours, true)] {
        let mut command = Command::new(BIN);
        command.env("CERTS_DIR", folder.path()).env("LC_ALL", "C");
        let output = command.env_remove("CERT").env_remove("KEY").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(text.contains("constrained"), promised, "{text}");
        assert_eq!(text.contains("is gone"), promised, "{text}");
    }
}

#[test]
fn by_hand_it_says_the_fingerprints_and_three_ways_on() {
    let folder = TempDir::new();
    let mut command = Command::new(BIN);
    command.env("CERTS_DIR", folder.path()).env_remove("CERT").env_remove("KEY");
    let output = command.env("LC_ALL", "ko_KR.UTF-8").output().unwrap();
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

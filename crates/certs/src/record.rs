//! The file `.made` in a folder of certificates: who was there first, and what was made there.
//! It is locked while somebody looks for certificates or makes them.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use common::ko_en;
use common::log::warn;
use ring::digest::{SHA256, digest};

use crate::make::NAMES;

/// How long another process may have the lock before we say so, and before we give up.
const SAID_AFTER: Duration = Duration::from_secs(1);
const LOCK_LIMIT: Duration = Duration::from_secs(5);

/// The file, locked. The lock goes with the process that holds it, however that ends.
pub struct Record {
    file: File,
    /// A line for what was made, the newest first: the end of the certificate (seconds since
    /// 1970), and the SHA-256 of each file in the order of [`NAMES`].
    text: String,
}

impl Record {
    /// Waits until nobody else has the lock, for 5 s at most.
    pub fn take(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let path = folder.join(".made");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        // Its owner's alone: who can open it can lock it, and keep us out.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&path)?;
        let (start, mut said) = (Instant::now(), false);
        while let Err(error) = file.try_lock() {
            let TryLockError::WouldBlock = error else { return Err(error.into()) };
            let (path, seconds) = (path.display(), LOCK_LIMIT.as_secs());
            if start.elapsed() >= SAID_AFTER && !said {
                said = true;
                warn(ko_en!(
                    "다른 프로세스가 {path} 파일을 잠그고 있어 {seconds}초까지 기다립니다.",
                    "Another process has locked {path}: waiting for up to {seconds} s."
                ));
            }
            if start.elapsed() >= LOCK_LIMIT {
                let why = ko_en!(
                    "다른 프로세스가 {path} 파일을 잠그고 있습니다",
                    "another process has locked {path}"
                );
                return Err(io::Error::new(ErrorKind::TimedOut, why));
            }
            sleep(Duration::from_millis(20));
        }
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        Ok(Self { file, text: String::from_utf8_lossy(&text).into_owned() })
    }

    /// Notes what is about to be made. What was made last stays noted: after a crash some of
    /// the files may still be the old ones.
    pub fn add(&mut self, until: SystemTime, texts: &[String; 3]) -> io::Result<()> {
        let hashes = texts.each_ref().map(|text| hash(text.as_bytes())).join(" ");
        let last = self.text.lines().next().unwrap_or_default();
        self.text = format!("{} {hashes}\n{last}\n", seconds(until));
        self.file.rewind()?;
        self.file.write_all(self.text.as_bytes())?;
        self.file.set_len(self.text.len() as u64)?;
        self.file.sync_all()
    }

    /// Whether each of the files that are there was made here.
    pub fn made_all_in(&self, folder: &Path) -> bool {
        NAMES.iter().all(|name| match fs::read(folder.join(name)) {
            Ok(text) => self.text.split_whitespace().any(|word| word == hash(&text)),
            Err(error) => error.kind() == ErrorKind::NotFound,
        })
    }

    /// Whether all of the newest are there and may still be used.
    pub fn is_good(&self, folder: &Path) -> bool {
        let mut words = self.text.lines().next().unwrap_or_default().split(' ');
        let until = words.next().and_then(|seconds| seconds.parse().ok()).unwrap_or(0);
        let same = |(name, hashed): (&str, &str)| {
            fs::read(folder.join(name)).is_ok_and(|text| hash(&text) == hashed)
        };
        let found = NAMES.into_iter().zip(words).filter(|pair| same(*pair)).count();
        seconds(SystemTime::now()) < until && found == NAMES.len()
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn hash(bytes: &[u8]) -> String {
    digest(&SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

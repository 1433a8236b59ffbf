//! TLS session tickets that every worker and every host can read: who was on one of them
//! resumes on any other, which saves a signature and a round trip (RFC 8446 section 2.2).

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::error::CannotStart;
use common::ko_en;
use common::settings::cannot_start;
use redis::cmd;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::server::ProducesTickets;
use tokio::time::sleep;

use crate::redis::Redis;

/// The length of one key: that of nginx's `ssl_session_ticket_key`.
const KEY: usize = 80;

/// The first bytes of a key are its name, and stand before each ticket.
const NAME: usize = 16;

/// How long a key signs, where Redis keeps them. It is good for as long again.
const WINDOW: Duration = Duration::from_secs(12 * 60 * 60);

/// Whether the keys are those that other processes have too, for the metrics.
pub static SHARED: AtomicBool = AtomicBool::new(false);

/// The keys: the first one signs, all of them are read.
#[derive(Debug)]
pub struct Tickets(RwLock<Vec<Key>>);

#[derive(Debug)]
struct Key {
    name: [u8; NAME],
    key: LessSafeKey,
}

impl Tickets {
    /// The keys of a file, of Redis, or of this process alone.
    ///
    /// # Errors
    /// The file cannot be read or is no file of keys, or there is no randomness.
    pub fn new(
        file: Option<&Path>,
        redis: Option<Redis>,
    ) -> Result<Arc<Self>, CannotStart> {
        let keys = match file {
            Some(path) => from_file(path).inspect(|_| SHARED.store(true, Relaxed))?,
            None => vec![random().and_then(|key| Key::new(&key)).ok_or_else(no_random)?],
        };
        let tickets = Arc::new(Self(RwLock::new(keys)));
        if let (None, Some(redis)) = (file, redis) {
            tokio::spawn(tickets.clone().follow(redis));
        }
        Ok(tickets)
    }

    /// Takes the key of each span of time from Redis; the first worker that asks has made it.
    /// Once a minute: a Redis that has lost its data has another key then.
    async fn follow(self: Arc<Self>, redis: Redis) {
        let mut last = 0;
        loop {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let (window, minute) = (now.as_secs() / WINDOW.as_secs(), now.as_secs() / 60);
            if minute != last
                && let Some(new) = key_of(&redis, window).await
            {
                let old = key_of(&redis, window - 1).await;
                last = minute;
                *self.0.write().unwrap_or_else(PoisonError::into_inner) =
                    [new].into_iter().chain(old).collect();
                SHARED.store(true, Relaxed);
            }
            sleep(Duration::from_secs(1)).await;
        }
    }
}

async fn key_of(redis: &Redis, window: u64) -> Option<Key> {
    let name = format!("tickets:{window}");
    let mut set = cmd("SET");
    let set = set.arg(&name).arg(random()?.as_slice()).arg("NX");
    let lifetime = 2 * WINDOW.as_secs();
    redis.write::<()>(set.arg("EX").arg(lifetime)).await.ok()?;
    let bytes: Vec<u8> = redis.read(cmd("GET").arg(&name)).await.ok()?;
    Key::new(&bytes)
}

fn from_file(path: &Path) -> Result<Vec<Key>, CannotStart> {
    let bytes = std::fs::read(path);
    let keys =
        bytes.map(|bytes| bytes.chunks(KEY).map(Key::new).collect::<Option<Vec<_>>>());
    let why = match keys {
        Ok(Some(keys)) if !keys.is_empty() => return Ok(keys),
        Ok(_) => ko_en!("80바이트 키들이 아닙니다", "it does not hold keys of 80 bytes"),
        Err(error) => error.to_string(),
    };
    let (is_there, path) = (path.exists(), path.display());
    let what = ko_en!("TICKET_KEY_FILE {path}: {why}", "TICKET_KEY_FILE {path}: {why}");
    // Never over a file that is there.
    let new = if is_there { format!("{path}.new") } else { path.to_string() };
    let make = format!("openssl rand 80 > {new}; TICKET_KEY_FILE");
    Err(cannot_start(what, &make, new))
}

fn random() -> Option<[u8; KEY]> {
    let mut key = [0; KEY];
    SystemRandom::new().fill(&mut key).ok().map(|()| key)
}

fn no_random() -> CannotStart {
    CannotStart(ko_en!("난수를 얻을 수 없습니다", "There is no randomness"))
}

impl Key {
    fn new(bytes: &[u8]) -> Option<Self> {
        let (name, secret) = bytes.split_at_checked(NAME)?;
        let secret = (bytes.len() == KEY).then(|| digest(&SHA256, secret))?;
        let key = UnboundKey::new(&CHACHA20_POLY1305, secret.as_ref()).ok()?;
        Some(Self { name: name.try_into().ok()?, key: LessSafeKey::new(key) })
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        WINDOW.as_secs() as u32
    }

    /// The name of the key, a nonce, and the sealed text.
    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let Key { name, key } = keys.first()?;
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).ok()?;
        let mut sealed = plain.to_vec();
        let unique = Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_append_tag(unique, Aad::from(name), &mut sealed).ok()?;
        Some([&name[..], &nonce, &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_at_checked(NAME)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        let keys = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let Key { name, key } = keys.iter().find(|key| key.name == name)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        key.open_in_place(nonce, Aad::from(name), &mut sealed)
            .map(|plain| plain.to_vec())
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_read_by_whoever_has_its_key_and_by_nobody_else() {
        let [a, b] = [[1; KEY], [2; KEY]].map(|bytes| Key::new(&bytes).unwrap());
        let signs_b = Tickets(RwLock::new(vec![b]));
        let ticket = signs_b.encrypt(b"secret").unwrap();
        let b_again = Key::new(&[2; KEY]).unwrap();
        let both = Tickets(RwLock::new(vec![a, b_again]));
        assert_eq!(both.decrypt(&ticket).unwrap(), b"secret");
        assert_eq!(
            signs_b.decrypt(&both.encrypt(b"x").unwrap()),
            None,
            "the first one signs"
        );
        for cut in 0..ticket.len() {
            assert_eq!(both.decrypt(&ticket[..cut]), None);
            let mut other = ticket.clone();
            other[cut] ^= 1;
            assert_eq!(both.decrypt(&other), None);
        }
    }
}

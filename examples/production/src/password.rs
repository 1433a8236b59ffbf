//! Passwords as Argon2id hashes, with 19 MiB, two passes and one lane, as OWASP's Password Storage
//! Cheat Sheet has it (the library's own values, see the test). A hash is slow on purpose, and costs 19 MiB: on threads of their
//! own, few at once, and no more waiting than can be served soon.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::{io, thread};

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use common::{Error, ko_en};
use hyper::StatusCode;
use tokio::sync::Semaphore;

/// Hashes that were computed.
pub static HASHES: AtomicU64 = AtomicU64::new(0);

/// Hashes that wait for a core at most.
const MAX_WAITING: usize = 64;

static CORES: LazyLock<usize> =
    LazyLock::new(|| thread::available_parallelism().map_or(1, usize::from));
static AT_ONCE: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(*CORES));
static ROOM: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(*CORES + MAX_WAITING));

/// The hash of no password that anybody knows: what the password of an unknown account is
/// compared with, so that it takes as long as that of a known one.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$FBRDQYgbOvJoW1Uk/1p1VQ$\
     xhwfqZji+DP2cz1/OeE2yjNpoUSO364m4yy8YJXLLto";

/// A new hash (a PHC string, with parameters and salt) of a password.
///
/// # Errors
/// 503 where too many are waiting.
pub async fn hash(password: String) -> Result<String, Error> {
    let hashed = slowly(move || Argon2::default().hash_password(password.as_bytes()));
    hashed.await?.map(|hash| hash.to_string()).map_err(|e| io::Error::other(e).into())
}

/// Whether `password` is the one of `hash`; `None` is the hash of an unknown account.
///
/// # Errors
/// As [`hash`].
pub async fn verify(password: String, hash: Option<String>) -> Result<bool, Error> {
    let known = hash.is_some();
    let is_right = slowly(move || {
        let hash = hash.as_deref().unwrap_or(NOBODY);
        let hash = PasswordHash::new(hash).map_err(io::Error::other)?;
        Ok::<_, io::Error>(
            Argon2::default().verify_password(password.as_bytes(), &hash).is_ok(),
        )
    });
    Ok(is_right.await?? && known)
}

async fn slowly<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let room = ROOM.try_acquire().map_err(|_| {
        let message = ko_en!(
            "로그인이 몰렸습니다. 잠시 뒤 다시 시도하세요.",
            "Too many logins at once. Try again in a moment."
        );
        Error::new(StatusCode::SERVICE_UNAVAILABLE, message).retry_after(1)
    })?;
    let core = AT_ONCE.acquire().await.map_err(io::Error::other)?;
    // With the work, not with the request: a client that leaves does not end what it began.
    let work = move || (work(), drop((room, core)), HASHES.fetch_add(1, Relaxed)).0;
    Ok(tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    // One after the other: both use the places of this process.
    #[tokio::test]
    async fn places_and_hashes() {
        too_many_at_once_are_refused_and_all_others_are_served().await;
        a_hash_is_argon2id_with_the_parameters_of_owasp_and_so_is_that_of_nobody().await;
    }

    async fn a_hash_is_argon2id_with_the_parameters_of_owasp_and_so_is_that_of_nobody() {
        let made = hash("correct horse".into()).await.unwrap();
        for hash in [&*made, NOBODY] {
            assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
            assert_eq!(hash.len(), made.len());
            PasswordHash::new(hash).unwrap();
        }
        assert!(verify("correct horse".into(), Some(made.clone())).await.unwrap());
        assert!(!verify("wrong horse".into(), Some(made)).await.unwrap());
        assert!(!verify("correct horse".into(), None).await.unwrap());
        assert!(!verify("correct horse".into(), Some(NOBODY.into())).await.unwrap());
    }

    async fn too_many_at_once_are_refused_and_all_others_are_served() {
        static OPEN: AtomicBool = AtomicBool::new(false);
        let wait = || {
            while !OPEN.load(Relaxed) {
                thread::sleep(std::time::Duration::from_millis(1));
            }
        };
        let places = *CORES + MAX_WAITING;
        let many: Vec<_> = (0..places + 9).map(|_| tokio::spawn(slowly(wait))).collect();
        while many.iter().filter(|one| one.is_finished()).count() < 9 {
            tokio::task::yield_now().await;
        }
        OPEN.store(true, Relaxed);
        let mut refused = 0;
        for one in many {
            if let Err(error) = one.await.unwrap() {
                assert_eq!((error.status.as_u16(), error.retry_after), (503, Some(1)));
                refused += 1;
            }
        }
        assert_eq!(refused, 9);
    }
}

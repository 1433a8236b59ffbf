//! Passwords as Argon2id hashes, with 19 MiB, two passes and one lane, as OWASP's Password Storage
//! Cheat Sheet has it (the library's own values, see the test). A hash is slow on purpose, and costs
//! 19 MiB: on a thread of its own, one after the other, and no more waiting than can be served soon.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{LazyLock, Mutex, PoisonError};

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version, password_hash};
use common::{Error, ko_en};
use hyper::StatusCode;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;

/// Hashes that were computed.
pub static HASHES: AtomicU64 = AtomicU64::new(0);

/// Hashes that are under way or wait, at most.
const ROOM: usize = 64;

static PLACES: Semaphore = Semaphore::const_new(ROOM);

/// One thread in each worker, as there is a worker for each core.
static THREAD: LazyLock<io::Result<Runtime>> =
    LazyLock::new(|| Builder::new_current_thread().max_blocking_threads(1).build());

/// What hashes are computed in, each in the same: an allocator that is asked for 19 MiB time and
/// again keeps hundreds of them.
static MEMORY: Mutex<Vec<Block>> = Mutex::new(Vec::new());

/// The hash of no password that anybody knows: what the password of an unknown account is
/// compared with, so that it takes as long as that of a known one.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$FBRDQYgbOvJoW1Uk/1p1VQ$\
     xhwfqZji+DP2cz1/OeE2yjNpoUSO364m4yy8YJXLLto";

/// A new hash (a PHC string, with parameters and salt) of a password.
///
/// # Errors
/// 503 where too many are waiting.
pub async fn hash(password: String) -> Result<String, Error> {
    let hashed = slowly(move || argon2id(&password, Salt::generate(), Params::default()));
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
        let hash = PasswordHash::new(hash)?;
        let salt = hash.salt.ok_or(password_hash::Error::SaltInvalid)?;
        let computed = argon2id(&password, salt, Params::try_from(&hash)?)?;
        // Takes as long for a wrong one: `Output` is compared in constant time.
        Ok::<_, password_hash::Error>(computed.hash == hash.hash)
    });
    Ok(is_right.await?.map_err(io::Error::other)? && known)
}

/// RFC 9106.
fn argon2id(
    password: &str,
    salt: Salt,
    params: Params,
) -> Result<PasswordHash, password_hash::Error> {
    let mut memory = MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
    memory.resize(params.block_count(), Block::new());
    let mut output = [0; Params::DEFAULT_OUTPUT_LEN];
    let written = ParamsString::try_from(&params)?;
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(
            password.as_bytes(),
            &salt,
            &mut output,
            &mut memory[..],
        )?;
    Ok(PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: written,
        salt: Some(salt),
        hash: Some(Output::new(&output)?),
    })
}

async fn slowly<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let place = PLACES.try_acquire().map_err(|_| {
        let message = ko_en!(
            "로그인이 몰렸습니다. 잠시 뒤 다시 시도하세요.",
            "Too many logins at once. Try again in a moment."
        );
        Error::new(StatusCode::SERVICE_UNAVAILABLE, message).retry_after(1)
    })?;
    // With the work, not with the request: a client that leaves does not end what it began.
    let work = move || (work(), drop(place), HASHES.fetch_add(1, Relaxed)).0;
    let thread = THREAD.as_ref().map_err(|why| io::Error::other(why.to_string()))?;
    Ok(thread.spawn_blocking(work).await.map_err(io::Error::other)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    /// Of `printf 'correct horse' | argon2 of-the-reference -id -t 2 -k 19456 -p 1 -e`, with the
    /// program of those who invented it.
    const REFERENCE: &str = "$argon2id$v=19$m=19456,t=2,p=1$b2YtdGhlLXJlZmVyZW5jZQ$\
         0fUt25IuwNNrRL1KQ0YCEdg/mFn/yKki1vF9TfkJ9Dw";

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
        assert!(verify("correct horse".into(), Some(REFERENCE.into())).await.unwrap());
        assert!(!verify("wrong horse".into(), Some(REFERENCE.into())).await.unwrap());
        assert!(!verify("correct horse".into(), None).await.unwrap());
        assert!(!verify("correct horse".into(), Some(NOBODY.into())).await.unwrap());
    }

    async fn too_many_at_once_are_refused_and_all_others_are_served() {
        static OPEN: AtomicBool = AtomicBool::new(false);
        let wait = || {
            while !OPEN.load(Relaxed) {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        };
        let many: Vec<_> = (0..ROOM + 9).map(|_| tokio::spawn(slowly(wait))).collect();
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

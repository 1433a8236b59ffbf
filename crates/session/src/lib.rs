//! The sessions: what a browser holds ([`Id`]), and where the server keeps the rest
//! ([`Store`]). The lesson's own server uses no more than this, and any other may.

pub mod memory;
pub mod redis;

use std::fmt;
use std::time::Duration;

use common::error::CannotStart;
use common::settings::number;
use common::{Error, ko_en};
use hyper::StatusCode;

/// How long a session lives where `SESSION_TTL_SECS` does not say otherwise.
pub const TTL: Duration = Duration::from_secs(5 * 60);

/// The longest that `SESSION_TTL_SECS` may ask for: a year.
const MAX_TTL_SECS: u64 = 365 * 24 * 60 * 60;

/// Sessions that either store holds; for a new one beyond them the oldest goes.
pub const MAX_SESSIONS: usize = 100_000;

/// What a browser holds instead of its data: 128 random bits, as 32 hexadecimal digits.
///
/// Whoever knows one is logged in, so none can be guessed: with 100,000 sessions alive and
/// a million guesses a second, the first hit takes 10²⁰ years.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Id(u128);

impl Id {
    /// A new one, from the operating system's own source of randomness.
    ///
    /// # Errors
    /// 500 where the system has none to give.
    pub fn random() -> Result<Self, Error> {
        let mut bits = [0; 16];
        getrandom::fill(&mut bits).map_err(|cause| {
            let message = ko_en!(
                "세션 아이디를 만들 수 없습니다.",
                "Cannot make an id for a session."
            );
            Error::new(StatusCode::INTERNAL_SERVER_ERROR, message).with_detail(cause)
        })?;
        Ok(Self(u128::from_be_bytes(bits)))
    }

    /// Reads what [`Id`] displays, and nothing else: no other text ever reaches a store.
    pub fn parse(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let is_ours = text.len() == 32 && text.bytes().all(is_digit);
        is_ours.then(|| u128::from_str_radix(text, 16).ok().map(Self))?
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Where the sessions are: `const session = {}` in Node.
#[allow(clippy::large_enum_variant, reason = "a process has one, and moves it once")]
pub enum Store {
    /// In this process. Nobody else sees them, and they end with it.
    Memory(memory::Memory),
    /// In Redis, for all processes that use it.
    Redis(redis::Shared),
}

impl Store {
    /// Redis where `REDIS_URL` is set, else memory; sessions live for `SESSION_TTL_SECS`.
    ///
    /// # Errors
    /// A bad `SESSION_TTL_SECS` or `REDIS_URL`, or no Redis there.
    pub async fn from_env() -> Result<Self, CannotStart> {
        let ttl = number("SESSION_TTL_SECS", 1..=MAX_TTL_SECS, 60)?;
        let ttl = ttl.map_or(TTL, Duration::from_secs);
        let Some(redis) = redis::Redis::from_env()? else {
            return Ok(Self::Memory(memory::Memory::new(ttl)));
        };
        redis.check().await?;
        Ok(Self::Redis(redis::Shared::new(redis, ttl)))
    }

    /// Begins a session for `name`: `session[id] = { name, expires }`, with an id that nobody
    /// has had before.
    ///
    /// # Errors
    /// 503 while Redis is away; so do the two below.
    pub async fn add(&self, name: String) -> Result<Id, Error> {
        let id = Id::random()?;
        match self {
            Self::Memory(memory) => memory.insert(id, name),
            Self::Redis(redis) => redis.insert(id, name).await?,
        }
        Ok(id)
    }

    /// `session[id]?.name`; nothing for a session that is unknown or expired, or for no id.
    ///
    /// # Errors
    /// 503 while Redis is away.
    pub async fn name(&self, id: Option<Id>) -> Result<Option<String>, Error> {
        let Some(id) = id else { return Ok(None) };
        match self {
            Self::Memory(memory) => Ok(memory.name(id)),
            Self::Redis(redis) => redis.name(id).await,
        }
    }

    /// `delete session[id]`; one that is unknown is gone already.
    ///
    /// # Errors
    /// 503 while Redis is away.
    pub async fn remove(&self, id: Option<Id>) -> Result<(), Error> {
        let Some(id) = id else { return Ok(()) };
        match self {
            Self::Memory(memory) => memory.remove(id),
            Self::Redis(redis) => redis.remove(id).await?,
        }
        Ok(())
    }

    /// How long a session lives.
    pub fn ttl(&self) -> Duration {
        match self {
            Self::Memory(memory) => memory.ttl,
            Self::Redis(redis) => redis.ttl,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn ids_differ_in_every_bit() {
        let ids: Vec<Id> = (0..1000).map(|_| Id::random().unwrap()).collect();
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 1000);
        // A bit that was the same in all of them would be no random bit.
        let (ones, zeros) = ids.iter().fold((0, 0), |(a, b), id| (a | id.0, b | !id.0));
        assert_eq!((ones, zeros), (u128::MAX, u128::MAX));
    }

    #[test]
    fn what_is_no_id_is_none() {
        for text in [
            "",
            "1",
            "1690000000000",
            "0123456789abcdef0123456789abcde",
            "0123456789abcdef0123456789abcdef0",
            "0123456789ABCDEF0123456789abcdef",
            "+123456789abcdef0123456789abcdef",
            "0123456789abcdef 123456789abcdef",
            "0123456789abcdef*123456789abcdef",
            "안안안안안안안안안안aa",
        ] {
            assert!(Id::parse(text).is_none(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_id_is_read_as_it_was_shown(bits: u128) {
            let shown = Id(bits).to_string();
            prop_assert_eq!(shown.len(), 32);
            prop_assert!(Id::parse(&shown) == Some(Id(bits)));
        }
    }
}

//! Who may change something: the token, and addresses that guess.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::extract::{Extension, FromRequestParts};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;

use super::Shown;
use super::error::ApiError;

/// So many wrong tokens within [`WINDOW_MS`] are a guess.
const WRONG_MAX: usize = 10;
/// How long wrong tokens are remembered, and how long an address that guesses is refused.
const WINDOW_MS: u64 = 60_000;
/// Addresses that are remembered.
const ADDRESSES_MAX: usize = 1_024;

/// Where a request comes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) IpAddr);

/// The token that is asked for, and who has shown wrong ones.
#[derive(Debug)]
pub(crate) struct Access {
    token: Mutex<Option<SecretString>>,
    guesses: Mutex<Guesses>,
    born: Instant,
}

/// Why a request may change nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denied {
    /// No token is configured.
    NoToken,
    /// The request has none.
    Missing,
    Wrong,
    /// Too many wrong ones came from there.
    TooMany,
}

impl Access {
    pub(crate) fn new(token: Option<SecretString>) -> Self {
        Access {
            token: Mutex::new(token),
            guesses: Mutex::default(),
            born: Instant::now(),
        }
    }

    /// Another token from now on.
    pub(crate) fn set_token(&self, token: Option<SecretString>) {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = token;
    }

    /// Judges the `Authorization` of a request from this address.
    fn check(&self, authorization: Option<&[u8]>, from: IpAddr, now_ms: u64) -> Result<(), Denied> {
        let token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(token) = token.as_ref() else {
            return Err(Denied::NoToken);
        };
        let mut guesses = self.guesses.lock().unwrap_or_else(PoisonError::into_inner);
        if guesses.is_refused(from, now_ms) {
            return Err(Denied::TooMany);
        }
        let shown = authorization.ok_or(Denied::Missing)?;
        if bearer(shown).is_some_and(|shown| is_same(shown, token.expose_secret().as_bytes())) {
            return Ok(());
        }
        guesses.note_wrong(from, now_ms);
        Err(Denied::Wrong)
    }
}

/// What follows `Bearer`, a word in any case (RFC 9110, section 11.1).
fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = authorization.split_at_checked(7)?;
    (scheme.eq_ignore_ascii_case(b"bearer ")).then(|| token.trim_ascii())
}

/// In a time that says neither where the two differ nor how long the token is.
fn is_same(shown: &[u8], token: &[u8]) -> bool {
    let (shown, token) = (Sha256::digest(shown), Sha256::digest(token));
    shown.ct_eq(&token).into()
}

/// Wrong tokens by address.
#[derive(Debug, Default)]
struct Guesses {
    addresses: HashMap<IpAddr, Guess>,
}

#[derive(Debug, Default)]
struct Guess {
    /// When the newest of them came, the oldest first; at most [`WRONG_MAX`].
    wrong_ms: VecDeque<u64>,
    /// Until when the address is refused.
    refused_until_ms: u64,
}

impl Guess {
    fn is_over(&self, now_ms: u64) -> bool {
        let newest_ms = self.wrong_ms.back();
        now_ms >= self.refused_until_ms && newest_ms.is_none_or(|ms| now_ms >= ms + WINDOW_MS)
    }

    fn newest_ms(&self) -> u64 {
        self.wrong_ms
            .back()
            .copied()
            .unwrap_or(self.refused_until_ms)
    }

    /// One more. True when so many have come within one window, whenever it began.
    fn note(&mut self, now_ms: u64) -> bool {
        self.wrong_ms.push_back(now_ms);
        while self.wrong_ms.len() > WRONG_MAX {
            self.wrong_ms.pop_front();
        }
        let first_ms = self.wrong_ms.front();
        let is_guess = self.wrong_ms.len() == WRONG_MAX
            && first_ms.is_some_and(|first_ms| now_ms < first_ms + WINDOW_MS);
        if is_guess {
            self.refused_until_ms = now_ms + WINDOW_MS;
            self.wrong_ms.clear();
        }
        is_guess
    }
}

impl Guesses {
    fn is_refused(&self, from: IpAddr, now_ms: u64) -> bool {
        let guess = self.addresses.get(&from);
        guess.is_some_and(|guess| now_ms < guess.refused_until_ms)
    }

    fn note_wrong(&mut self, from: IpAddr, now_ms: u64) {
        if self.addresses.len() >= ADDRESSES_MAX && !self.addresses.contains_key(&from) {
            self.make_room(now_ms);
        }
        if self.addresses.entry(from).or_default().note(now_ms) {
            tracing::warn!(address = %from, "wrong tokens: this address is refused for a minute");
        }
    }

    /// Forgets what is over, and if nothing is, the oldest.
    fn make_room(&mut self, now_ms: u64) {
        self.addresses.retain(|_, guess| !guess.is_over(now_ms));
        if self.addresses.len() >= ADDRESSES_MAX {
            let oldest = self
                .addresses
                .iter()
                .min_by_key(|(_, guess)| guess.newest_ms());
            if let Some(oldest) = oldest.map(|(address, _)| *address) {
                self.addresses.remove(&oldest);
            }
        }
    }
}

/// Proof that the request may change something.
#[derive(Debug)]
pub(super) struct Authorized;

impl FromRequestParts<Shown> for Authorized {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, shown: &Shown) -> Result<Self, ApiError> {
        let peer = Extension::<Peer>::from_request_parts(parts, shown).await;
        let Ok(Extension(Peer(from))) = peer else {
            return Err(ApiError::internal("the request has no address"));
        };
        let authorization = parts
            .headers
            .get(AUTHORIZATION)
            .map(|value| value.as_bytes());
        let access: &Arc<Access> = &shown.access;
        let now_ms = access.born.elapsed().as_millis() as u64;
        let checked = access.check(authorization, from, now_ms);
        checked.map(|()| Authorized).map_err(ApiError::denied)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    fn access(token: &str) -> Access {
        Access::new(Some(SecretString::from(token)))
    }

    #[test]
    fn only_the_token_opens() {
        let of = |token: &'static str, shown: Option<&'static str>| {
            access(token).check(shown.map(str::as_bytes), address(1), 0)
        };
        for good in ["Bearer secret", "bearer secret", "BEARER  secret "] {
            assert_eq!(of("secret", Some(good)), Ok(()), "{good}");
        }
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer secre",
            "Bearer secrets",
            "Basic secret",
            "secret",
        ] {
            assert_eq!(of("secret", Some(wrong)), Err(Denied::Wrong), "{wrong}");
        }
        assert_eq!(of("secret", None), Err(Denied::Missing));
        let none = Access::new(None);
        assert_eq!(
            none.check(Some(b"Bearer "), address(1), 0),
            Err(Denied::NoToken)
        );
        none.set_token(Some(SecretString::from("late")));
        assert_eq!(none.check(Some(b"Bearer late"), address(1), 0), Ok(()));
    }

    #[test]
    fn ten_wrong_tokens_in_a_minute_close_the_door_to_that_address_for_a_minute() {
        let access = access("secret");
        let check = |shown: &[u8], from, now_ms| access.check(Some(shown), address(from), now_ms);
        for n in 0..10 {
            assert_eq!(check(b"Bearer no", 1, n * 1_000), Err(Denied::Wrong), "{n}");
        }
        assert_eq!(check(b"Bearer no", 1, 9_001), Err(Denied::TooMany));
        assert_eq!(check(b"Bearer secret", 1, 60_000), Err(Denied::TooMany));
        assert_eq!(
            check(b"Bearer secret", 2, 60_000),
            Ok(()),
            "another address"
        );
        assert_eq!(check(b"Bearer secret", 1, 69_000), Ok(()));
        // Any minute counts, also one that began in the middle of another.
        let before = std::iter::once(0).chain((0..8).map(|n| 50_000 + n * 1_000));
        for now_ms in before.chain([61_000, 62_000]) {
            assert_eq!(check(b"Bearer no", 4, now_ms), Err(Denied::Wrong));
        }
        assert_eq!(check(b"Bearer secret", 4, 62_001), Err(Denied::TooMany));
        // Slower than that is no guess.
        for n in 0..30 {
            assert_eq!(check(b"Bearer no", 3, n * 7_000), Err(Denied::Wrong), "{n}");
        }
    }

    #[test]
    fn addresses_are_forgotten_so_that_their_number_is_bounded() {
        let mut guesses = Guesses::default();
        for n in 0..5_000 {
            guesses.note_wrong(address(n), u64::from(n));
        }
        assert_eq!(guesses.addresses.len(), ADDRESSES_MAX);
        guesses.note_wrong(address(9_999), 1_000_000);
        assert_eq!(guesses.addresses.len(), 1);
    }
}

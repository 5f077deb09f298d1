use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use aws_lc_rs::digest::{Context, SHA256};
use hob_model::{FunctionName, Route};

use super::refuse;
use crate::error::GatewayError;

/// Signatures that are remembered, over all functions. Only who has a function's secret can add one.
const MOST: usize = 100_000;

/// The signatures that were used, until they are too old to be used again. It is forgotten when the
/// server stops.
#[derive(Default)]
pub(super) struct Used(Mutex<HashMap<[u8; 32], u64>>);

/// A signature that is good for one call.
pub(crate) struct Once {
    digest: [u8; 32],
    /// Until when it could be used, in seconds since 1970.
    end: u64,
}

/// Why a good signature is not let in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Again,
    Full,
}

impl Used {
    /// Notes at `now`, in seconds since 1970, that a signature was used.
    pub(super) fn enter(&self, once: &Once, now: u64) -> Result<(), Refused> {
        self.enter_among(MOST, once, now)
    }

    fn enter_among(&self, most: usize, once: &Once, now: u64) -> Result<(), Refused> {
        let Once { digest, end } = *once;
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if used.get(&digest).is_some_and(|end| *end >= now) {
            return Err(Refused::Again);
        }
        if used.len() >= most {
            used.retain(|_, end| *end >= now);
        }
        if used.len() >= most {
            return Err(Refused::Full);
        }
        used.insert(digest, end);
        Ok(())
    }
}

impl Once {
    pub(super) fn new(function: &FunctionName, tag: &[u8], end: u64) -> Self {
        // Two functions may have one sender, and one secret.
        let mut key = Context::new(&SHA256);
        key.update(function.qualified().as_bytes());
        key.update(&[0]);
        key.update(tag);
        let mut digest = [0; 32];
        digest.copy_from_slice(key.finish().as_ref());
        Self { digest, end }
    }
}

impl Refused {
    pub(super) fn refusal(&self, route: &Route) -> GatewayError {
        match self {
            Self::Again => refuse::unsigned(route, "its signature was used before"),
            Self::Full => refuse::no_verdict(
                route,
                "there were too many signed calls lately: make `window` in its `auth` shorter",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_good_once_until_it_is_too_old() {
        let used = Used::default();
        let one: FunctionName = "one".parse().expect("valid");
        let other: FunctionName = "other".parse().expect("valid");
        let enter =
            |function, tag: &[u8], now| used.enter_among(2, &Once::new(function, tag, 10), now);
        assert_eq!(enter(&one, b"a", 5), Ok(()));
        assert_eq!(enter(&one, b"a", 10), Err(Refused::Again));
        assert_eq!(enter(&other, b"a", 5), Ok(()));
        assert_eq!(enter(&one, b"b", 5), Err(Refused::Full));
        assert_eq!(enter(&one, b"b", 11), Ok(()));
    }
}

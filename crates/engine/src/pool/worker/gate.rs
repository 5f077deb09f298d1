use std::{
    collections::{HashSet, VecDeque},
    sync::{Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use thiserror::Error;

use super::{
    PublicKey,
    authorisation::{Authorisation, WorkerId, unix_seconds},
};

/// How long an authorisation is good, in seconds.
const VALID_SECONDS: u64 = 60;
/// How far the coordinator's clock may be ahead of the worker's, in seconds.
const AHEAD_SECONDS: u64 = 5;
/// How much older than the worker's start a plain authorisation may be, in milliseconds, at a gate
/// that is [`Gate::early`]: bfaas signs while the worker starts.
const EARLY_MILLIS: u64 = 5000;
/// By how much one may be too old, in milliseconds, for another that is signed now to be good in a
/// second.
const SOON_MILLIS: u64 = 1000;
/// Authorisations that are remembered at most. More than so many in [`VALID_SECONDS`] are refused.
const REMEMBERED: usize = 65_536;

/// Lets those in at a worker who have an authorisation for it, each authorisation once.
#[derive(Debug)]
pub struct Gate {
    key: PublicKey,
    worker: WorkerId,
    /// The start, in milliseconds since 1970: what was used before it is not remembered.
    started: u64,
    /// How much earlier plain ones may be, in milliseconds.
    early: u64,
    seen: Mutex<Seen>,
}

/// A good authorisation, not yet used.
#[derive(Debug)]
pub struct Pass(Authorisation);

/// Why somebody is not let in. Only those who have the key are to learn more than that.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unauthorised {
    /// There is none.
    #[error("no authorisation: send `Authorization: <hex>`, which `hob keys sign` makes")]
    Missing,
    /// It was not made with the key.
    #[error("the signature is not of the key that this worker knows")]
    Signature,
    /// The key's owner signed something else.
    #[error("what is signed is no authorisation")]
    Form,
    /// It is for another worker.
    #[error("the authorisation is for another worker")]
    Worker,
    /// Too old.
    #[error(
        "signed {0} s ago by this worker's clock, and good for {VALID_SECONDS} s: sign it anew, or set the clocks"
    )]
    Expired(u64),
    /// Of the future.
    #[error(
        "signed {0} s ahead of this worker's clock, of which {AHEAD_SECONDS} s are let pass: set the clocks"
    )]
    Ahead(u64),
    /// It may have been used before the worker was started again.
    #[error("signed {0} ms before this worker started: sign it anew, or set the clocks")]
    BeforeStart(u64),
    /// It is for another body.
    #[error("the authorisation is for another script")]
    Body,
    /// What else stands in the request is not signed.
    #[error(
        "an authorisation for one body goes with `Content-Type: application/json` and without a query"
    )]
    Around,
    /// It was used.
    #[error("the authorisation was used before: each is good for one run")]
    Used,
    /// Nothing more can be remembered.
    #[error("more than {REMEMBERED} runs a minute: later ones are refused")]
    Crowded,
}

/// Fingerprints of what was used, oldest first, each for as long as it would be good.
#[derive(Debug, Default)]
struct Seen {
    known: HashSet<[u8; 32]>,
    order: VecDeque<(u64, [u8; 32])>,
}

// === impl Gate ===

impl Gate {
    /// For the worker of this name, which starts `now`.
    pub fn new(key: PublicKey, worker: WorkerId, now: SystemTime) -> Self {
        Self {
            key,
            worker,
            started: unix_millis(now),
            early: 0,
            seen: Mutex::default(),
        }
    }

    /// Takes plain ones too that were signed up to 5 seconds before the start, for a worker that
    /// is started for one run.
    #[must_use]
    pub fn early(self) -> Self {
        Self {
            early: EARLY_MILLIS,
            ..self
        }
    }

    /// Looks at the header `Authorization`: `<hex>` or `Bearer <hex>`.
    ///
    /// # Errors
    /// Why it is not good.
    pub fn look(&self, header: Option<&str>, now: SystemTime) -> Result<Pass, Unauthorised> {
        let header = header.ok_or(Unauthorised::Missing)?.trim();
        let signed = match header.split_once(' ') {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("bearer") => rest.trim(),
            _ => header,
        };
        let asked = Authorisation::open(signed, &self.key)?;
        if !asked.is_for(&self.worker) {
            return Err(Unauthorised::Worker);
        }
        let age = asked.age(now);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "seconds for people; the cast stops at the ends of the range"
        )]
        let seconds = age.abs() as u64;
        #[expect(clippy::cast_precision_loss, reason = "small constants")]
        let (valid, ahead) = (VALID_SECONDS as f64, AHEAD_SECONDS as f64);
        if age >= valid {
            return Err(Unauthorised::Expired(seconds));
        }
        if age <= -ahead {
            return Err(Unauthorised::Ahead(seconds));
        }
        let early = if asked.is_plain() { self.early } else { 0 };
        let at = asked.at_millis();
        if at.saturating_add(early) <= self.started {
            return Err(Unauthorised::BeforeStart(self.started - at));
        }
        Ok(Pass(asked))
    }

    /// Uses it up for the request with this body.
    ///
    /// # Errors
    /// When it is for another body, or was used.
    pub fn admit(&self, pass: &Pass, body: &[u8], now: SystemTime) -> Result<(), Unauthorised> {
        if !pass.0.covers(body) {
            return Err(Unauthorised::Body);
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.forget(unix_seconds(now));
        seen.remember(&pass.0)
    }
}

// === impl Unauthorised ===

impl Unauthorised {
    /// Whether it has the key who sent it.
    pub fn is_signed(&self) -> bool {
        !matches!(self, Self::Missing | Self::Signature)
    }

    /// Whether one that is signed in a second is good.
    pub fn passes(&self) -> bool {
        matches!(self, Self::BeforeStart(millis) if *millis <= SOON_MILLIS)
    }
}

// === impl Pass ===

impl Pass {
    /// Whether the body has to be looked at.
    pub fn is_for_one_body(&self) -> bool {
        self.0.is_for_one_body()
    }
}

// === impl Seen ===

impl Seen {
    fn remember(&mut self, used: &Authorisation) -> Result<(), Unauthorised> {
        let fingerprint = used.fingerprint();
        if self.known.contains(&fingerprint) {
            return Err(Unauthorised::Used);
        }
        if self.known.len() >= REMEMBERED {
            return Err(Unauthorised::Crowded);
        }
        self.known.insert(fingerprint);
        // In the order in which they end, but for a few that came out of turn.
        let end = used.at() + VALID_SECONDS;
        let place = self.order.partition_point(|(other, _)| *other <= end);
        self.order.insert(place, (end, fingerprint));
        Ok(())
    }

    fn forget(&mut self, now: u64) {
        while let Some((end, fingerprint)) = self.order.front()
            && *end < now
        {
            self.known.remove(fingerprint);
            self.order.pop_front();
        }
    }
}

/// Whole milliseconds since 1970; a time before it counts as that.
fn unix_millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::{super::SigningKey, *};

    const START: f64 = 1_734_600_000.0;

    fn at(seconds: f64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs_f64(START + seconds)
    }

    struct Both {
        key: SigningKey,
        gate: Gate,
        worker: WorkerId,
    }

    impl Both {
        fn new() -> Self {
            let key = SigningKey::generate().unwrap();
            let worker: WorkerId = "m1".parse().unwrap();
            let gate = Gate::new(key.public(), worker.clone(), at(0.0));
            Self { key, gate, worker }
        }

        fn plain(&self, signed: f64, now: f64) -> Result<(), Unauthorised> {
            let text = Authorisation::plain(&self.worker, at(signed)).sign(&self.key);
            self.enter(&text, b"x", now)
        }

        fn enter(&self, text: &str, body: &[u8], now: f64) -> Result<(), Unauthorised> {
            let pass = self.gate.look(Some(text), at(now))?;
            self.gate.admit(&pass, body, at(now))
        }
    }

    #[test]
    fn it_is_good_for_a_minute_and_five_seconds_ahead() {
        let both = Both::new();
        assert_eq!(both.plain(100.0, 159.9), Ok(()));
        assert_eq!(both.plain(101.0, 161.0), Err(Unauthorised::Expired(60)));
        assert_eq!(both.plain(200.0, 195.1), Ok(()));
        assert_eq!(both.plain(201.0, 196.0), Err(Unauthorised::Ahead(5)));
    }

    #[test]
    fn each_is_good_once_and_is_not_remembered_for_ever() {
        let both = Both::new();
        assert_eq!(both.plain(10.0, 10.5), Ok(()));
        assert_eq!(both.plain(10.0, 69.5), Err(Unauthorised::Used));
        let sign = || Authorisation::for_body(&both.worker, at(10.0), b"x").unwrap();
        let first = sign().sign(&both.key);
        assert_eq!(both.enter(&first, b"x", 10.2), Ok(()));
        assert_eq!(both.enter(&first, b"x", 10.3), Err(Unauthorised::Used));
        let bearer = format!("Bearer {}", sign().sign(&both.key));
        assert_eq!(both.enter(&bearer, b"x", 10.3), Ok(()));
        assert_eq!(both.plain(80.0, 80.0), Ok(()));
        assert_eq!(both.gate.seen.lock().unwrap().known.len(), 1);
    }

    #[test]
    fn another_script_does_not_use_it_up() {
        let both = Both::new();
        let signed = Authorisation::for_body(&both.worker, at(1.0), b"uptime").unwrap();
        let signed = signed.sign(&both.key);
        assert_eq!(both.enter(&signed, b"reboot", 1.0), Err(Unauthorised::Body));
        assert_eq!(both.enter(&signed, b"uptime", 1.0), Ok(()));
    }

    #[test]
    fn what_may_have_been_used_before_a_restart_is_refused() {
        let mut both = Both::new();
        assert_eq!(both.plain(-4.0, 0.5), Err(Unauthorised::BeforeStart(4000)));
        // It might be of the moment before.
        assert_eq!(both.plain(0.0, 0.5), Err(Unauthorised::BeforeStart(0)));
        assert_eq!(both.plain(1.0, 0.5), Ok(()));
        let bound = |both: &Both, signed| {
            let signed = Authorisation::for_body(&both.worker, at(signed), b"x").unwrap();
            both.enter(&signed.sign(&both.key), b"x", 0.5)
        };
        let refused = bound(&both, -0.25);
        assert_eq!(refused, Err(Unauthorised::BeforeStart(250)));
        assert!(refused.is_err_and(|why| why.passes() && why.is_signed()));
        assert!(!Unauthorised::BeforeStart(2000).passes());
        assert_eq!(bound(&both, 0.25), Ok(()));
        both.gate = Gate::new(both.key.public(), both.worker.clone(), at(0.0)).early();
        assert_eq!(both.plain(-6.0, 0.5), Err(Unauthorised::BeforeStart(6000)));
        assert_eq!(both.plain(-4.0, 0.5), Ok(()));
        assert!(bound(&both, -0.25).is_err());
    }

    #[test]
    fn others_are_refused() {
        let both = Both::new();
        let look = |header| both.gate.look(header, at(0.0)).err();
        assert_eq!(look(None), Some(Unauthorised::Missing));
        assert_eq!(look(Some("")), Some(Unauthorised::Signature));
        assert_eq!(look(Some("Basic eDp5")), Some(Unauthorised::Signature));
        let other = "m2".parse().unwrap();
        let signed = Authorisation::plain(&other, at(0.0)).sign(&both.key);
        assert_eq!(look(Some(&signed)), Some(Unauthorised::Worker));
        let signed = both.key.sign(b"hello");
        assert_eq!(look(Some(&signed)), Some(Unauthorised::Form));
        let key = SigningKey::generate().unwrap();
        let signed = Authorisation::plain(&both.worker, at(0.0)).sign(&key);
        assert_eq!(look(Some(&signed)), Some(Unauthorised::Signature));
    }
}

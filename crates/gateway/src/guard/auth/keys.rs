use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use hob_model::is_trusted_url;
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    issuer::{self, Clients, Complaints},
    vault::Ref,
};

/// Keys that are older are fetched again before they are used, if the issuer is there.
const FRESH: Duration = Duration::from_secs(15 * 60);
/// Keys that are older are fetched again in the background, so that nobody waits.
const FETCH_AGAIN: Duration = Duration::from_secs(12 * 60);
/// How long keys hold while their issuer is away.
const HOLDS: Duration = Duration::from_secs(24 * 3600);
/// Shortest time between two questions for the keys of one issuer, …
const PAUSE: Duration = Duration::from_secs(10);
/// … and as long as it has given none.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Keys of one issuer that are looked at.
const KEYS_MAX: usize = 100;
/// Keys that a token without the name of its key is tried with.
const NAMELESS_MAX: usize = 4;
/// Where an issuer says where its keys are (OpenID Connect Discovery 1.0, section 4).
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// The keys of one issuer.
pub(crate) struct Keys {
    place: Place,
    state: Mutex<State>,
    /// One question at a time.
    turn: tokio::sync::Mutex<()>,
    complaints: Complaints,
}

/// Where keys are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) issuer: String,
    pub(super) jwks: Option<String>,
    pub(super) ca: Option<Ref>,
}

#[derive(Default)]
struct State {
    set: Option<(Arc<[Named]>, Instant)>,
    /// When a fetch last began, and when it ended.
    began: Option<Instant>,
    ended: Option<Instant>,
}

/// What to do about the keys that are at hand.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// They are good; whether to fetch them again meanwhile.
    Use(bool),
    /// Fetch them first.
    Ask,
    /// The token's is not among them.
    Unknown,
    /// There are none, and there will be none soon.
    Away,
}

/// A key, and what it is for.
pub(super) struct Named {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    pub(super) key: DecodingKey,
}

/// What is known of the keys for a token.
pub(super) enum Found {
    /// One of these has signed it, if anybody.
    Among(Arc<[Named]>),
    /// The issuer has to be asked.
    Ask,
    /// It was asked, and has no such key.
    Unknown,
    /// It could not be asked.
    Away,
}

// === impl Keys ===

impl Keys {
    pub(super) fn new(place: Place) -> Self {
        Self {
            place,
            state: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            complaints: Complaints::default(),
        }
    }

    /// Looks for the keys that fit, and sees to it that they stay fresh.
    pub(super) fn find(
        self: &Arc<Self>,
        clients: &Arc<Clients>,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Found {
        let now = Instant::now();
        let state = self.state();
        let set = state.set.as_ref().map(|(set, _)| set);
        let fits = set.is_some_and(|set| set.iter().any(|key| key.fits(id, algorithm)));
        match (state.step(now, fits), set) {
            (Step::Use(again), Some(set)) => {
                let set = Arc::clone(set);
                drop(state);
                if again {
                    tokio::spawn(Arc::clone(self).fetch(Arc::clone(clients), now));
                }
                Found::Among(set)
            }
            (Step::Unknown, _) => Found::Unknown,
            (Step::Away, _) => Found::Away,
            (Step::Ask | Step::Use(_), _) => Found::Ask,
        }
    }

    /// Fetches the keys, unless somebody else did so since `asked_at`. Whoever waits for it may go
    /// away; it goes on.
    pub(super) async fn fetch(self: Arc<Self>, clients: Arc<Clients>, asked_at: Instant) {
        let _turn = self.turn.lock().await;
        if self.state().ended.is_some_and(|ended| ended >= asked_at) {
            return;
        }
        self.state().began = Some(Instant::now());
        let fetched = self.fetched(&clients).await;
        let mut state = self.state();
        let now = Instant::now();
        state.ended = Some(now);
        match fetched {
            Ok(set) => state.set = Some((set, now)),
            Err(problem) => self.complaints.tell(&self.place.issuer, &problem),
        }
    }

    async fn fetched(&self, clients: &Clients) -> Result<Arc<[Named]>, String> {
        let Place { issuer, jwks, ca } = &self.place;
        let url = match jwks {
            Some(url) => url.clone(),
            None => {
                let url = format!("{}{DISCOVERY}", issuer.trim_end_matches('/'));
                let found: Discovery = read(clients, &url, ca.as_ref()).await?;
                if found.issuer != *issuer {
                    return Err(format!("its configuration is that of {:?}", found.issuer));
                }
                found.jwks_uri
            }
        };
        if !is_trusted_url(&url) {
            return Err(format!("its keys are at {url:?}, which is no https:// URL"));
        }
        let set: Set = read(clients, &url, ca.as_ref()).await?;
        let keys = set.keys.into_iter().take(KEYS_MAX);
        // What some other program needs is no mistake.
        let keys: Arc<[Named]> = keys.filter_map(Named::read).collect();
        match keys.is_empty() {
            true => Err("it has no key that hob can use".to_owned()),
            false => Ok(keys),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    /// What to do, where the token's key is among those at hand or not.
    fn step(&self, now: Instant, fits: bool) -> Step {
        let lately = |pause| self.ended.is_some_and(|ended| now - ended < pause);
        let Some((_, fetched)) = self.set else {
            return match lately(FIRST_PAUSE) {
                true => Step::Away,
                false => Step::Ask,
            };
        };
        let age = now - fetched;
        // Whoever calls while the issuer is away does not wait for it each time.
        let is_away = self.ended > Some(fetched);
        if age > HOLDS || age > FRESH && !is_away {
            return match lately(PAUSE) {
                true => Step::Away,
                false => Step::Ask,
            };
        }
        if !fits {
            return match lately(PAUSE) {
                true => Step::Unknown,
                false => Step::Ask,
            };
        }
        let is_under_way = self.began > self.ended;
        Step::Use(age > FETCH_AGAIN && !lately(PAUSE) && !is_under_way)
    }
}

/// An OpenID configuration, as far as it matters here.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// A JWK set (RFC 7517, section 5).
#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

async fn read<T: DeserializeOwned>(
    clients: &Clients,
    url: &str,
    ca: Option<&Ref>,
) -> Result<T, String> {
    let client = clients.of(url, ca).await?;
    let answer = issuer::ask(client.get(url)).await?;
    serde_json::from_slice(&answer)
        .map_err(|error| format!("{url} is not what it should be: {error}"))
}

// === impl Named ===

impl Named {
    fn read(value: Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        let common = &jwk.common;
        if !matches!(&common.public_key_use, None | Some(PublicKeyUse::Signature)) {
            return None;
        }
        let mut algorithms = algorithms(&jwk.algorithm);
        if let Some(own) = common.key_algorithm {
            let own: Algorithm = own.to_string().parse().ok()?;
            algorithms.retain(|algorithm| *algorithm == own);
        }
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        let id = common.key_id.clone();
        (!algorithms.is_empty()).then_some(Self {
            id,
            algorithms,
            key,
        })
    }

    fn fits(&self, id: Option<&str>, algorithm: Algorithm) -> bool {
        (id.is_none() || self.id.as_deref() == id) && self.algorithms.contains(&algorithm)
    }
}

/// The keys of a set that fit a token, and not more than are worth a try.
pub(super) fn fitting<'a>(
    set: &'a [Named],
    id: Option<&'a str>,
    algorithm: Algorithm,
) -> impl Iterator<Item = &'a Named> {
    let fit = set.iter().filter(move |key| key.fits(id, algorithm));
    fit.take(NAMELESS_MAX)
}

/// What a key of this kind can be for: nothing that a secret is needed to check, ever, or the public
/// key would be taken for the secret.
fn algorithms(kind: &AlgorithmParameters) -> Vec<Algorithm> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    match kind {
        AlgorithmParameters::RSA(_) => vec![RS256, RS384, RS512, PS256, PS384, PS512],
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => vec![ES256],
            EllipticCurve::P384 => vec![ES384],
            _ => Vec::new(),
        },
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            vec![EdDSA]
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_kept_fresh_and_hold_for_a_while_without_their_issuer() {
        let birth = Instant::now();
        let at = |seconds| birth + Duration::from_secs(seconds);
        let state = |fetched: Option<u64>, began: u64, ended: u64| State {
            set: fetched.map(|fetched| (Vec::new().into(), at(fetched))),
            began: Some(at(began)),
            ended: Some(at(ended)),
        };
        const MINUTE: u64 = 60;
        const DAY: u64 = 24 * 60 * MINUTE;
        assert_eq!(State::default().step(at(0), false), Step::Ask);
        // None were there.
        assert_eq!(state(None, 0, 0).step(at(0), false), Step::Away);
        assert_eq!(state(None, 0, 0).step(at(2), false), Step::Ask);
        // They were fetched.
        let fresh = state(Some(0), 0, 0);
        assert_eq!(fresh.step(at(1), true), Step::Use(false));
        assert_eq!(fresh.step(at(1), false), Step::Unknown);
        assert_eq!(fresh.step(at(11), false), Step::Ask);
        assert_eq!(fresh.step(at(13 * MINUTE), true), Step::Use(true));
        assert_eq!(fresh.step(at(16 * MINUTE), true), Step::Ask);
        // They are being fetched again.
        let again = state(Some(0), 13 * MINUTE, 0);
        assert_eq!(again.step(at(13 * MINUTE), true), Step::Use(false));
        // That failed.
        let away = state(Some(0), 13 * MINUTE, 13 * MINUTE);
        assert_eq!(away.step(at(13 * MINUTE + 5), true), Step::Use(false));
        assert_eq!(away.step(at(20 * MINUTE), true), Step::Use(true));
        assert_eq!(away.step(at(DAY - 1), true), Step::Use(true));
        assert_eq!(away.step(at(DAY + 1), true), Step::Ask);
        let away = state(Some(0), DAY, DAY);
        assert_eq!(away.step(at(DAY + 1), true), Step::Away);
    }
}

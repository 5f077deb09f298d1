//! Who calls: what a function's `auth` asks for.
//!
//! Each kind [`look`](Auths::look)s at once at what is at hand. What is missing, a secret or the
//! body or somebody's answer, is brought by [`Auths::decide`], which then looks again: so there is
//! one way to decide, whichever way the call takes. What cannot be found out lets nobody in.

mod answers;
mod basic;
mod credentials;
mod hmac;
mod identity;
mod introspection;
mod issuer;
mod jwt;
mod keys;
mod refuse;
mod rules;
mod token;
mod used;
mod vault;

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use hob_model::{Auth, Route, Tokens, port::Secrets};

use super::{Asked, Passed};
use crate::{error::GatewayError, room::Room};
use introspection::{Issuer, Question};
use issuer::Clients;
use keys::Keys;
use rules::Need;
pub(super) use used::Once;
use used::Used;
use vault::{Ref, Vault};

/// Times that a call is looked at again before it is given up: no kind needs more than two things.
const LOOKS_MAX: usize = 5;
/// Issuers that are remembered; they come from functions, never from callers.
const ISSUERS_MAX: usize = 1_000;

/// What functions' `auth` needs, shared by all threads.
pub(super) struct Auths {
    tokens: Arc<dyn Tokens>,
    vault: Arc<Vault>,
    clients: Arc<Clients>,
    used: Used,
    /// Bytes of bodies that may be in memory until their signatures are checked.
    room: Arc<Room>,
    keys: Mutex<HashMap<keys::Place, Arc<Keys>>>,
    issuers: Mutex<HashMap<introspection::Place, Arc<Issuer>>>,
}

/// What can be said at once.
pub(super) enum Verdict {
    /// It may go on.
    Pass(Passed),
    /// This has to be brought first.
    Wait(Missing),
}

/// What a verdict takes that is not at hand.
pub(super) enum Missing {
    Secret(Ref),
    Body,
    Keys(Arc<Keys>),
    Answer(Question),
}

// === impl Auths ===

impl Auths {
    pub(super) fn new(tokens: Arc<dyn Tokens>, secrets: Arc<dyn Secrets>) -> Self {
        let vault = Arc::new(Vault::new(secrets));
        Self {
            tokens,
            clients: Arc::new(Clients::new(Arc::clone(&vault))),
            vault,
            used: Used::default(),
            room: Arc::default(),
            keys: Mutex::default(),
            issuers: Mutex::default(),
        }
    }

    /// Decides by what is at hand.
    pub(super) fn look(&self, asked: &Asked<'_>) -> Result<Verdict, GatewayError> {
        let route = asked.route;
        let Some(guard) = &route.guard else {
            return Ok(Verdict::Pass(Passed::default()));
        };
        let auth = &guard.auth;
        let need = match auth {
            Auth::None => Need::Nothing,
            auth => rules::need(auth.rules(), asked.method, asked.path)
                .map_err(|why| refuse::no_rule(route, why))?,
        };
        if need == Need::Nothing {
            return Ok(Verdict::Pass(passed(route)));
        }
        match auth {
            Auth::None => Ok(Verdict::Pass(Passed::default())),
            Auth::Basic(auth) => basic::look(&self.vault, asked, auth),
            Auth::Token(_) => token::look(&*self.tokens, asked),
            Auth::Hmac(auth) => hmac::look(&self.vault, asked, auth),
            Auth::Jwt(auth) => jwt::look(self, asked, auth, &need),
            Auth::Introspection(auth) => introspection::look(self, asked, auth, &need),
        }
    }

    /// Decides, however long it takes.
    pub(super) async fn decide(&self, asked: &Asked<'_>) -> Result<Passed, GatewayError> {
        for _ in 0..LOOKS_MAX {
            match self.look(asked)? {
                Verdict::Pass(passed) => return Ok(passed),
                Verdict::Wait(missing) => self.bring(missing, asked).await?,
            }
        }
        let problem = "what it needs for that did not come in time";
        Err(refuse::no_verdict(asked.route, problem))
    }

    /// Uses up what is good for one call: once nothing else is against it, or the caller could not
    /// try again.
    pub(super) fn spend(&self, route: &Route, once: Option<&Once>) -> Result<(), GatewayError> {
        let Some(once) = once else {
            return Ok(());
        };
        let used = self.used.enter(once, hmac::now());
        used.map_err(|refused| refused.refusal(route))
    }

    async fn bring(&self, missing: Missing, asked: &Asked<'_>) -> Result<(), GatewayError> {
        match missing {
            // Also where it cannot be read: the next look says so.
            Missing::Secret(secret) => drop(self.vault.read(&secret).await),
            Missing::Body => asked.read_body(&self.room).await?,
            Missing::Keys(keys) => {
                let fetch = keys.fetch(Arc::clone(&self.clients), Instant::now());
                // A task of its own, so that a caller who leaves does not stop it.
                let _ = tokio::spawn(fetch).await;
            }
            Missing::Answer(question) => {
                let settled = question.settle(&self.clients, &self.vault).await;
                let problem = "its issuer cannot be asked: see the server's log";
                settled.ok_or_else(|| refuse::no_verdict(asked.route, problem))?;
            }
        }
        Ok(())
    }

    fn keys(&self, place: keys::Place) -> Arc<Keys> {
        known(&self.keys, place, Keys::new)
    }

    fn issuer(&self, place: introspection::Place) -> Arc<Issuer> {
        known(&self.issuers, place, Issuer::new)
    }
}

/// What is known of a place, or else the beginning of it.
fn known<P: Clone + Eq + Hash, K>(
    all: &Mutex<HashMap<P, Arc<K>>>,
    place: P,
    begin: impl FnOnce(P) -> K,
) -> Arc<K> {
    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = all.get(&place) {
        return Arc::clone(known);
    }
    if all.len() >= ISSUERS_MAX {
        all.clear();
    }
    let new = Arc::new(begin(place.clone()));
    all.insert(place, Arc::clone(&new));
    new
}

/// What holds of every call of a function that is let in.
fn passed(route: &Route) -> Passed {
    let guard = route.guard.as_deref();
    Passed {
        // A token of this server is not for the function to see: it might call others with it.
        hides_authorization: guard.is_some_and(|guard| matches!(guard.auth, Auth::Token(_))),
        ..Passed::default()
    }
}

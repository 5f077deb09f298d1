//! What stands between a caller and a function: how deep and how many, how often, and who.
//!
//! Both ways of a call come by here. The express lane only takes what [`Guards::look`] can decide
//! at once; everything else is [`Guards::decide`]d on the way through hyper.

mod asked;
mod auth;
mod depth;
mod passed;
mod rate;

use std::{sync::Arc, time::Instant};

use hob_model::{Routes, Tokens, port::Secrets};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{CallLimits, error::GatewayError};
pub(crate) use asked::{Asked, Body, Fields};
use auth::{Auths, Verdict};
pub(crate) use depth::Depth;
pub(crate) use passed::{Identity, Passed, is_let_in, strip_fields};
use rate::Rates;
pub(crate) use rate::Standing;

/// The guards of a server, shared by its threads.
pub(crate) struct Guards {
    auths: Auths,
    routes: Arc<Routes>,
    deepest: u32,
    /// Places for calls under way.
    places: Arc<Semaphore>,
    rates: Rates,
}

/// What can be said of a call without waiting for anything.
pub(crate) enum Look {
    /// It may go on.
    Pass(Passed),
    /// It takes the body, or somebody's answer, to know.
    Wait,
}

// === impl Guards ===

impl Guards {
    pub(crate) fn new(
        limits: &CallLimits,
        routes: Arc<Routes>,
        tokens: Arc<dyn Tokens>,
        secrets: Arc<dyn Secrets>,
    ) -> Self {
        let places = limits.calls.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            auths: Auths::new(tokens, secrets),
            routes,
            deepest: limits.depth,
            places: Arc::new(Semaphore::new(places)),
            rates: Rates::new(limits.rate.clone()),
        }
    }

    /// Decides at once. Where that is not possible, nothing has been counted yet.
    pub(crate) fn look(&self, asked: &Asked<'_>) -> Result<Look, GatewayError> {
        // Who may not is refused on hyper's way, where whoever guesses is slowed down.
        let Ok(Verdict::Pass(auth)) = self.auths.look(asked) else {
            return Ok(Look::Wait);
        };
        let passed = self
            .enter(asked)
            .and_then(|entered| self.count(asked, entered, auth));
        passed
            .map(Look::Pass)
            .inspect_err(|error| self.refused(error))
    }

    /// Decides, however long it takes.
    pub(crate) async fn decide(&self, asked: &Asked<'_>) -> Result<Passed, GatewayError> {
        let passed = match self.enter(asked) {
            Ok(entered) => {
                let auth = self.auths.decide(asked).await;
                auth.and_then(|auth| self.count(asked, entered, auth))
            }
            Err(error) => Err(error),
        };
        passed.inspect_err(|error| self.refused(error))
    }

    /// What it does not take to know who calls: the cheapest and widest guards first. No place is
    /// taken yet, or strangers could hold all of them while they show who they are.
    fn enter(&self, asked: &Asked<'_>) -> Result<Passed, GatewayError> {
        let depth = Depth::of(asked, self.deepest)?;
        if self.places.available_permits() == 0 {
            return Err(GatewayError::Crowded);
        }
        Ok(Passed {
            depth,
            standing: self.rates.before_auth(asked)?,
            ..Passed::default()
        })
    }

    /// What it takes `auth` to know.
    fn count(
        &self,
        asked: &Asked<'_>,
        entered: Passed,
        auth: Passed,
    ) -> Result<Passed, GatewayError> {
        let counted = self.rates.after_auth(asked, auth.identity.as_ref())?;
        let place = self.place()?;
        self.auths.spend(asked.route, auth.once.as_ref())?;
        Ok(Passed {
            depth: entered.depth,
            place: Some(place),
            standing: entered.standing.or(counted),
            ..auth
        })
    }

    /// A place among the calls under way. There is no line: whoever waits takes memory as well.
    fn place(&self) -> Result<OwnedSemaphorePermit, GatewayError> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        place.map_err(|_| GatewayError::Crowded)
    }

    fn refused(&self, error: &GatewayError) {
        if let Some(refusal) = error.refusal() {
            self.routes.refusals().count(refusal);
        }
    }

    /// Forgets what no longer matters.
    pub(crate) fn sweep(&self, now: Instant) {
        self.rates.sweep(&self.routes, now);
    }
}

//! What stands between a caller and a function: how deep and how many, how often, and who.
//!
//! Both ways of a call come by here. The express lane only takes what [`Guards::look`] can decide
//! at once; everything else is [`Guards::decide`]d on the way through hyper.

mod asked;
mod depth;
mod passed;
mod rate;

use std::{sync::Arc, time::Instant};

use hob_model::{Routes, Tokens, port::Secrets};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{CallLimits, error::GatewayError};
pub(crate) use asked::{Asked, Fields};
pub(crate) use depth::Depth;
pub(crate) use passed::{Identity, Passed, is_own, strip_fields};
use rate::Rates;
pub(crate) use rate::Standing;

/// The guards of a server, shared by its threads.
pub(crate) struct Guards {
    tokens: Arc<dyn Tokens>,
    secrets: Arc<dyn Secrets>,
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
            tokens,
            secrets,
            routes,
            deepest: limits.depth,
            places: Arc::new(Semaphore::new(places)),
            rates: Rates::new(limits.rate.clone()),
        }
    }

    /// Decides at once. Where that is not possible, nothing has been counted yet.
    pub(crate) fn look(&self, asked: &Asked<'_>) -> Result<Look, GatewayError> {
        let passed = self
            .enter(asked)
            .and_then(|passed| self.count(asked, passed));
        passed
            .map(Look::Pass)
            .inspect_err(|error| self.refused(error))
    }

    /// Decides, however long it takes.
    pub(crate) async fn decide(&self, asked: &Asked<'_>) -> Result<Passed, GatewayError> {
        let passed = self
            .enter(asked)
            .and_then(|passed| self.count(asked, passed));
        passed.inspect_err(|error| self.refused(error))
    }

    /// What it does not take to know who calls: the cheapest and widest guards first.
    fn enter(&self, asked: &Asked<'_>) -> Result<Passed, GatewayError> {
        Ok(Passed {
            depth: Depth::of(asked, self.deepest)?,
            place: Some(self.place()?),
            standing: self.rates.before_auth(asked)?,
            identity: None,
        })
    }

    /// The same once `passed` says who calls.
    fn count(&self, asked: &Asked<'_>, mut passed: Passed) -> Result<Passed, GatewayError> {
        let counted = self.rates.after_auth(asked, passed.identity.as_ref())?;
        passed.standing = passed.standing.or(counted);
        Ok(passed)
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

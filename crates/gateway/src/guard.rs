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
        self.pass(asked)
            .map(Look::Pass)
            .inspect_err(|error| self.refused(error))
    }

    /// Decides, however long it takes.
    pub(crate) async fn decide(&self, asked: &Asked<'_>) -> Result<Passed, GatewayError> {
        self.pass(asked).inspect_err(|error| self.refused(error))
    }

    /// The guards in their order: what costs least and protects most is first.
    fn pass(&self, asked: &Asked<'_>) -> Result<Passed, GatewayError> {
        let depth = Depth::of(asked, self.deepest)?;
        let place = Some(self.place()?);
        let standing = self.rates.before_auth(asked)?;
        let identity = None;
        let by_caller = self.rates.after_auth(asked, identity.as_ref())?;
        Ok(Passed {
            identity,
            depth,
            standing: standing.or(by_caller),
            place,
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

//! What stands between a caller and a function: how deep and how many, how often, and who.
//!
//! Both ways of a call come by here. The express lane only takes what [`Guards::look`] can decide
//! at once; everything else is [`Guards::decide`]d on the way through hyper.

mod asked;
mod auth;
mod brake;
mod depth;
mod passed;
mod rate;

use std::{net::IpAddr, sync::Arc, time::Instant};

use hob_model::{Routes, Tokens, port::Secrets};

use crate::{CallLimits, error::GatewayError};
pub(crate) use asked::{Asked, Body, Fields};
use auth::{Auths, Verdict};
use brake::Brake;
pub(crate) use brake::Place;
pub(crate) use depth::Depth;
pub(crate) use passed::{Identity, Passed, is_let_in, strip_fields};
use rate::Rates;
pub(crate) use rate::Standing;

/// The guards of a server, shared by its threads.
pub(crate) struct Guards {
    auths: Auths,
    routes: Arc<Routes>,
    deepest: u32,
    brake: Arc<Brake>,
    rates: Rates,
}

/// What can be said of a call without waiting for anything.
pub(crate) enum Look {
    /// It may go on.
    Pass(Passed),
    /// It takes the body, or somebody's answer, to know.
    Wait,
}

/// What is known of a call before it is known whose it is.
type Entered = (Depth, Option<Standing>);

// === impl Guards ===

impl Guards {
    pub(crate) fn new(
        limits: &CallLimits,
        routes: Arc<Routes>,
        tokens: Arc<dyn Tokens>,
        secrets: Arc<dyn Secrets>,
    ) -> Self {
        Self {
            auths: Auths::new(tokens, secrets),
            routes,
            deepest: limits.depth,
            brake: Arc::new(Brake::new(limits.calls)),
            rates: Rates::new(limits.rate.clone(), limits.runs.clone()),
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

    /// Lets a run in a sandbox in, which is no function's: its place among the calls under way, and
    /// how its caller stands. Who it is, and whether he may, is the control plane's affair.
    pub(crate) fn admit_run(
        &self,
        caller: IpAddr,
    ) -> Result<(Place, Option<Standing>), GatewayError> {
        let standing = self.rates.count_run(caller);
        let admitted = standing.and_then(|standing| {
            let place = self.brake.place().ok_or(GatewayError::Crowded)?;
            Ok((place, standing))
        });
        admitted.inspect_err(|error| self.refused(error))
    }

    /// What it does not take to know who calls: the cheapest and widest guards first. No place is
    /// taken yet, or strangers could hold all of them while they show who they are.
    fn enter(&self, asked: &Asked<'_>) -> Result<Entered, GatewayError> {
        let depth = Depth::of(asked, self.deepest)?;
        if self.brake.is_full() {
            return Err(GatewayError::Crowded);
        }
        Ok((depth, self.rates.before_auth(asked)?))
    }

    /// What it takes `auth` to know.
    fn count(
        &self,
        asked: &Asked<'_>,
        (depth, standing): Entered,
        auth: Passed,
    ) -> Result<Passed, GatewayError> {
        let counted = self.rates.after_auth(asked, auth.identity.as_ref())?;
        let place = self.brake.place().ok_or(GatewayError::Crowded)?;
        self.auths.spend(asked.route, auth.once.as_ref())?;
        Ok(Passed {
            depth,
            place: Some(place),
            standing: standing.or(counted),
            ..auth
        })
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

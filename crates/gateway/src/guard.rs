//! What stands between a caller and a function: how deep and how many, how often, and who.
//!
//! Both ways of a call come by here. The express lane only takes what [`Guards::look`] can decide
//! at once; everything else is [`Guards::decide`]d on the way through hyper.

mod asked;
mod auth;
mod passed;

use std::sync::Arc;

use hob_model::{Tokens, port::Secrets};

use crate::error::GatewayError;
pub(crate) use asked::{Asked, Body, Fields};
use auth::{Auths, Verdict};
pub(crate) use passed::{Identity, Passed, is_let_in, strip_fields};

/// The guards of a server, shared by its threads.
pub(crate) struct Guards {
    auths: Auths,
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
    pub(crate) fn new(tokens: Arc<dyn Tokens>, secrets: Arc<dyn Secrets>) -> Self {
        Self {
            auths: Auths::new(tokens, secrets),
        }
    }

    /// Decides at once. Where that is not possible, nothing has been counted yet.
    pub(crate) fn look(&self, asked: &Asked<'_>) -> Result<Look, GatewayError> {
        match self.auths.look(asked)? {
            Verdict::Pass(passed) => Ok(Look::Pass(passed)),
            Verdict::Wait(_) => Ok(Look::Wait),
        }
    }

    /// Decides, however long it takes.
    pub(crate) async fn decide(&self, asked: &Asked<'_>) -> Result<Passed, GatewayError> {
        self.auths.decide(asked).await
    }
}

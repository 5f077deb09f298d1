//! What stands between a caller and a function: how deep and how many, how often, and who.
//!
//! Both ways of a call come by here. The express lane only takes what [`Guards::look`] can decide
//! at once; everything else is [`Guards::decide`]d on the way through hyper.

mod asked;
mod passed;

use std::sync::Arc;

use hob_model::{Tokens, port::Secrets};

use crate::error::GatewayError;
pub(crate) use asked::{Asked, Fields};
pub(crate) use passed::{Identity, Passed, is_own, strip_fields};

/// The guards of a server, shared by its threads.
pub(crate) struct Guards {
    tokens: Arc<dyn Tokens>,
    secrets: Arc<dyn Secrets>,
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
        Self { tokens, secrets }
    }

    /// Decides at once. Where that is not possible, nothing has been counted yet.
    pub(crate) fn look(&self, _asked: &Asked<'_>) -> Result<Look, GatewayError> {
        Ok(Look::Pass(Passed::default()))
    }

    /// Decides, however long it takes.
    pub(crate) async fn decide(&self, asked: &Asked<'_>) -> Result<Passed, GatewayError> {
        match self.look(asked)? {
            Look::Pass(passed) => Ok(passed),
            Look::Wait => Ok(Passed::default()),
        }
    }
}

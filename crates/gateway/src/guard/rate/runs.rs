use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::Arc,
};

use hob_model::Rate;

use super::{Limiter, Standing, Who, callers::All};
use crate::error::GatewayError;

/// How often one caller may have something run in a sandbox: which is no function's affair.
pub(super) struct RunRate {
    limiter: Arc<Limiter>,
    hasher: RandomState,
}

impl RunRate {
    /// Counts by address.
    pub(super) fn new(rate: Rate, all: &All) -> Self {
        Self {
            limiter: Arc::new(Limiter::new(rate, all)),
            hasher: RandomState::new(),
        }
    }

    pub(super) fn count(&self, caller: IpAddr) -> Result<Standing, GatewayError> {
        let key = self.hasher.hash_one(Who::at(caller));
        let counted = self.limiter.count(key);
        counted.map_err(|standing| GatewayError::RunRate {
            rate: self.limiter.rate.to_string(),
            standing,
        })
    }

    pub(super) fn limiter(&self) -> Arc<Limiter> {
        Arc::clone(&self.limiter)
    }
}

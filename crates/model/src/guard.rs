//! Who may call a function, how often, and under which host names: `auth`, `rate` and `domain` of
//! a `hob.toml`.

pub(crate) mod auth;
mod domain;
pub(crate) mod rate;
mod refusals;

pub use auth::check::is_trusted_url;
pub use auth::{Auth, BasicAuth, HmacAuth, HmacStyle, IntrospectionAuth, JwtAuth, Rule, TokenAuth};
pub use domain::{Domain, DomainError};
pub use rate::{Rate, RateBy, RateError};
pub use refusals::{Refusal, Refusals};

use std::{net::IpAddr, sync::Arc};

use crate::Settings;

/// What stands before the calls of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// Who may call.
    pub auth: Auth,
    /// How often.
    pub rate: Option<Rate>,
}

impl Guard {
    /// `None` where everybody may call as often as he likes.
    pub fn of(settings: &Settings) -> Option<Arc<Self>> {
        let guarded = !settings.auth.is_none() || settings.rate.is_some();
        guarded.then(|| {
            Arc::new(Self {
                auth: settings.auth.clone(),
                rate: settings.rate.clone(),
            })
        })
    }
}

/// Whence a request came: what the data plane leaves in the extensions of a request that it passes
/// to the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallerAddress {
    /// The caller's, also behind a proxy that is trusted; IPv4 is never written as IPv6.
    pub ip: IpAddr,
    /// Whether nobody on the way could read it: it came over TLS, by hob or by a trusted proxy.
    pub encrypted: bool,
}

//! Who asks: for the audit, and for the few handlers whose answer depends on it.

use std::{net::IpAddr, sync::Arc};

use hob_model::{CallerAddress, Scope, Token};
use http::Extensions;

use super::{error::ApiError, guarded::Need};

/// The user on the other end of the local socket, as the kernel says: what serves the socket leaves
/// it in the extensions of each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalUser(pub u32);

/// Who is behind a request. It is in the extensions of each that reaches a handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Actor {
    /// `admin`, `token:NAME`, `local:UID` (or `local`), or `stranger` where everybody may come in.
    pub(crate) name: Arc<str>,
    /// Whence, unless by the local socket.
    pub(crate) address: Option<IpAddr>,
    /// What he came in with, if it was a token.
    token: Option<Arc<Token>>,
}

impl Actor {
    /// Who has shown that he is called `name`.
    pub(crate) fn new(name: impl Into<Arc<str>>, request: &Extensions) -> Self {
        let address = request.get::<CallerAddress>();
        Self {
            name: name.into(),
            address: address.map(|address| address.ip),
            token: None,
        }
    }

    /// Who bears `token`.
    pub(crate) fn bearer(token: Arc<Token>, request: &Extensions) -> Self {
        Self {
            token: Some(Arc::clone(&token)),
            ..Self::new(format!("token:{}", token.name), request)
        }
    }

    /// Who has shown who he is, if anybody has: neither a stranger nor somebody on this machine.
    pub(crate) fn login(&self) -> Option<&str> {
        (self.token.is_some() || &*self.name == "admin").then_some(&*self.name)
    }

    /// Whether a token is what he came in with.
    pub(super) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Refuses a token where it is not what a request needs.
    pub(super) fn satisfies(&self, need: Need) -> Result<(), ApiError> {
        match need {
            Need::Nothing | Need::Login => Ok(()),
            Need::Scope(scope) => self.must(scope),
            Need::Password if self.token.is_some() => Err(ApiError::PasswordOnly),
            Need::Password => Ok(()),
        }
    }

    /// Refuses a token that does not go as far as `needed`.
    pub(super) fn must(&self, needed: Scope) -> Result<(), ApiError> {
        match &self.token {
            Some(token) if !token.allows(&needed) => Err(ApiError::Narrow {
                token: token.name.clone(),
                needed,
            }),
            _ => Ok(()),
        }
    }

    /// Whom the local socket let in.
    pub(crate) fn local(request: &Extensions) -> Self {
        let name = match request.get::<LocalUser>() {
            Some(LocalUser(user)) => format!("local:{user}"),
            None => "local".to_owned(),
        };
        Self::new(name, request)
    }
}

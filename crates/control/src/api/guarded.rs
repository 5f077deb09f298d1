//! Routes, each with who may use it: there is no way to add one without.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Extension, Router, handler::Handler, middleware::from_fn_with_state, routing::MethodRouter,
};
use hob_model::Scope;
use http::Method;
use utoipa::openapi::{
    OpenApi,
    path::{Operation, PathItem},
};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use super::{Access, auth, error::ApiError};
use crate::{Control, runs};

/// Who may use a route, unless the request comes by the local socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    /// Anybody, without a login.
    Open,
    /// Whoever has signed the request: its handler checks that.
    Signed,
    /// Who may have something run: anybody, or whoever has a login, as the owner says.
    Run,
    /// Whoever has a login, be it the narrowest token.
    Known,
    /// Who may look at functions.
    Read,
    /// Who may change functions.
    Write,
    /// Who may look at functions, to `GET`; who may change them, for all else.
    Images,
    /// Who may set secrets.
    Secrets,
    /// The admin, or a token that is as good.
    Admin,
    /// The admin with the password: no token will do.
    Owner,
}

/// What a request has to bring along.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Need {
    Nothing,
    Login,
    Scope(Scope),
    Password,
}

/// What stands before a route.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) control: Arc<Control>,
    pub(super) access: Access,
    pub(super) policy: Policy,
}

/// Routes of the API. The fields are for this file only, so that none gets in without a policy.
#[derive(Default)]
pub(super) struct Guarded {
    documented: Vec<(Policy, UtoipaMethodRouter<Arc<Control>>)>,
    beside: Vec<(Policy, &'static str, MethodRouter<Arc<Control>>)>,
}

// === impl Policy ===

impl Policy {
    /// What a request with `method` needs.
    pub(super) fn need(self, method: &Method) -> Need {
        match self {
            // A login is asked for where the owner wants one: see `Door::need`.
            Self::Open | Self::Signed | Self::Run => Need::Nothing,
            Self::Known => Need::Login,
            Self::Read => Need::Scope(Scope::FunctionsRead),
            Self::Images if method == Method::GET || method == Method::HEAD => {
                Need::Scope(Scope::FunctionsRead)
            }
            Self::Write | Self::Images => Need::Scope(Scope::FunctionsWrite),
            Self::Secrets => Need::Scope(Scope::SecretsWrite),
            Self::Admin => Need::Scope(Scope::Admin),
            Self::Owner => Need::Password,
        }
    }
}

// === impl Door ===

impl Door {
    /// What a request with `method` needs here.
    pub(super) fn need(&self, method: &Method) -> Need {
        match self.policy {
            Policy::Run if self.control.runs.config().login => Need::Login,
            policy => policy.need(method),
        }
    }

    fn before<S: Clone + Send + Sync + 'static>(
        &self,
        policy: Policy,
        routes: MethodRouter<S>,
    ) -> MethodRouter<S> {
        let routes = match policy {
            // Here a stranger may know as well which methods there are.
            Policy::Open | Policy::Signed => routes.fallback(async || ApiError::Method),
            Policy::Run => routes.fallback(runs::wrong_method),
            _ => routes,
        };
        let routes = routes.layer(from_fn_with_state(self.with(policy), auth::admit));
        match policy {
            // Browsers ask without a login whether they may ask.
            Policy::Run => {
                routes.layer(from_fn_with_state(self.control.runs.clone(), runs::before))
            }
            _ => routes,
        }
    }

    fn with(&self, policy: Policy) -> Self {
        Self {
            policy,
            ..self.clone()
        }
    }
}

// === impl Guarded ===

impl Guarded {
    /// Adds handlers of one path, which the OpenAPI document has.
    pub(super) fn route(
        mut self,
        policy: Policy,
        routes: UtoipaMethodRouter<Arc<Control>>,
    ) -> Self {
        self.documented.push((policy, routes));
        self
    }

    /// Adds what the document does not have: it is specified elsewhere, or is another spelling.
    pub(super) fn beside(
        mut self,
        policy: Policy,
        path: &'static str,
        routes: MethodRouter<Arc<Control>>,
    ) -> Self {
        self.beside.push((policy, path, routes));
        self
    }

    /// Adds those of `other`.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.documented.extend(other.documented);
        self.beside.extend(other.beside);
        self
    }

    /// Everything, with its door before it. What is not there asks for a login as well: not even
    /// that is for strangers.
    pub(super) fn serve(self, control: &Arc<Control>, access: Access) -> Router {
        let door = Door {
            control: Arc::clone(control),
            access,
            policy: Policy::Known,
        };
        let documented = self.documented.into_iter().fold(
            OpenApiRouter::new(),
            |all, (policy, (schemas, paths, routes))| {
                all.routes((schemas, paths, door.before(policy, routes)))
            },
        );
        let (routes, _) = documented.split_for_parts();
        let routes = self
            .beside
            .into_iter()
            .fold(routes, |all, (policy, path, routes)| {
                all.route(path, door.before(policy, routes))
            });
        let known = from_fn_with_state(door, auth::admit);
        routes
            .fallback((async || ApiError::NothingHere).layer(known.clone()))
            .method_not_allowed_fallback((async || ApiError::Method).layer(known))
            .layer(Extension(access))
            .with_state(Arc::clone(control))
    }

    /// The document, with `head` before its operations; `complete` adds to each what its policy
    /// means.
    pub(super) fn document(
        self,
        head: OpenApi,
        complete: impl Fn(&mut Operation, Need),
    ) -> OpenApi {
        let mut needs = HashMap::new();
        let mut all = OpenApiRouter::with_openapi(head);
        for (policy, mut routes) in self.documented {
            for (path, item) in &mut routes.1.paths {
                for (method, _) in operations(item) {
                    needs.insert((path.clone(), method.clone()), policy.need(&method));
                }
            }
            all = all.routes(routes);
        }
        let mut document = all.into_openapi();
        for (path, item) in &mut document.paths.paths {
            for (method, operation) in operations(item) {
                // Every operation has come in above.
                if let Some(need) = needs.remove(&(path.clone(), method)) {
                    complete(operation, need);
                }
            }
        }
        document
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = (Method, &mut Operation)> {
    let all = [
        (Method::GET, &mut item.get),
        (Method::PUT, &mut item.put),
        (Method::POST, &mut item.post),
        (Method::DELETE, &mut item.delete),
        (Method::PATCH, &mut item.patch),
    ];
    all.into_iter()
        .filter_map(|(method, operation)| Some((method, operation.as_mut()?)))
}

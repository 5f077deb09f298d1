//! Running once what somebody sends: `POST /run` with its stream of events, and the same for
//! clients of Piston.
//!
//! The bytes of `/run` are those of an older program, which people have clients for; what is
//! better here is only said to who asks for it.

mod ask;
mod body;
mod browser;
mod counts;
mod encode;
mod end;
mod error;
mod json;
mod keys;
pub(crate) mod piston;
pub(crate) mod run;
mod stream;

use std::sync::Arc;

use axum::{
    Router,
    extract::{FromRef, Request},
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
    routing::post,
};
use hob_model::{
    Cors,
    port::{RunError, Sandboxes, StartedRun},
    sandbox::{EXECUTE_ALIAS, EXECUTE_PATH, RUN_PATH, RunLimits, RunMaxima, RunOrder},
};
use http::{HeaderValue, StatusCode};

use crate::Control;
use body::Room;
pub(crate) use browser::before;
pub(crate) use counts::Turned;
use counts::{RunCounts, Tally};
pub use error::PLAIN;
use error::RunsError;

/// How runs are served.
#[derive(Debug, Clone, Default)]
pub struct RunsConfig {
    /// What the header `Coord` says; `None` leaves it out, as workers do.
    pub coord: Option<HeaderValue>,
    /// Whether only those who log in may ask. Of a router by itself, whoever uses it sees to that.
    pub login: bool,
    /// Largest body of a request, in bytes; it is in memory as a whole.
    pub body: u64,
    /// The most that a run may use.
    pub limits: RunMaxima,
    /// Whose web pages may ask; `None` means nobody's.
    pub cors: Option<Cors>,
}

/// What answers those who want something run. Clones are one.
#[derive(Clone)]
pub struct Runs(Arc<Inner>);

struct Inner {
    sandboxes: Option<Arc<dyn Sandboxes>>,
    config: RunsConfig,
    counts: RunCounts,
    room: Room,
}

impl Runs {
    /// Has `sandboxes` run what is sent; without them everybody is told how to switch them on.
    pub fn new(sandboxes: Option<Arc<dyn Sandboxes>>, config: RunsConfig) -> Self {
        Self(Arc::new(Inner {
            sandboxes,
            room: Room::new(config.body),
            config,
            counts: RunCounts::default(),
        }))
    }

    /// `POST /run` and nothing else, for a worker: whoever serves it knows who may ask.
    pub fn router(&self) -> Router {
        let run = post(run::run).fallback(wrong_method);
        Router::new()
            .route(RUN_PATH, run)
            .fallback(async || (StatusCode::NOT_FOUND, "404 page not found\n"))
            .layer(from_fn_with_state(self.clone(), before))
            .with_state(self.clone())
    }

    pub(crate) fn config(&self) -> &RunsConfig {
        &self.0.config
    }

    pub(crate) fn counts(&self) -> &RunCounts {
        &self.0.counts
    }

    /// Who runs what is sent.
    ///
    /// # Errors
    /// When that is off.
    pub(crate) fn sandboxes(&self) -> Result<&dyn Sandboxes, RunsError> {
        self.0.sandboxes.as_deref().ok_or(RunsError::Off)
    }

    /// The same; `None` when that is off.
    pub(crate) fn pool(&self) -> Option<&dyn Sandboxes> {
        self.0.sandboxes.as_deref()
    }

    /// Waits for a sandbox and starts the program. Whoever drops it gives up on it.
    async fn start(&self, order: RunOrder) -> Result<StartedRun, RunsError> {
        let started = self.sandboxes()?.run(order).await;
        started.map_err(|error| {
            self.counts().refused(&error);
            RunsError::Run(error)
        })
    }

    /// What a run comes to that asks for `limits`.
    fn settle(&self, limits: &RunLimits) -> Result<RunMaxima, RunsError> {
        let settled = self.config().limits.settle(limits);
        settled.map_err(|problem| RunsError::Run(RunError::Refused(problem)))
    }
}

impl FromRef<Arc<Control>> for Runs {
    fn from_ref(control: &Arc<Control>) -> Self {
        control.runs.clone()
    }
}

/// Whether a request for `path` is given up when its caller leaves: nothing of the server's own is
/// changed by it, and a sandbox must not be kept for nobody.
pub(crate) fn ends_with_its_caller(path: &str) -> bool {
    hob_model::sandbox::asks_for_run(path)
}

/// Says which method a path takes, as its clients know it.
pub(crate) async fn wrong_method(request: Request) -> Response {
    let error = RunsError::Method;
    match request.uri().path() {
        RUN_PATH => error.into_response(),
        path => {
            let allow = match path {
                EXECUTE_PATH | EXECUTE_ALIAS => "POST",
                _ => "GET",
            };
            error.as_message(allow)
        }
    }
}

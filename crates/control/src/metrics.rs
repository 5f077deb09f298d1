//! What Prometheus reads, in the names and labels of OpenFaaS where it has them.
//!
//! Each file below is one subject; [`Control::exposition`] is the list of them.

mod bans;
mod calls;
mod family;
mod process;
mod queue;
mod refusals;
mod replicas;
mod requests;
mod runs;
mod wakes;

use std::{sync::Arc, time::SystemTime};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::sync::Mutex;

use crate::{Control, control::on_disk};
use family::Text;

pub(crate) use process::resident_memory;
pub(crate) use requests::{Requests, measure};
pub(crate) use wakes::{Tier, Wakings};

/// What the control plane measures of itself. Calls are counted by the gateway, in the routes.
pub(crate) struct Metrics {
    pub(crate) requests: Requests,
    pub(crate) wakings: Wakings,
    born: SystemTime,
    /// Held while an answer is put together, which takes megabytes with thousands of functions.
    one_at_a_time: Arc<Mutex<()>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: Requests::default(),
            wakings: Wakings::default(),
            born: SystemTime::now(),
            one_at_a_time: Arc::default(),
        }
    }
}

impl Control {
    /// What is served at the address for metrics, and asks nobody for a password: `/metrics` and
    /// `/healthz`.
    pub fn metrics_router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(async || "OK"))
            .with_state(Arc::clone(self))
    }

    /// Everything there is to measure, in Prometheus's text format.
    ///
    /// A subject of its own is a file of its own in `metrics/`, and one line here.
    async fn exposition(self: Arc<Self>) -> Result<String, prometheus::Error> {
        let turn = Arc::clone(&self.metrics.one_at_a_time).lock_owned().await;
        let observed = self.observed().await;
        // Long work with thousands of functions: the API must not wait for it.
        on_disk(move || {
            // Also when the reader has left meanwhile.
            let _turn = turn;
            let mut text = Text::default();
            calls::write(&self.routes, &mut text)?;
            refusals::write(self.routes.refusals(), &mut text)?;
            match &observed {
                Ok(observed) => replicas::write(&self.deployed.all(), observed, &mut text)?,
                Err(error) => tracing::warn!("the metrics are without the replicas: {error}"),
            }
            queue::write(&self.queue_depths(), &mut text)?;
            self.metrics.wakings.write(&mut text)?;
            self.metrics.requests.write(&mut text)?;
            bans::write(&self.bans, &mut text)?;
            runs::write(&self.runs, &mut text)?;
            process::write(self.metrics.born, &mut text)?;
            Ok(text.into())
        })
        .await
    }
}

async fn metrics(State(control): State<Arc<Control>>) -> Response {
    match control.exposition().await {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => {
            tracing::error!("the metrics cannot be written: {error}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

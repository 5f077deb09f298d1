//! A worker that serves one run and ends, as those of bfaas do.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    body::Body,
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use hob_control::PLAIN;
use hob_model::sandbox::RUN_PATH;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use tokio_util::sync::CancellationToken;

/// The only run that there will be.
#[derive(Clone)]
pub(super) struct Once {
    taken: Arc<AtomicBool>,
    spent: CancellationToken,
}

/// The run is under way; when it is dropped, with the last byte of the answer or when the caller
/// hangs up, the worker is spent.
struct Shot(Option<CancellationToken>);

// === impl Once ===

impl Once {
    /// `spent` is cancelled when the run is over.
    pub(super) fn new(spent: CancellationToken) -> Self {
        Self {
            taken: Arc::default(),
            spent,
        }
    }
}

/// Lets one run through. What is no run does not count, and neither does one that was refused:
/// nothing has been run then.
pub(super) async fn pass(once: Once, request: Request, next: Next) -> Response {
    if request.method() != Method::POST || request.uri().path() != RUN_PATH {
        return next.run(request).await;
    }
    if once.taken.swap(true, Ordering::SeqCst) {
        return (StatusCode::CONFLICT, PLAIN, "conflict\n").into_response();
    }
    let mut shot = Shot(Some(once.spent.clone()));
    let response = next.run(request).await;
    if !response.status().is_success() {
        shot.0 = None;
        once.taken.store(false, Ordering::SeqCst);
        return response;
    }
    response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let _run = &shot;
            frame
        }))
    })
}

// === impl Shot ===

impl Drop for Shot {
    fn drop(&mut self) {
        if let Some(spent) = &self.0 {
            spent.cancel();
        }
    }
}

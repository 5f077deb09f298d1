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
/// nothing has been run then. Of any other failure nobody knows how far it came.
pub(super) async fn pass(once: Once, request: Request, next: Next) -> Response {
    if request.method() != Method::POST || request.uri().path() != RUN_PATH {
        return next.run(request).await;
    }
    if once.taken.swap(true, Ordering::SeqCst) {
        return (StatusCode::CONFLICT, PLAIN, "conflict\n").into_response();
    }
    let mut shot = Shot(Some(once.spent.clone()));
    let response = next.run(request).await;
    let status = response.status();
    if status.is_client_error() || status == StatusCode::SERVICE_UNAVAILABLE {
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

#[cfg(test)]
mod tests {
    use axum::{Router, middleware::from_fn, routing::post};
    use tower::ServiceExt;

    use super::*;

    /// What a second run is answered when the first one was answered with `first`.
    async fn second(first: StatusCode) -> (StatusCode, bool) {
        let spent = CancellationToken::new();
        let once = Once::new(spent.clone());
        let router = Router::new()
            .route(RUN_PATH, post(move || async move { first }))
            .layer(from_fn(move |request, next| {
                pass(once.clone(), request, next)
            }));
        let ask = || {
            let request = Request::post(RUN_PATH).body(Body::empty()).expect("valid");
            router.clone().oneshot(request)
        };
        let Ok(answer) = ask().await;
        assert_eq!(answer.status(), first);
        drop(answer);
        let Ok(answer) = ask().await;
        (answer.status(), spent.is_cancelled())
    }

    #[tokio::test]
    async fn only_a_run_that_was_refused_is_given_back() {
        for refused in [
            StatusCode::BAD_REQUEST,
            StatusCode::PAYLOAD_TOO_LARGE,
            StatusCode::SERVICE_UNAVAILABLE,
        ] {
            assert_eq!(second(refused).await, (refused, false));
        }
        for ran in [StatusCode::OK, StatusCode::INTERNAL_SERVER_ERROR] {
            assert_eq!(second(ran).await, (StatusCode::CONFLICT, true));
        }
    }
}

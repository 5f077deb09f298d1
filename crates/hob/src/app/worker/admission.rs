//! Who may have something run at a worker: whoever has an authorisation for it.

use std::{sync::Arc, time::SystemTime};

use axum::{
    body::Body,
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use hob_control::PLAIN;
use hob_engine::pool::{Gate, Unauthorised};
use hob_model::sandbox::RUN_PATH;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};

/// Says why; the body has the words of bfaas.
const HINT: HeaderName = HeaderName::from_static("x-hob-unauthorized");

/// Stands before the runs.
#[derive(Clone)]
pub(super) struct Admission {
    gate: Arc<Gate>,
    /// Largest body, in bytes.
    body: usize,
}

/// Why a request is not passed on.
enum Refused {
    Unauthorised(Unauthorised),
    /// The body is too large, or did not come.
    Body(StatusCode),
}

// === impl Admission ===

impl Admission {
    pub(super) fn new(gate: Gate, body: u64) -> Self {
        Self {
            gate: Arc::new(gate),
            body: usize::try_from(body).unwrap_or(usize::MAX),
        }
    }

    /// The request, if its sender may have it run.
    async fn admit(&self, request: Request) -> Result<Request, Refused> {
        let (head, body) = request.into_parts();
        let header = head.headers.get(header::AUTHORIZATION);
        let header = header.and_then(|value| value.to_str().ok());
        let pass = self.gate.look(header, SystemTime::now())?;
        if !pass.is_for_one_body() {
            self.gate.admit(&pass, &[], SystemTime::now())?;
            return Ok(Request::from_parts(head, body));
        }
        let body = Limited::new(body, self.body).collect().await;
        let body = body.map_err(|error| {
            Refused::Body(match error.is::<LengthLimitError>() {
                true => StatusCode::PAYLOAD_TOO_LARGE,
                false => StatusCode::BAD_REQUEST,
            })
        })?;
        let body = body.to_bytes();
        self.gate.admit(&pass, &body, SystemTime::now())?;
        Ok(Request::from_parts(head, Body::from(body)))
    }
}

/// Lets a request through, or answers it. What is no run needs no authorisation: it is answered
/// that there is nothing.
pub(super) async fn pass(admission: Admission, request: Request, next: Next) -> Response {
    if request.method() != Method::POST || request.uri().path() != RUN_PATH {
        return next.run(request).await;
    }
    match admission.admit(request).await {
        Ok(request) => next.run(request).await,
        Err(refused) => refused.into_response(),
    }
}

impl From<Unauthorised> for Refused {
    fn from(why: Unauthorised) -> Self {
        Self::Unauthorised(why)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let why = match self {
            Self::Unauthorised(why) => why,
            Self::Body(status) => return (status, PLAIN, "bad request\n").into_response(),
        };
        tracing::debug!("refused: {why}");
        let mut response = (StatusCode::UNAUTHORIZED, PLAIN, "unauthorized\n").into_response();
        if let Ok(hint) = HeaderValue::from_str(&why.to_string()) {
            response.headers_mut().insert(HINT, hint);
        }
        response
    }
}

//! Who may have something run at a worker: whoever has an authorisation for it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{
    body::Body,
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use hob_control::PLAIN;
use hob_engine::pool::{Gate, Unauthorised};
use hob_model::sandbox::RUN_PATH;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use tokio::{sync::Semaphore, time::timeout};

/// Says why to those who have the key; the body has the words of bfaas.
const HINT: HeaderName = HeaderName::from_static("x-hob-unauthorized");
/// Has the sender sign anew so many seconds later.
const SOON: HeaderValue = HeaderValue::from_static("1");
/// Bodies that are in memory at once to be looked at. Others wait, …
const BODIES: usize = 16;
/// … and no longer than this.
const PATIENCE: Duration = Duration::from_secs(10);

/// Stands before the runs.
#[derive(Clone)]
pub(super) struct Admission {
    gate: Arc<Gate>,
    /// A place for each body that is to be looked at.
    room: Arc<Semaphore>,
    /// Largest body, in bytes.
    body: usize,
}

/// Why a request is not passed on.
enum Refused {
    Unauthorised(Unauthorised),
    /// The body is too large, did not come, or there is no room for it.
    Body(StatusCode),
}

// === impl Admission ===

impl Admission {
    pub(super) fn new(gate: Gate, body: u64) -> Self {
        Self {
            gate: Arc::new(gate),
            room: Arc::new(Semaphore::new(BODIES)),
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
        // The signature covers nothing else, and what else there is might change the body's meaning.
        if head.uri.query().is_some() || !is_json(&head.headers) {
            return Err(Unauthorised::Around.into());
        }
        let place = timeout(PATIENCE, Arc::clone(&self.room).acquire_owned()).await;
        let place = place.map_err(|_| Refused::Body(StatusCode::SERVICE_UNAVAILABLE))?;
        let body = Limited::new(body, self.body).collect().await;
        let body = body.map_err(|error| {
            Refused::Body(match error.is::<LengthLimitError>() {
                true => StatusCode::PAYLOAD_TOO_LARGE,
                false => StatusCode::BAD_REQUEST,
            })
        })?;
        let body = body.to_bytes();
        self.gate.admit(&pass, &body, SystemTime::now())?;
        let body = Body::new(Full::new(body).map_frame(move |frame| {
            let _place = &place;
            frame
        }));
        Ok(Request::from_parts(head, body))
    }
}

fn is_json(fields: &HeaderMap) -> bool {
    let kind = fields.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
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
            Self::Body(StatusCode::SERVICE_UNAVAILABLE) => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                return (status, PLAIN, "busy\n").into_response();
            }
            Self::Body(status) => return (status, PLAIN, "bad request\n").into_response(),
        };
        tracing::debug!("refused: {why}");
        let mut response = (StatusCode::UNAUTHORIZED, PLAIN, "unauthorized\n").into_response();
        let hint = HeaderValue::from_str(&why.to_string());
        if let (true, Ok(hint)) = (why.is_signed(), hint) {
            response.headers_mut().insert(HINT, hint);
        }
        if why.passes() {
            response.headers_mut().insert(header::RETRY_AFTER, SOON);
        }
        response
    }
}

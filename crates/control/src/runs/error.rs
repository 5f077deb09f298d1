use axum::{
    Json,
    response::{IntoResponse, Response},
};
use hob_model::port::RunError;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::json;
use thiserror::Error;

/// After how many seconds there may be memory again for a request.
const ROOM_RETRY: u64 = 1;

/// Why nothing was run. Each is one line that anybody may read.
#[derive(Debug, Error)]
pub(crate) enum RunsError {
    /// The owner has not asked for it.
    #[error(
        "this server runs no scripts: write `enabled = true` below `[sandbox]` in its config.toml"
    )]
    Off,
    /// The words are those of Go's server, which clients may know.
    #[error("Method Not Allowed")]
    Method,
    /// The request makes no sense as it is.
    #[error("{0}")]
    Bad(String),
    /// Piston takes nothing else.
    #[error("requests must be of type application/json")]
    NoJson,
    /// The body is over its limit.
    #[error("the request is over {0} bytes: send less, or raise sandbox.limits.body")]
    TooLarge(u64),
    /// Too many of one caller are in memory; there is room for others.
    #[error(
        "too many requests of yours wait for a sandbox: try again in {ROOM_RETRY} s, or send less at once"
    )]
    Share,
    /// Too many bodies are in memory.
    #[error("too many requests come in at once: try again in {ROOM_RETRY} s")]
    Crowded,
    /// A web page sent it.
    #[error(
        "requests from web pages are refused: name the page's origin in sandbox.cors, or use a program of your own"
    )]
    CrossSite,
    /// The pool did not take it.
    #[error(transparent)]
    Run(#[from] RunError),
    /// It was taken, and the machine failed before it said anything.
    #[error("the run could not be made: {0}")]
    Host(String),
}

impl RunsError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Off => StatusCode::NOT_FOUND,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Bad(_) | Self::Run(RunError::Refused(_)) => StatusCode::BAD_REQUEST,
            Self::NoJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Share => StatusCode::TOO_MANY_REQUESTS,
            Self::CrossSite => StatusCode::FORBIDDEN,
            Self::Crowded | Self::Run(RunError::Full { .. }) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Host(_) | Self::Run(RunError::Unavailable(_)) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
        }
    }

    fn retry_after(&self) -> Option<HeaderValue> {
        match self {
            Self::Crowded | Self::Share => Some(HeaderValue::from(ROOM_RETRY)),
            // Whole seconds, and rather one too many.
            Self::Run(RunError::Full { retry_after, .. }) => Some(HeaderValue::from(
                retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0),
            )),
            _ => None,
        }
    }

    /// The same as clients of Piston know it; `allow` is the method that a path takes.
    pub(super) fn as_message(&self, allow: &'static str) -> Response {
        let message = Json(json!({ "message": self.to_string() }));
        let response = (self.status(), message).into_response();
        self.with_fields(response, allow)
    }

    fn with_fields(&self, mut response: Response, allow: &'static str) -> Response {
        let fields = response.headers_mut();
        if let Some(seconds) = self.retry_after() {
            fields.insert(header::RETRY_AFTER, seconds);
        }
        if matches!(self, Self::Method) {
            fields.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}

/// Fields of a line of text whose type nobody is to guess.
pub const PLAIN: [(HeaderName, HeaderValue); 2] = [
    (
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    ),
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
];

impl IntoResponse for RunsError {
    fn into_response(self) -> Response {
        let line = self.to_string().replace(char::is_control, " ");
        let response = (self.status(), PLAIN, format!("{line}\n")).into_response();
        self.with_fields(response, "POST")
    }
}

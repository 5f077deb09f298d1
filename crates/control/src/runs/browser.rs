//! What web pages may have run: nothing, unless the owner names their origin. Else any page could
//! use the sandboxes of whoever looks at it, whose server listens on his own machine only.

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use hob_model::{Cors, sandbox::COORD};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use super::{Runs, error::RunsError};

/// Says which server it was.
const COORD_FIELD: HeaderName = HeaderName::from_static(COORD);
/// By what browsers say whose page made them ask (Fetch Metadata).
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// How long a browser may remember what it was told, in seconds.
const PREFLIGHT_AGE: HeaderValue = HeaderValue::from_static("3600");
/// Fields of ours that pages may read.
const EXPOSED: HeaderValue =
    HeaderValue::from_static("Worker, Coord, RateLimit, RateLimit-Policy, Retry-After");

/// Stands before every route of runs, also before the login: browsers ask without one whether they
/// may ask.
pub(crate) async fn before(State(runs): State<Runs>, request: Request, next: Next) -> Response {
    let page = Page::of(request.headers());
    let cors = runs.config().cors.as_ref();
    let allowed = page.is_allowed(cors);
    let mut response = match preflight(&request) {
        Some(response) if allowed => response,
        _ if allowed => next.run(request).await,
        _ => RunsError::CrossSite.into_response(),
    };
    let fields = response.headers_mut();
    if let Some(coord) = &runs.config().coord {
        fields.insert(COORD_FIELD, coord.clone());
    }
    if let Some(cors) = cors {
        page.tell(cors, fields);
    }
    response
}

/// Whose page asks.
enum Page {
    /// None does.
    None,
    /// One of this origin.
    Of(HeaderValue),
    /// One that does not say its origin.
    Unknown,
}

impl Page {
    fn of(fields: &HeaderMap) -> Self {
        if let Some(origin) = fields.get(header::ORIGIN) {
            return Self::Of(origin.clone());
        }
        match fields.get(&FETCH_SITE).map(HeaderValue::as_bytes) {
            None | Some(b"none") => Self::None,
            Some(_) => Self::Unknown,
        }
    }

    fn is_allowed(&self, cors: Option<&Cors>) -> bool {
        match (self, cors) {
            (Self::None, _) | (_, Some(Cors::Any)) => true,
            (Self::Of(origin), Some(cors)) => cors.allows(origin.as_bytes()),
            (Self::Of(_) | Self::Unknown, _) => false,
        }
    }

    /// Lets the page read the answer.
    fn tell(&self, cors: &Cors, fields: &mut HeaderMap) {
        let origin = match (cors, self) {
            (Cors::Any, _) => HeaderValue::from_static("*"),
            (Cors::Origins(_), page) => {
                // Also without an origin: a cache must not give this answer to a page.
                fields.append(header::VARY, HeaderValue::from_static("Origin"));
                match page {
                    Self::Of(origin) if page.is_allowed(Some(cors)) => origin.clone(),
                    _ => return,
                }
            }
        };
        if origin != "*" {
            let credentials = HeaderValue::from_static("true");
            fields.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, credentials);
        }
        fields.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        fields.append(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
}

/// The answer to a browser's question whether its page may ask; `None` when it is none.
fn preflight(request: &Request) -> Option<Response> {
    if request.method() != Method::OPTIONS {
        return None;
    }
    let asked = request.headers();
    asked.get(header::ORIGIN)?;
    let method = asked.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    let fields = response.headers_mut();
    fields.insert(header::ACCESS_CONTROL_ALLOW_METHODS, method.clone());
    if let Some(names) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        fields.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    fields.insert(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_AGE);
    let vary = "Access-Control-Request-Method, Access-Control-Request-Headers";
    fields.insert(header::VARY, HeaderValue::from_static(vary));
    Some(response)
}

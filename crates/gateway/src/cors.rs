use hob_model::{Cors, Route};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};

use crate::{body::Answer, error::GatewayError};

/// How long a browser may remember the answer to a preflight, in seconds. Browsers cut it to
/// two hours or less.
const PREFLIGHT_AGE: HeaderValue = HeaderValue::from_static("3600");
/// Fields of hob's own that pages may read.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "X-Call-Id, Server-Timing, X-Hob-End, RateLimit, RateLimit-Policy, Retry-After",
);
/// Said by the gateway alone once a function has a policy; a function's own would contradict.
const GOVERNED: [HeaderName; 5] = [
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_MAX_AGE,
];

/// Where the page that makes a call comes from; nothing for callers that are no browsers.
pub(crate) struct Visitor(Option<HeaderValue>);

impl Visitor {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        Self(headers.get(header::ORIGIN).cloned())
    }
}

/// Answers a browser's question whether a page may make a call. `None` when it is none.
pub(crate) fn preflight<B>(
    policy: &Cors,
    request: &Request<B>,
    route: &Route,
) -> Option<Result<Response<Answer>, GatewayError>> {
    let asked = request.headers();
    let method = asked.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
    let origin = asked.get(header::ORIGIN)?;
    if request.method() != Method::OPTIONS {
        return None;
    }
    if !policy.allows(origin.as_bytes()) {
        return Some(Err(GatewayError::Origin {
            function: route.function.to_string(),
            origin: String::from_utf8_lossy(origin.as_bytes()).into_owned(),
        }));
    }
    let mut response = Response::new(Answer::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, method.clone());
    if let Some(names) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_AGE);
    let vary = "Access-Control-Request-Method, Access-Control-Request-Headers";
    headers.insert(header::VARY, HeaderValue::from_static(vary));
    Some(Ok(response))
}

/// Removes what the function itself said of its policy.
pub(crate) fn silence(headers: &mut HeaderMap) {
    for name in &GOVERNED {
        headers.remove(name);
    }
}

/// Lets the page read an answer, errors included, where the policy says so.
pub(crate) fn apply(policy: &Cors, visitor: &Visitor, headers: &mut HeaderMap) {
    let origin = match policy {
        Cors::Any => HeaderValue::from_static("*"),
        Cors::Origins(_) => {
            // Also without an origin: a cache must not give this answer to a page.
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
            match &visitor.0 {
                Some(origin) if policy.allows(origin.as_bytes()) => origin.clone(),
                _ => return,
            }
        }
    };
    if origin != "*" {
        let credentials = HeaderValue::from_static("true");
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, credentials);
    }
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    // Added to the function's own list, which only it can know.
    headers.append(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
}

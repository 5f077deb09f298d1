use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use hob_model::{CallerAddress, Conduct};
use http::{HeaderMap, Method, header};

use super::{builder, document, error::ApiError, later};
use crate::{
    Control,
    registry::{self, RegistryError},
};

/// Paths without the password: the first tells strangers that somebody is at home, the second what
/// anybody can read in hob's source, and the others look for a signature instead.
const OPEN: [&str; 4] = [
    "/healthz",
    document::PATH,
    builder::BUILD,
    builder::PUBLIC_KEY,
];
/// The only user there is.
const USER: &[u8] = b"admin";

/// Whether strangers are answered here. Functions are called without the password, now or later;
/// only to take a call back asks for it.
pub(super) fn is_open(method: &Method, path: &str) -> bool {
    OPEN.contains(&path) || path.starts_with(later::PATH) && method != Method::DELETE
}

/// Lets nobody through who does not know the admin password.
pub(super) async fn require_admin(
    State(control): State<Arc<Control>>,
    request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path();
    if is_open(request.method(), path) {
        return next.run(request).await;
    }
    let shown = request.headers().contains_key(header::AUTHORIZATION);
    let admitted = admit(&control, request.headers()).await;
    if let (Err(ApiError::Unauthorized), true) = (&admitted, shown) {
        let address = request.extensions().get::<CallerAddress>();
        let address = address.map_or_else(|| "-".to_owned(), |caller| caller.ip.to_string());
        tracing::warn!("login refused address={address} user=\"\" path={path:?}");
    }
    let conduct = match &admitted {
        Ok(()) => Some(Conduct::LoggedIn),
        Err(ApiError::Unauthorized) if shown => Some(Conduct::FailedLogin),
        Err(_) => None,
    };
    let mut response = match admitted {
        Ok(()) => next.run(request).await,
        Err(error) if registry::owns(path) => refusal(error).into_response(),
        Err(error) => error.into_response(),
    };
    // For the gateway, which shuts out who guesses for too long.
    if let Some(conduct) = conduct {
        response.extensions_mut().insert(conduct);
    }
    response
}

async fn admit(control: &Control, headers: &HeaderMap) -> Result<(), ApiError> {
    let password = password(headers).ok_or(ApiError::Unauthorized)?;
    let runtime = &control.config.runtime;
    control.gate.check(runtime, &password).await?;
    refuse_cross_site(headers)
}

/// As programs that push and pull understand it.
fn refusal(error: ApiError) -> RegistryError {
    match error {
        ApiError::Unauthorized => RegistryError::Unauthorized,
        ApiError::Crowded => RegistryError::Crowded("too many logins at once"),
        error => RegistryError::Denied(error.to_string()),
    }
}

/// `Authorization: Basic base64(admin:PASSWORD)`, as RFC 7617 has it.
fn password(headers: &HeaderMap) -> Option<Vec<u8>> {
    let credentials = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = credentials.split_once(' ')?;
    let decoded = STANDARD.decode(encoded.trim()).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let (user, password) = (&decoded[..colon], &decoded[colon + 1..]);
    let admin = scheme.eq_ignore_ascii_case("basic") && user == USER;
    admin.then(|| password.to_owned())
}

/// A browser sends the password that it remembers along with any page's request; but it says
/// whose page that is (<https://www.w3.org/TR/fetch-metadata/>). Pages of the same origin are those
/// of functions, and no more to be trusted. To servers without TLS it does not say so, but there as
/// everywhere it names the origin of whatever changes something
/// (<https://fetch.spec.whatwg.org/#origin-header>).
fn refuse_cross_site(headers: &HeaderMap) -> Result<(), ApiError> {
    if headers.contains_key(header::ORIGIN) {
        return Err(ApiError::CrossSite);
    }
    match headers.get("sec-fetch-site").map(|site| site.as_bytes()) {
        None | Some(b"none") => Ok(()),
        Some(_) => Err(ApiError::CrossSite),
    }
}

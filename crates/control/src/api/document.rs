//! The OpenAPI document. Each operation stands at its handler; here is what all of them share.

use std::sync::OnceLock;

use axum::response::IntoResponse;
use bytes::Bytes;
use hob_model::wire::CallId;
use http::{StatusCode, header};
use utoipa::{
    OpenApi,
    openapi::{
        self, RefOr, Required, Response, Schema,
        path::Operation,
        request_body::RequestBody,
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};

use super::{documented, guarded::Need, refusals};

/// Where the document is.
pub(super) const PATH: &str = "/openapi.json";
/// The document's name of the password, and of a token in its place.
const PASSWORD: &str = "password";
/// Its name of a token by itself.
const TOKEN: &str = "token";

/// What the document says before any operation. Its version is that of the API.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "hob",
        version = "1",
        description = "Functions on a machine you own. Log in as `admin` with the admin password, or with a token that has the scope an operation names: as a bearer, or as the password of any user. Errors are one line of text that names the cause and the cure. `/hob/v1` is hob's own API; `/system` is what clients of OpenFaaS call.",
        license(name = "Apache-2.0 OR MIT", identifier = "Apache-2.0 OR MIT")
    ),
    // Only parameters have it, of which utoipa gathers no types.
    components(schemas(CallId))
)]
struct Head;

/// The document without its operations.
fn head() -> openapi::OpenApi {
    let mut head = Head::openapi();
    let components = head.components.get_or_insert_default();
    let basic = HttpBuilder::new().scheme(HttpAuthScheme::Basic).build();
    components.add_security_scheme(PASSWORD, SecurityScheme::Http(basic));
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    components.add_security_scheme(TOKEN, SecurityScheme::Http(bearer));
    refusals::describe(components);
    head
}

/// This document.
#[utoipa::path(get, path = PATH, tag = "server", responses((status = 200, body = Object)))]
pub(super) async fn document() -> impl IntoResponse {
    /// Made when somebody asks for the first time, since mostly nobody does.
    static JSON: OnceLock<Bytes> = OnceLock::new();
    let json = JSON.get_or_init(|| {
        let document = documented().document(head(), complete);
        // Texts and lists only: there is nothing in it that could fail.
        document.to_json().unwrap_or_default().into()
    });
    ([(header::CONTENT_TYPE, "application/json")], json.clone())
}

/// Adds what the guard around an operation answers, and a name of its own.
fn complete(operation: &mut Operation, need: Need) {
    let tag = operation.tags.iter().flatten().next();
    let handler = operation.operation_id.take();
    // `functions_list`: handlers are unique in their files only.
    let name = tag.zip(handler).map(|(tag, name)| format!("{tag}_{name}"));
    operation.operation_id = name.map(|name| name.replace('-', "_"));
    let password = SecurityRequirement::new::<_, [&str; 0], _>(PASSWORD, []);
    let token = |scopes: Vec<String>| SecurityRequirement::new(TOKEN, scopes);
    operation.security = match &need {
        Need::Nothing => None,
        Need::Login => Some(vec![password, token(Vec::new())]),
        Need::Scope(scope) => Some(vec![password, token(vec![scope.to_string()])]),
        Need::Password => Some(vec![password]),
    };
    if need != Need::Nothing {
        operation
            .responses
            .responses
            .extend(refusals::by_the_guard());
    }
    if let Some(RefOr::T(body)) = &mut operation.request_body {
        let required = match is_optional(body) {
            true => Required::False,
            false => Required::True,
        };
        body.required.get_or_insert(required);
    }
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response {
            describe(status, response);
        }
    }
}

/// Whether a handler takes an `Option`, which is a choice between something and `null`.
fn is_optional(body: &RequestBody) -> bool {
    let mut contents = body.content.values();
    contents.any(|content| match content {
        RefOr::T(content) => matches!(content.schema, Some(RefOr::T(Schema::OneOf(_)))),
        RefOr::Ref(_) => false,
    })
}

/// What the number means, where the handler says nothing more.
fn describe(status: &str, response: &mut Response) {
    let meaning = StatusCode::from_bytes(status.as_bytes()).ok();
    let meaning = meaning.and_then(|status| status.canonical_reason());
    if let Some(meaning) = meaning.filter(|_| response.description.is_empty()) {
        meaning.clone_into(&mut response.description);
    }
}

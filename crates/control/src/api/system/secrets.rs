use std::sync::Arc;

use axum::{Json, body::Body, extract::State};
use base64::{Engine, engine::general_purpose::STANDARD};
use hob_model::{SecretName, openfaas::Secret, wire::SecretSummary};
use hob_store::Written;
use http::StatusCode;

use super::{
    super::{
        audit::about,
        error::ApiError,
        refusals::{Bad, Conflict, Missing, TooLarge},
        request::{Asked, NamedSecret, read_body},
    },
    BODY, InQuery, existing,
};
use crate::Control;

/// The secrets of a namespace, without their values.
#[utoipa::path(get, path = "/system/secrets", tag = "system-secrets", params(InQuery),
    responses((status = 200, body = [SecretSummary]), Bad))]
pub(super) async fn list(
    State(control): State<Arc<Control>>,
    Asked(query): Asked<InQuery>,
) -> Result<Json<Vec<SecretSummary>>, ApiError> {
    let namespace = existing(&control, None, query.namespace.as_deref()).await?;
    let secrets = control.secret(move |secrets| secrets.list(&namespace));
    Ok(Json(secrets.await?))
}

/// Makes a secret.
#[utoipa::path(post, path = "/system/secrets", tag = "system-secrets", params(InQuery), request_body = Secret,
    responses((status = 202), Bad, Conflict, TooLarge))]
pub(super) async fn create(
    state: State<Arc<Control>>,
    query: Asked<InQuery>,
    body: Body,
) -> Result<StatusCode, ApiError> {
    set(state, query, body, Written::New).await
}

/// Gives a secret another value.
#[utoipa::path(put, path = "/system/secrets", tag = "system-secrets", params(InQuery), request_body = Secret,
    responses((status = 202), Bad, Missing, TooLarge))]
pub(super) async fn update(
    state: State<Arc<Control>>,
    query: Asked<InQuery>,
    body: Body,
) -> Result<StatusCode, ApiError> {
    set(state, query, body, Written::Updated).await
}

/// Removes a secret.
#[utoipa::path(delete, path = "/system/secrets", tag = "system-secrets", params(InQuery), request_body = Secret,
    responses((status = 202), Bad, Missing, TooLarge))]
pub(super) async fn remove(
    State(control): State<Arc<Control>>,
    Asked(query): Asked<InQuery>,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let asked = read_secret(body).await?;
    let secret = wanted(&control, &asked, &query).await?;
    let NamedSecret { namespace, name } = secret;
    let gone = name.clone();
    let removed = control.secret(move |secrets| secrets.remove(&namespace, &gone));
    match removed.await? {
        true => Ok(StatusCode::ACCEPTED),
        false => Err(ApiError::NoSecret(name.to_string())),
    }
}

async fn set(
    State(control): State<Arc<Control>>,
    Asked(query): Asked<InQuery>,
    body: Body,
    only: Written,
) -> Result<StatusCode, ApiError> {
    let asked = read_secret(body).await?;
    let secret = wanted(&control, &asked, &query).await?;
    let value = value(asked)?;
    let (namespace, name) = (secret.namespace.clone(), secret.name.clone());
    let written = control.secret(move |secrets| secrets.set_only(only, &namespace, &name, &value));
    match (written.await?, only) {
        (true, _) => {
            control.spread_secret(&secret).await?;
            Ok(StatusCode::ACCEPTED)
        }
        (false, Written::New) => Err(ApiError::SecretExists(secret.name.to_string())),
        (false, Written::Updated) => Err(ApiError::NoSecret(secret.name.to_string())),
    }
}

/// A mistake is named by its place: what stands there may be the value.
async fn read_secret(body: Body) -> Result<Secret, ApiError> {
    let body = read_body(body, BODY, "the request").await?;
    serde_json::from_slice(&body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        ApiError::Bad(format!(
            "failed to unmarshal request: no secret as JSON at line {line}, column {column}"
        ))
    })
}

async fn wanted(
    control: &Control,
    asked: &Secret,
    query: &InQuery,
) -> Result<NamedSecret, ApiError> {
    let name: SecretName = asked.name.trim().parse().map_err(|error| {
        ApiError::Bad(match asked.name.is_empty() {
            true => "validation failed: name: is required".into(),
            false => format!("validation failed: {error}"),
        })
    })?;
    let said = (asked.namespace.as_deref(), query.namespace.as_deref());
    let namespace = existing(control, said.0, said.1).await?;
    let secret = NamedSecret { namespace, name };
    about(&secret);
    Ok(secret)
}

/// The exact bytes: those in base64 where there are some, since the text beside them may have lost
/// its last newline.
fn value(asked: Secret) -> Result<Vec<u8>, ApiError> {
    match asked.raw_value.filter(|raw| !raw.is_empty()) {
        None => Ok(asked.value.unwrap_or_default().into_bytes()),
        Some(raw) => STANDARD
            .decode(raw)
            .map_err(|_| ApiError::Bad("validation failed: rawValue: is no base64".into())),
    }
}

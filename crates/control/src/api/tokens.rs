//! Tokens, and the password that they stand in for.

use std::sync::Arc;

use axum::{Json, body::Body, extract::State};
use hob_model::{
    Label,
    wire::{MadeToken, NewPassword, NewToken, TokenSummary},
};
use hob_store::AdminPassword;
use http::{HeaderValue, StatusCode, header};
use serde::de::DeserializeOwned;

use super::{
    audit::about,
    error::ApiError,
    refusals::{Bad, Conflict, Missing, TooLarge},
    request::{Segment, read_body},
};
use crate::Control;

/// Largest request, in bytes.
const BODY: usize = 64 << 10;

/// The tokens that there are, those that have ended too.
#[utoipa::path(get, path = "/hob/v1/tokens", tag = "tokens",
    responses((status = 200, body = [TokenSummary])))]
pub(super) async fn list(State(control): State<Arc<Control>>) -> Json<Vec<TokenSummary>> {
    Json(control.list_tokens())
}

/// Makes a token.
///
/// The answer has its text, which is shown this once: what is kept is no more than its SHA-256.
#[utoipa::path(post, path = "/hob/v1/tokens", tag = "tokens", request_body = NewToken,
    responses((status = 201, body = MadeToken), Bad, Conflict, TooLarge))]
pub(super) async fn create(
    State(control): State<Arc<Control>>,
    body: Body,
) -> Result<
    (
        StatusCode,
        [(header::HeaderName, HeaderValue); 1],
        Json<MadeToken>,
    ),
    ApiError,
> {
    let asked: NewToken = read(body, "the token").await?;
    about(&asked.name);
    let (text, summary) = control.create_token(asked).await?;
    tracing::info!("token `{}` was made", summary.name);
    let made = MadeToken {
        token: text.to_string(),
        summary,
    };
    let private = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((StatusCode::CREATED, private, Json(made)))
}

/// Revokes a token: nobody comes in with it from then on.
#[utoipa::path(delete, path = "/hob/v1/tokens/{name}", tag = "tokens",
    params(("name" = Label, Path)), responses((status = 204), Bad, Missing))]
pub(super) async fn revoke(
    State(control): State<Arc<Control>>,
    Segment(name): Segment,
) -> Result<StatusCode, ApiError> {
    if !control.revoke_token(name.clone()).await? {
        return Err(ApiError::NoToken(name));
    }
    tracing::info!("token `{name}` was revoked");
    Ok(StatusCode::NO_CONTENT)
}

/// Changes the admin password, at once.
///
/// Tokens stay as they are, and none of them may do this.
#[utoipa::path(put, path = "/hob/v1/password", tag = "tokens", operation_id = "password",
    request_body = NewPassword, responses((status = 204), Bad, TooLarge))]
pub(super) async fn change_password(
    State(control): State<Arc<Control>>,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let asked: NewPassword = read(body, "the password").await?;
    let password =
        AdminPassword::chosen(asked.password).map_err(|error| ApiError::Bad(error.to_string()))?;
    control
        .gate
        .change(&control.config.runtime, password)
        .await?;
    tracing::info!("the admin password was changed");
    Ok(StatusCode::NO_CONTENT)
}

async fn read<T: DeserializeOwned>(body: Body, what: &str) -> Result<T, ApiError> {
    let body = read_body(body, BODY, what).await?;
    serde_json::from_slice(&body).map_err(|error| match error.classify() {
        // These words are about scopes and names.
        serde_json::error::Category::Data => ApiError::Bad(format!("{what}: {error}")),
        // Others may quote a password.
        _ => ApiError::Bad(format!("{what} must be JSON")),
    })
}

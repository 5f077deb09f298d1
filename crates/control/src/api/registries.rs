use std::sync::Arc;

use axum::{
    Json,
    body::Body,
    extract::{Path, State},
};
use hob_image::Credential;
use hob_model::wire::{RegistryLogin, RegistrySummary};
use http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    error::ApiError,
    refusals::{Bad, Conflict, Missing, TooLarge},
    request::read_body,
};
use crate::{Control, KnownRegistries, RegistriesError, control::blocking};

/// Largest login, in bytes; tokens can be long.
const LOGIN_BODY: usize = 64 << 10;
/// Largest file of certificates, in bytes.
const TRUST_BODY: usize = 1 << 20;

/// The registry named in the path.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct Named {
    /// Host and perhaps port; `*` for all.
    name: String,
}

/// The registries that hob knows something of.
#[utoipa::path(get, path = "/hob/v1/registries", tag = "registries",
    responses((status = 200, body = [RegistrySummary])))]
pub(super) async fn list(
    State(control): State<Arc<Control>>,
) -> Result<Json<Vec<RegistrySummary>>, ApiError> {
    Ok(Json(with(&control, KnownRegistries::list).await?))
}

/// Logs in at a registry.
///
/// The login is tried first: a wrong one is not kept.
#[utoipa::path(put, path = "/hob/v1/registries/{name}/login", tag = "registries",
    params(Named), request_body = RegistryLogin,
    responses((status = 204), Bad, Conflict, TooLarge))]
pub(super) async fn log_in(
    State(control): State<Arc<Control>>,
    Path(Named { name: registry }): Path<Named>,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let body = read_body(body, LOGIN_BODY, "the login").await?;
    let login: RegistryLogin = serde_json::from_slice(&body)
        // Not in serde's words, which may quote the password.
        .map_err(|_| ApiError::Bad("the login must be JSON with username and password".into()))?;
    let credential = Credential {
        username: login.username,
        password: login.password,
    };
    let checked = control
        .images
        .client
        .check(&registry, Some(credential.clone()));
    checked.await.map_err(hob_image::ImageError::from)?;
    with(&control, move |known| known.log_in(&registry, &credential)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Forgets the login at a registry.
#[utoipa::path(delete, path = "/hob/v1/registries/{name}/login", tag = "registries",
    params(Named), responses((status = 204), Bad, Missing))]
pub(super) async fn log_out(
    State(control): State<Arc<Control>>,
    Path(Named { name: registry }): Path<Named>,
) -> Result<StatusCode, ApiError> {
    let name = registry.clone();
    known(
        with(&control, move |known| known.log_out(&name)).await?,
        registry,
    )
}

/// Trusts the authorities of a file of certificates for a registry.
///
/// Answers with the number of those that were new.
#[utoipa::path(put, path = "/hob/v1/registries/{name}/trust", tag = "registries",
    params(Named), request_body = String,
    responses((status = 200, body = usize, content_type = "application/json"), Bad, TooLarge))]
pub(super) async fn trust(
    State(control): State<Arc<Control>>,
    Path(Named { name: registry }): Path<Named>,
    body: Body,
) -> Result<Json<usize>, ApiError> {
    let pem = read_body(body, TRUST_BODY, "the certificate").await?;
    let pem = String::from_utf8_lossy(&pem).into_owned();
    Ok(Json(
        with(&control, move |known| known.trust(&registry, &pem)).await?,
    ))
}

/// Speaks to a registry without TLS.
#[utoipa::path(put, path = "/hob/v1/registries/{name}/plain-http", tag = "registries",
    params(Named), responses((status = 204), Bad))]
pub(super) async fn plain_http(
    State(control): State<Arc<Control>>,
    Path(Named { name: registry }): Path<Named>,
) -> Result<StatusCode, ApiError> {
    with(&control, move |known| known.plain_http(&registry)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Forgets everything of a registry.
#[utoipa::path(delete, path = "/hob/v1/registries/{name}", tag = "registries",
    params(Named), responses((status = 204), Bad, Missing))]
pub(super) async fn forget(
    State(control): State<Arc<Control>>,
    Path(Named { name: registry }): Path<Named>,
) -> Result<StatusCode, ApiError> {
    let name = registry.clone();
    known(
        with(&control, move |known| known.forget(&name)).await?,
        registry,
    )
}

fn known(was: bool, registry: String) -> Result<StatusCode, ApiError> {
    match was {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(ApiError::NoRegistry(registry)),
    }
}

async fn with<T: Send + 'static>(
    control: &Control,
    work: impl FnOnce(&KnownRegistries) -> Result<T, RegistriesError> + Send + 'static,
) -> Result<T, RegistriesError> {
    let registries = Arc::clone(&control.images.registries);
    blocking(&control.config.runtime, move || work(&registries)).await
}

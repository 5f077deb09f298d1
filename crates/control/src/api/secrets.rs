use std::sync::Arc;

use axum::{
    Extension, Json,
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use hob_model::{FunctionName, Scope, SecretName, wire::SecretSummary};
use hob_store::{SecretStore, Written};
use http::StatusCode;

use super::{
    actor::Actor,
    error::ApiError,
    refusals::{Bad, Missing, TooLarge},
    request::{NamedSecret, Namespace, NamespaceKey, read_body},
};
use crate::{Control, namespaces::is_reserved};

/// The secrets of a namespace, without their values.
#[utoipa::path(get, path = "/hob/v1/secrets", tag = "secrets", params(NamespaceKey),
    responses((status = 200, body = [SecretSummary]), Bad))]
pub(super) async fn list(
    State(control): State<Arc<Control>>,
    Namespace(namespace): Namespace,
) -> Result<Json<Vec<SecretSummary>>, ApiError> {
    let secrets = control.secret(move |secrets| secrets.list(&namespace));
    Ok(Json(secrets.await?))
}

/// Keeps the body as the value of a secret, byte for byte.
#[utoipa::path(put, path = "/hob/v1/secrets/{name}", tag = "secrets",
    params(("name" = SecretName, Path), NamespaceKey),
    request_body(content_type = "application/octet-stream"),
    responses((status = 201), (status = 204), Bad, TooLarge))]
pub(super) async fn set(
    State(control): State<Arc<Control>>,
    Extension(actor): Extension<Actor>,
    secret: NamedSecret,
    body: Body,
) -> Result<StatusCode, ApiError> {
    secret.may_be_changed_by(&actor)?;
    let what = format!("the value of secret `{}`", secret.name);
    let value = read_body(body, SecretStore::LARGEST, &what).await?;
    let (namespace, name) = (secret.namespace.clone(), secret.name.clone());
    let written = control
        .secret(move |secrets| secrets.set(&namespace, &name, &value))
        .await?;
    control.spread_secret(&secret).await?;
    Ok(match written {
        Written::New => StatusCode::CREATED,
        Written::Updated => StatusCode::NO_CONTENT,
    })
}

/// Removes a secret.
///
/// One in use may go too: what runs keeps its value, what starts will miss it, and the answer says
/// which functions those are.
#[utoipa::path(delete, path = "/hob/v1/secrets/{name}", tag = "secrets",
    params(("name" = SecretName, Path), NamespaceKey),
    responses((status = 200, body = String), (status = 204), Bad, Missing))]
pub(super) async fn remove(
    State(control): State<Arc<Control>>,
    Extension(actor): Extension<Actor>,
    secret: NamedSecret,
) -> Result<Response, ApiError> {
    secret.may_be_changed_by(&actor)?;
    let (namespace, name) = (secret.namespace.clone(), secret.name.clone());
    let removed = control
        .secret(move |secrets| secrets.remove(&namespace, &name))
        .await?;
    if !removed {
        return Err(ApiError::NoSecret(secret.name.to_string()));
    }
    let readers = control.readers_of(&secret);
    if readers.is_empty() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let readers: Vec<_> = readers.iter().map(FunctionName::to_string).collect();
    Ok(format!(
        "secret `{}` is removed, but these functions need it to start: {}\n",
        secret.name,
        readers.join(", ")
    )
    .into_response())
}

impl NamedSecret {
    /// Hob's own secrets say what it runs and whom it believes: only who may do everything changes
    /// those.
    fn may_be_changed_by(&self, actor: &Actor) -> Result<(), ApiError> {
        match is_reserved(self.namespace.as_str()) {
            true => actor.must(Scope::Admin),
            false => Ok(()),
        }
    }
}

impl Control {
    /// Shows a new value to those that may read it.
    pub(super) async fn spread_secret(&self, secret: &NamedSecret) -> Result<(), ApiError> {
        for function in self.readers_of(secret) {
            self.wakes.forgive(&function);
        }
        let namespace = secret.namespace.as_str();
        let refreshed = self.engine.refresh_secret(namespace, &secret.name).await;
        refreshed.map_err(|source| ApiError::Refresh {
            name: secret.name.to_string(),
            source,
        })
    }

    /// The functions whose settings name the secret.
    fn readers_of(&self, secret: &NamedSecret) -> Vec<FunctionName> {
        let functions = self.deployed.all();
        let readers = functions.iter().filter(|function| {
            function.name.namespace() == secret.namespace.as_str()
                && function.revision.settings.secrets.contains(&secret.name)
        });
        readers.map(|function| function.name.clone()).collect()
    }
}

use std::{collections::BTreeSet, sync::Arc};

use axum::{Json, body::Body, extract::State};
use hob_model::{DEFAULT_NAMESPACE, Label, openfaas::FunctionNamespace};
use http::StatusCode;

use super::{
    super::{
        audit::about,
        error::ApiError,
        refusals::{Bad, Conflict, Missing, TooLarge},
        request::{Segment, read_body},
    },
    BODY, marked, meant, read,
};
use crate::{Control, namespaces::is_reserved};

/// The names of all namespaces.
#[utoipa::path(get, path = "/system/namespaces", tag = "system-namespaces",
    responses((status = 200, body = [String])))]
pub(super) async fn list(
    State(control): State<Arc<Control>>,
) -> Result<Json<BTreeSet<String>>, ApiError> {
    Ok(Json(control.namespaces().await?))
}

/// One namespace with its words.
#[utoipa::path(get, path = "/system/namespace/{name}", tag = "system-namespaces",
    params(("name" = Label, Path)),
    responses((status = 200, body = FunctionNamespace), Bad, Missing))]
pub(super) async fn show(
    State(control): State<Arc<Control>>,
    Segment(name): Segment,
) -> Result<Json<FunctionNamespace>, ApiError> {
    let name = meant(None, Some(&name))?;
    found(&control, &name).await.map(Json)
}

/// Makes a namespace.
#[utoipa::path(post, path = "/system/namespaces", tag = "system-namespaces",
    request_body = FunctionNamespace,
    responses((status = 201), Bad, Conflict, TooLarge))]
pub(super) async fn create(
    State(control): State<Arc<Control>>,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let asked: FunctionNamespace = read(body).await?;
    if asked.name.is_empty() {
        let text = "validation failed: name: is required";
        return Err(ApiError::Bad(text.into()));
    }
    let name = meant(Some(&asked.name), None)?;
    about(&name);
    if is_reserved(name.as_str()) {
        let text = format!("namespace not valid: `{name}` holds secrets of hob's own");
        return Err(ApiError::Bad(text));
    }
    marked(&asked)?;
    if control.namespace(name.as_str()).await?.is_some() {
        return Err(ApiError::NamespaceExists(name));
    }
    control
        .stored(move |store| store.put_namespace(&asked))
        .await?;
    Ok(StatusCode::CREATED)
}

/// Gives a namespace other words.
#[utoipa::path(put, path = "/system/namespace/{name}", tag = "system-namespaces",
    params(("name" = Label, Path)), request_body = FunctionNamespace,
    responses((status = 202), Bad, Missing, TooLarge))]
pub(super) async fn update(
    State(control): State<Arc<Control>>,
    Segment(name): Segment,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let name = meant(None, Some(&name))?;
    let asked: FunctionNamespace = read(body).await?;
    same(&name, &asked)?;
    found(&control, &name).await?;
    marked(&asked)?;
    control
        .stored(move |store| store.put_namespace(&asked))
        .await?;
    Ok(StatusCode::ACCEPTED)
}

/// Removes a namespace with its functions and secrets.
///
/// One that fails in the middle is still there, to be removed again. The body may be left out.
#[utoipa::path(delete, path = "/system/namespace/{name}", tag = "system-namespaces",
    params(("name" = Label, Path)), request_body = FunctionNamespace,
    responses((status = 202), Bad, Missing, TooLarge))]
pub(super) async fn remove(
    State(control): State<Arc<Control>>,
    Segment(name): Segment,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let name = meant(None, Some(&name))?;
    // Not every client sends one here.
    let body = read_body(body, BODY, "the request").await?;
    if !body.is_empty() {
        same(&name, &read(body.into()).await?)?;
    }
    if name.as_str() == DEFAULT_NAMESPACE {
        let text = format!("namespace `{name}` is the default one and cannot be removed");
        return Err(ApiError::Bad(text));
    }
    found(&control, &name).await?;
    control.remove_namespace(&name).await?;
    Ok(StatusCode::ACCEPTED)
}

async fn found(control: &Control, name: &Label) -> Result<FunctionNamespace, ApiError> {
    let found = match is_reserved(name.as_str()) {
        true => None,
        false => control.namespace(name.as_str()).await?,
    };
    found.ok_or_else(|| ApiError::NoNamespace(name.clone()))
}

fn same(name: &Label, asked: &FunctionNamespace) -> Result<(), ApiError> {
    if asked.name == name.as_str() {
        return Ok(());
    }
    Err(ApiError::Bad(format!(
        "the body names namespace `{}`, the path `{name}`",
        asked.name
    )))
}

impl Control {
    async fn remove_namespace(&self, name: &Label) -> Result<(), ApiError> {
        self.remove_functions(name).await?;
        let namespace = name.clone();
        self.secret(move |secrets| secrets.remove_all(&namespace))
            .await?;
        let gone = name.clone();
        self.stored(move |store| store.remove_namespace(gone.as_str()))
            .await?;
        // A deploy that was about to end has ended, and any other finds the namespace gone.
        self.remove_functions(name).await
    }

    async fn remove_functions(&self, namespace: &Label) -> Result<(), ApiError> {
        for function in self.deployed.all() {
            if function.name.namespace() != namespace.as_str() {
                continue;
            }
            match self.remove(function.name.clone()).await {
                // Somebody was quicker.
                Ok(()) | Err(ApiError::NoFunction(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

//! `/system`: what the clients of OpenFaaS call, status code for status code. Each file below
//! holds one noun.

mod alert;
mod functions;
mod info;
mod namespaces;
mod scale;
mod secrets;
mod status;

use std::sync::Arc;

use axum::{
    Router,
    routing::{get, post},
};
use hob_model::{DEFAULT_NAMESPACE, FunctionName, Label, openfaas::FunctionNamespace};
use serde::{Deserialize, de::DeserializeOwned};

use super::{error::ApiError, request::read_body};
use crate::{
    Control,
    namespaces::{KUBE_SYSTEM, is_reserved},
};

/// Largest request, in bytes; annotations can be long.
const BODY: usize = 1 << 20;

/// What a query may say; other keys are passed by.
#[derive(Deserialize)]
struct InQuery {
    namespace: Option<String>,
    /// `1` asks for what a function uses.
    usage: Option<String>,
}

pub(super) fn router() -> Router<Arc<Control>> {
    let functions = get(functions::list)
        .post(functions::create)
        .put(functions::update)
        .delete(functions::remove);
    let secrets = get(secrets::list)
        .post(secrets::create)
        .put(secrets::update)
        .delete(secrets::remove);
    let namespace = get(namespaces::show)
        .put(namespaces::update)
        .delete(namespaces::remove);
    let namespaces = get(namespaces::list).post(namespaces::create);
    Router::new()
        .route("/system/functions", functions)
        .route("/system/function/{name}", get(functions::show))
        .route("/system/scale-function/{name}", post(scale::scale))
        .route("/system/secrets", secrets)
        .route("/system/namespace", post(namespaces::create))
        .route("/system/namespace/", post(namespaces::create))
        .route("/system/namespace/{name}", namespace.clone())
        // The documents name this one, the programs the other.
        .route("/system/namespaces", namespaces.clone())
        .route("/system/namespaces/", namespaces)
        .route("/system/namespaces/{name}", namespace)
        .route("/system/info", get(info::show))
        .route("/system/telemetry", get(info::telemetry))
        .route("/system/alert", post(alert::alert))
}

/// The JSON of a body.
async fn read<T: DeserializeOwned>(body: axum::body::Body) -> Result<T, ApiError> {
    let body = read_body(body, BODY, "the request").await?;
    serde_json::from_slice(&body)
        .map_err(|error| ApiError::Bad(format!("failed to unmarshal request: {error}")))
}

/// The namespace that a client means: as its body says, else its query, else the default one.
fn meant(body: Option<&str>, query: Option<&str>) -> Result<Label, ApiError> {
    let mut said = [body, query].into_iter().flatten();
    let namespace = said.find(|text| !text.is_empty());
    let namespace = namespace.unwrap_or(DEFAULT_NAMESPACE);
    if namespace == KUBE_SYSTEM {
        return Err(ApiError::KubeSystem);
    }
    namespace
        .parse()
        .map_err(|_| ApiError::Bad(format!("namespace not valid: `{namespace}`")))
}

/// The same, which has to be there and not hob's own.
async fn existing(
    control: &Control,
    body: Option<&str>,
    query: Option<&str>,
) -> Result<Label, ApiError> {
    let namespace = meant(body, query)?;
    if is_reserved(namespace.as_str()) {
        let text = format!("namespace not valid: `{namespace}` holds secrets of hob's own");
        return Err(ApiError::Bad(text));
    }
    if control.namespace(namespace.as_str()).await?.is_none() {
        return Err(ApiError::Bad(format!(
            "namespace not valid: `{namespace}` does not exist: create it with `hob namespace create {namespace}`, or POST /system/namespace/"
        )));
    }
    Ok(namespace)
}

/// A function's name from a body or a path, perhaps with its namespace after the last dot.
fn named(text: &str, namespace: Label) -> Result<FunctionName, ApiError> {
    let invalid = || {
        ApiError::Bad(format!(
            "validation failed: service: ({text}) is invalid, must be a valid DNS entry"
        ))
    };
    match text.contains('.') {
        true => text.parse().map_err(|_| invalid()),
        false => Ok(FunctionName::new(
            text.parse().map_err(|_| invalid())?,
            namespace,
        )),
    }
}

/// A namespace must say that it is one of functions, as it must with OpenFaaS.
fn marked(namespace: &FunctionNamespace) -> Result<(), ApiError> {
    if namespace.is_marked() {
        return Ok(());
    }
    Err(ApiError::Bad(format!(
        "namespace `{}` is not marked as one of functions: give it the annotation {}=1",
        namespace.name,
        FunctionNamespace::MARKER
    )))
}

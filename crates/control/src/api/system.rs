//! `/system`: what the clients of OpenFaaS call, status code for status code. Each file below
//! holds one noun.

mod alert;
mod functions;
mod info;
mod namespaces;
mod scale;
mod secrets;
mod status;

use axum::routing::{get, post, put};
use hob_model::{
    DEFAULT_NAMESPACE, FunctionName, Label,
    openfaas::{FunctionNamespace, MaybeNamespace},
};
use serde::{Deserialize, de::DeserializeOwned};
use utoipa::IntoParams;
use utoipa_axum::routes;

use super::{
    error::ApiError,
    guarded::{Guarded, Policy},
    request::read_body,
};
use crate::{
    Control,
    namespaces::{KUBE_SYSTEM, is_reserved},
};

/// Largest request, in bytes; annotations can be long.
const BODY: usize = 1 << 20;

/// What a query may say; other keys are passed by.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct InQuery {
    /// Else the default one.
    #[param(value_type = Option<MaybeNamespace>)]
    namespace: Option<String>,
}

/// Every route that the document has, with who may use it.
pub(super) fn documented() -> Guarded {
    use Policy::{Known, Read, Secrets, Write};

    let routes = [
        (Read, routes!(functions::list)),
        (
            Write,
            routes!(functions::create, functions::update, functions::remove),
        ),
        (Read, routes!(functions::show)),
        (Write, routes!(scale::scale)),
        (Write, routes!(alert::alert)),
        (
            Secrets,
            routes!(
                secrets::list,
                secrets::create,
                secrets::update,
                secrets::remove
            ),
        ),
        (Read, routes!(namespaces::list)),
        (Write, routes!(namespaces::create)),
        (Read, routes!(namespaces::show)),
        (Write, routes!(namespaces::update, namespaces::remove)),
        // What clients ask first, whatever they are about to do.
        (Known, routes!(info::show)),
        (Read, routes!(info::telemetry)),
    ];
    routes
        .into_iter()
        .fold(Guarded::default(), |all, (policy, routes)| {
            all.route(policy, routes)
        })
}

/// Other spellings of what the document has under one: the programs use some, the documents of
/// OpenFaaS others.
pub(super) fn aliases() -> Guarded {
    use Policy::{Read, Write};

    let (all, one) = ("/system/namespaces/", "/system/namespaces/{name}");
    let changes = put(namespaces::update).delete(namespaces::remove);
    Guarded::default()
        .beside(Write, "/system/namespace", post(namespaces::create))
        .beside(Write, "/system/namespace/", post(namespaces::create))
        .beside(Read, all, get(namespaces::list))
        .beside(Write, all, post(namespaces::create))
        .beside(Read, one, get(namespaces::show))
        .beside(Write, one, changes)
}

/// The JSON of a body.
async fn read<T: DeserializeOwned>(body: axum::body::Body) -> Result<T, ApiError> {
    let body = read_body(body, BODY, "the request").await?;
    serde_json::from_slice(&body)
        .map_err(|error| ApiError::Bad(format!("failed to unmarshal request: {error}")))
}

/// The namespace that a client means: as its body says, else its query, else the default one. None
/// of them may be wrong, though the other counts.
fn meant(body: Option<&str>, query: Option<&str>) -> Result<Label, ApiError> {
    let said = [body, query].into_iter().flatten();
    let said = said.filter(|text| !text.is_empty());
    let mut said = said.map(parsed).collect::<Result<Vec<_>, _>>()?.into_iter();
    said.next().map_or_else(|| parsed(DEFAULT_NAMESPACE), Ok)
}

fn parsed(namespace: &str) -> Result<Label, ApiError> {
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

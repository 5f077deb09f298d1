//! What handlers take out of a request, each with a line that names the mistake.

use std::fmt::{self, Display};

use axum::{
    body::Body,
    extract::{FromRequestParts, Path, Query},
};
use bytes::Bytes;
use hob_model::{DEFAULT_NAMESPACE, FunctionName, Label, SecretName, Share};
use http::request::Parts;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::{Deserialize, de::DeserializeOwned};
use utoipa::IntoParams;

use super::{audit::about, error::ApiError};

/// The function named in the path: `NAME` or `NAME.NAMESPACE`.
#[derive(IntoParams)]
#[into_params(names("name"), parameter_in = Path)]
pub(super) struct NamedFunction(pub(super) FunctionName);

/// The text at the end of the path, as it is.
pub(super) struct Segment(pub(super) String);

/// The secret named in the path, and the namespace in the query.
pub(super) struct NamedSecret {
    pub(super) namespace: Label,
    pub(super) name: SecretName,
}

/// The namespace in the query, else the default one.
pub(super) struct Namespace(pub(super) Label);

/// How the query says it.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct NamespaceKey {
    /// Else the default one.
    #[param(value_type = Option<Label>)]
    namespace: Option<String>,
}

/// What the query says of a deploy.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Beside {
    /// Share of the calls that the new revision gets, as a canary beside the one that answers the
    /// others; else it gets all.
    pub(super) canary: Option<Share>,
}

/// The query; `T` names the keys that count, others are passed by.
pub(super) struct Asked<T>(pub(super) T);

impl<S: Send + Sync> FromRequestParts<S> for NamedFunction {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let name = segment(parts, state).await?.parse().map_err(bad)?;
        about(&name);
        Ok(Self(name))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        segment(parts, state).await.map(Self)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for NamedSecret {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let name = segment(parts, state).await?.parse().map_err(bad)?;
        let Namespace(namespace) = Namespace::from_request_parts(parts, state).await?;
        let secret = Self { namespace, name };
        about(&secret);
        Ok(secret)
    }
}

/// As functions are written: with its namespace, unless that is the default one.
impl Display for NamedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, name } = self;
        match namespace.as_str() {
            DEFAULT_NAMESPACE => write!(f, "{name}"),
            namespace => write!(f, "{name}.{namespace}"),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Namespace {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Asked(NamespaceKey { namespace }) = Asked::from_request_parts(parts, state).await?;
        let namespace = namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
        namespace.parse().map(Self).map_err(bad)
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Query::from_request_parts(parts, state).await {
            Ok(Query(keys)) => Ok(Self(keys)),
            Err(rejection) => Err(ApiError::Bad(format!("query: {}", rejection.body_text()))),
        }
    }
}

/// The whole body, in memory, unless it is over `limit` bytes; `what` names it in the error.
pub(super) async fn read_body(body: Body, limit: usize, what: &str) -> Result<Bytes, ApiError> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(ApiError::TooLarge(format!("{what} is over {limit} bytes")))
        }
        Err(error) => Err(ApiError::Bad(format!(
            "{what} did not arrive whole: {error}"
        ))),
    }
}

async fn segment<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<String, ApiError> {
    match Path::from_request_parts(parts, state).await {
        Ok(Path(text)) => Ok(text),
        Err(rejection) => Err(ApiError::Bad(format!("path: {}", rejection.body_text()))),
    }
}

fn bad(error: impl Display) -> ApiError {
    ApiError::Bad(error.to_string())
}

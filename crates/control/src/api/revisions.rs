use std::sync::Arc;

use axum::{Json, body::Body, extract::State, response::Response};
use hob_model::wire::{DeployEvent, RevisionSummary, RollbackRequest};

use super::{
    error::ApiError,
    refusals::{Bad, Missing, TooLarge},
    request::{NamedFunction, read_body},
    stream,
};
use crate::{Control, events};

/// Largest body of a rollback, in bytes.
const ROLLBACK_BODY: usize = 1 << 10;

/// The revisions of a function that are kept, newest first.
#[utoipa::path(get, path = "/hob/v1/functions/{name}/revisions", tag = "functions",
    operation_id = "revisions", params(NamedFunction),
    responses((status = 200, body = [RevisionSummary]), Bad, Missing))]
pub(super) async fn list(
    State(control): State<Arc<Control>>,
    NamedFunction(name): NamedFunction,
) -> Result<Json<Vec<RevisionSummary>>, ApiError> {
    let function = control.function(&name)?;
    Ok(Json(control.revisions(&function).await?))
}

/// Goes back to a revision that ran before, or ends the canary.
///
/// Nothing is built. Without a number the canary ends, if there is one. Answers with the events of a deploy.
#[utoipa::path(post, path = "/hob/v1/functions/{name}/rollback", tag = "functions",
    params(NamedFunction), request_body = Option<RollbackRequest>,
    responses((status = 200, body = DeployEvent, content_type = stream::NDJSON),
        Bad, Missing, TooLarge))]
pub(super) async fn rollback(
    State(control): State<Arc<Control>>,
    NamedFunction(name): NamedFunction,
    body: Body,
) -> Result<Response, ApiError> {
    let body = read_body(body, ROLLBACK_BODY, "the rollback").await?;
    let request = match body.as_ref() {
        [] => RollbackRequest::default(),
        json => serde_json::from_slice(json)
            .map_err(|error| ApiError::Bad(format!("write {{\"revision\": 2}}: {error}")))?,
    };
    if request.revision == Some(0) {
        return Err(ApiError::Bad("revisions are numbered from 1".into()));
    }
    control.function(&name)?;
    let (events, reader) = events::channel();
    tokio::spawn(control.roll_back(name, request.revision, events));
    Ok(stream::events(reader))
}

/// Gives all calls to the canary.
///
/// Nothing is built. Answers with the events of a deploy.
#[utoipa::path(post, path = "/hob/v1/functions/{name}/promote", tag = "functions",
    params(NamedFunction),
    responses((status = 200, body = DeployEvent, content_type = stream::NDJSON), Bad, Missing))]
pub(super) async fn promote(
    State(control): State<Arc<Control>>,
    NamedFunction(name): NamedFunction,
) -> Result<Response, ApiError> {
    control.function(&name)?;
    let (events, reader) = events::channel();
    tokio::spawn(control.promote(name, events));
    Ok(stream::events(reader))
}

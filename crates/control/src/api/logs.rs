use std::sync::Arc;

use axum::{extract::State, response::Response};
use hob_model::{Moment, ReplicaId, port::LogQuery, wire::LogLine};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    error::ApiError,
    refusals::{Bad, Missing},
    request::{Asked, NamedFunction},
    stream,
};
use crate::Control;

/// `?tail=N&since=5m&instance=ID&follow=true`
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Keys {
    /// The last so many lines of all replicas together; else all that are kept.
    tail: Option<usize>,
    /// Only lines since then: a span such as `5m`, or a time by RFC 3339.
    since: Option<String>,
    /// Only lines of this replica.
    instance: Option<String>,
    /// Whether to wait for more, without an end.
    #[serde(default)]
    follow: bool,
}

/// What the replicas of a function wrote, a line each.
#[utoipa::path(get, path = "/hob/v1/functions/{name}/logs", tag = "logs",
    params(NamedFunction, Keys),
    responses((status = 200, body = LogLine, content_type = stream::NDJSON), Bad, Missing))]
pub(super) async fn show(
    State(control): State<Arc<Control>>,
    NamedFunction(name): NamedFunction,
    Asked(keys): Asked<Keys>,
) -> Result<Response, ApiError> {
    control.function(&name)?;
    let since = keys.since.map(|text| text.parse().map(Moment::time));
    let query = LogQuery {
        tail: keys.tail,
        since: since
            .transpose()
            .map_err(|error| ApiError::Bad(format!("query: since: {error}")))?,
        instance: keys.instance.map(|id| ReplicaId(id.into())),
        follow: keys.follow,
    };
    let lines = control.engine.logs(&name, query).await?;
    Ok(stream::log_lines(lines))
}

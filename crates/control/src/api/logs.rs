use std::sync::Arc;

use axum::{extract::State, response::Response};
use hob_model::{port::LogQuery, wire::LogLine};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    error::ApiError,
    refusals::{Bad, Missing},
    request::{Asked, NamedFunction},
    stream,
};
use crate::Control;

/// `?tail=N&follow=true`
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Keys {
    /// So many lines of each replica; else all that are kept.
    tail: Option<usize>,
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
    Asked(Keys { tail, follow }): Asked<Keys>,
) -> Result<Response, ApiError> {
    control.function(&name)?;
    let lines = control
        .engine
        .logs(&name, LogQuery { tail, follow })
        .await?;
    Ok(stream::log_lines(lines))
}

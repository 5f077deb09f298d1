use std::sync::Arc;

use axum::{extract::State, response::Response};
use hob_model::{Moment, ReplicaId, port::LogQuery};
use serde::Deserialize;

use super::{
    error::ApiError,
    request::{Asked, NamedFunction},
    stream,
};
use crate::Control;

/// `?tail=N&since=5m&instance=ID&follow=true`
#[derive(Deserialize)]
pub(super) struct Keys {
    tail: Option<usize>,
    since: Option<String>,
    instance: Option<String>,
    #[serde(default)]
    follow: bool,
}

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

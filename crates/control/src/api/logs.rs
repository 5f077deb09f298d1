use std::sync::Arc;

use axum::{extract::State, response::Response};
use hob_model::port::LogQuery;
use serde::Deserialize;

use super::{
    error::ApiError,
    request::{Asked, NamedFunction},
    stream,
};
use crate::Control;

/// `?tail=N&follow=true`
#[derive(Deserialize)]
pub(super) struct Keys {
    tail: Option<usize>,
    #[serde(default)]
    follow: bool,
}

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

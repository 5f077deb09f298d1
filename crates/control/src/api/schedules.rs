use std::sync::Arc;

use axum::{Json, extract::State};
use hob_model::{
    FunctionName, Schedule,
    wire::{ScheduleRun, ScheduleSummary},
};
use http::StatusCode;
use serde::Deserialize;

use super::{error::ApiError, request::Asked};
use crate::Control;

/// Which schedules are meant.
#[derive(Deserialize)]
pub(super) struct Of {
    function: Option<String>,
}

/// Which schedule is meant.
#[derive(Deserialize)]
pub(super) struct One {
    function: String,
    /// As it was written; may be left out where there is one.
    schedule: Option<String>,
}

pub(super) async fn list(
    State(control): State<Arc<Control>>,
    Asked(Of { function }): Asked<Of>,
) -> Result<Json<Vec<ScheduleSummary>>, ApiError> {
    let function = function.as_deref().map(name).transpose()?;
    Ok(Json(control.schedules(function.as_ref())))
}

/// Makes a run now, as if its time had come.
pub(super) async fn run(
    State(control): State<Arc<Control>>,
    Asked(One { function, schedule }): Asked<One>,
) -> Result<(StatusCode, Json<ScheduleRun>), ApiError> {
    let function = control.function(&name(&function)?)?;
    let known = &function.revision.settings.schedule;
    let meant = match (schedule, known.as_slice()) {
        (Some(text), _) => known.iter().find(|one| is(one, &text)),
        (None, [only]) => Some(only),
        (None, _) => None,
    };
    let Some(meant) = meant else {
        return Err(ApiError::Bad(unclear(&function.name, known)));
    };
    let call = control.run_now(function.name.clone(), meant).await?;
    Ok((StatusCode::ACCEPTED, Json(ScheduleRun { call })))
}

fn name(text: &str) -> Result<FunctionName, ApiError> {
    text.parse()
        .map_err(|error: hob_model::NameError| ApiError::Bad(error.to_string()))
}

fn is(schedule: &Schedule, text: &str) -> bool {
    schedule.cron == text || schedule.to_string() == text
}

fn unclear(function: &FunctionName, known: &[Schedule]) -> String {
    if known.is_empty() {
        return format!("function `{function}` has no schedule: add one to its hob.toml");
    }
    let known: Vec<String> = known.iter().map(|one| format!("`{one}`")).collect();
    let known = known.join(", ");
    format!("function `{function}` has these schedules, of which one must be named: {known}")
}

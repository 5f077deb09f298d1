use std::sync::Arc;

use axum::{Json, extract::State};
use hob_model::{
    FunctionName, Schedule,
    wire::{ScheduleRun, ScheduleSummary},
};
use http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    audit::about,
    error::ApiError,
    refusals::{Bad, Missing},
    request::Asked,
};
use crate::Control;

/// Which schedules are meant.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Of {
    /// Those of this function; else all.
    #[param(value_type = Option<FunctionName>)]
    function: Option<String>,
}

/// Which schedule is meant.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct One {
    /// Whose it is.
    #[param(value_type = FunctionName)]
    function: String,
    /// As it was written; may be left out where there is one.
    schedule: Option<String>,
}

/// The schedules, with their next and last runs.
#[utoipa::path(get, path = "/hob/v1/schedules", tag = "schedules", params(Of),
    responses((status = 200, body = [ScheduleSummary]), Bad))]
pub(super) async fn list(
    State(control): State<Arc<Control>>,
    Asked(Of { function }): Asked<Of>,
) -> Result<Json<Vec<ScheduleSummary>>, ApiError> {
    let function = function.as_deref().map(name).transpose()?;
    Ok(Json(control.schedules(function.as_ref())))
}

/// Makes a run now, as if its time had come.
#[utoipa::path(post, path = "/hob/v1/schedules/run", tag = "schedules", params(One),
    responses((status = 202, body = ScheduleRun), Bad, Missing))]
pub(super) async fn run(
    State(control): State<Arc<Control>>,
    Asked(One { function, schedule }): Asked<One>,
) -> Result<(StatusCode, Json<ScheduleRun>), ApiError> {
    about(&function);
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

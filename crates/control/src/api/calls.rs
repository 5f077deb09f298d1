//! Asynchronous calls, shown to the owner and changed by the owner.

use std::sync::Arc;

use axum::{Json, extract::State};
use base64::{Engine, engine::general_purpose::STANDARD};
use hob_model::{
    FunctionName,
    wire::{
        CallAnswer, CallCallback, CallDetail, CallId, CallPhase, CallSummary, CallsChanged,
        QueueList,
    },
};
use hob_store::{CallQueue, CallRecord, CallState, Fields, Listing, clock::system_time};
use http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    audit::about,
    error::ApiError,
    refusals::{Bad, Conflict, Missing},
    request::{Asked, Segment},
};
use crate::Control;

/// Calls in a list, unless another number is asked for.
const LISTED: u32 = 100;
/// Most calls in a list.
const MOST_LISTED: u32 = 1000;

/// Which calls are listed.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Keys {
    /// Only those that stand there.
    state: Option<CallPhase>,
    /// Only those of this function.
    function: Option<FunctionName>,
    /// So many, else 100; never more than 1000.
    #[param(maximum = 4294967295_u64)]
    limit: Option<u32>,
}

/// Which calls are meant.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Letters {
    /// Only those of this function.
    function: Option<FunctionName>,
    /// `dead`, which is meant without it; to drop, also `waiting`, of one function.
    state: Option<CallPhase>,
}

/// The id of a call, in the path.
#[derive(IntoParams)]
#[into_params(names("id"), parameter_in = Path)]
struct NamedCall(CallId);

/// Whose call is meant, where several share an id.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Whose {
    /// Only a call of this function.
    function: Option<FunctionName>,
}

/// Takes a call back that is to be made later, which OpenFaaS calls cancelling.
///
/// The newest of that id is dropped, wherever it stands.
#[utoipa::path(delete, path = "/async-function/{name}", tag = "async-function",
    params(("name" = CallId, Path, description = "The call's id"), Whose),
    responses((status = 202), Bad, Missing))]
pub(super) async fn forget(
    State(control): State<Arc<Control>>,
    Segment(id): Segment,
    Asked(whose): Asked<Whose>,
) -> Result<StatusCode, ApiError> {
    drop_call(&control, id, whose.function).await?;
    Ok(StatusCode::ACCEPTED)
}

/// One call with its answer.
#[utoipa::path(get, path = "/hob/v1/calls/{id}", tag = "calls", params(NamedCall, Whose),
    responses((status = 200, body = CallDetail), Bad, Missing))]
pub(super) async fn show(
    State(control): State<Arc<Control>>,
    Segment(id): Segment,
    Asked(whose): Asked<Whose>,
) -> Result<Json<CallDetail>, ApiError> {
    let asked = id.clone();
    let find = move |calls: &CallQueue| calls.find(&asked, whose.function.as_ref());
    let found = control.queued(find).await?;
    let (record, headers, body) = found.ok_or(ApiError::NoCall(id))?;
    let cut = record.end.as_deref() == Some("output");
    let ended = record.ended_at.is_some() && record.status.is_some();
    Ok(Json(CallDetail {
        answer: ended.then(|| answer(headers, body, cut)),
        summary: control.call_summary(record),
    }))
}

/// The calls in the queue, the newest first, and what it holds of each function.
#[utoipa::path(get, path = "/hob/v1/queue", tag = "queue", params(Keys),
    responses((status = 200, body = QueueList), Bad))]
pub(super) async fn list(
    State(control): State<Arc<Control>>,
    Asked(Keys {
        state,
        function,
        limit,
    }): Asked<Keys>,
) -> Result<Json<QueueList>, ApiError> {
    let limit = limit.unwrap_or(LISTED).min(MOST_LISTED);
    let meant = |name: &FunctionName| function.as_ref().is_none_or(|function| function == name);
    let records = control.records(state, function.clone(), limit + 1).await?;
    let more = records.len() > limit as usize;
    let calls = records.into_iter().take(limit as usize);
    let calls = calls
        .map(|record| control.call_summary(record))
        // Meanwhile it may have gone on.
        .filter(|call| state.is_none_or(|state| state == call.state) && meant(&call.function));
    let depths = control.queue_depths().into_iter();
    Ok(Json(QueueList {
        calls: calls.collect(),
        more,
        functions: depths.filter(|depth| meant(&depth.function)).collect(),
    }))
}

/// Has a dead letter made anew.
#[utoipa::path(post, path = "/hob/v1/calls/{id}/retry", tag = "calls", params(NamedCall, Whose),
    responses((status = 200, body = CallsChanged), Bad, Missing, Conflict))]
pub(super) async fn retry(
    State(control): State<Arc<Control>>,
    Segment(id): Segment,
    Asked(whose): Asked<Whose>,
) -> Result<Json<CallsChanged>, ApiError> {
    match control.queue.retry_call(id.clone(), whose.function).await? {
        Some(Ok(())) => Ok(Json(CallsChanged { calls: 1 })),
        Some(Err(state)) => Err(ApiError::NotDead {
            id,
            state: state.as_str(),
        }),
        None => Err(ApiError::NoCall(id)),
    }
}

/// Drops a call, wherever it stands.
#[utoipa::path(delete, path = "/hob/v1/calls/{id}", tag = "calls", params(NamedCall, Whose),
    responses((status = 204), Bad, Missing))]
pub(super) async fn remove(
    State(control): State<Arc<Control>>,
    Segment(id): Segment,
    Asked(whose): Asked<Whose>,
) -> Result<StatusCode, ApiError> {
    drop_call(&control, id, whose.function).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Has dead letters made anew, of one function or of all.
#[utoipa::path(post, path = "/hob/v1/queue/retry", tag = "queue", params(Letters),
    responses((status = 200, body = CallsChanged), Bad))]
pub(super) async fn retry_dead(
    State(control): State<Arc<Control>>,
    Asked(keys): Asked<Letters>,
) -> Result<Json<CallsChanged>, ApiError> {
    about_all(&keys);
    only_dead(keys.state)?;
    let calls = control.queue.retry_dead(keys.function).await?;
    Ok(Json(CallsChanged { calls }))
}

/// Drops dead letters, of one function or of all, or the calls of one function that wait.
#[utoipa::path(delete, path = "/hob/v1/queue", tag = "queue", params(Letters),
    responses((status = 200, body = CallsChanged), Bad))]
pub(super) async fn drop_dead(
    State(control): State<Arc<Control>>,
    Asked(keys): Asked<Letters>,
) -> Result<Json<CallsChanged>, ApiError> {
    about_all(&keys);
    let state = match (keys.state, &keys.function) {
        (Some(CallPhase::Waiting), Some(_)) => CallState::Waiting,
        (Some(CallPhase::Waiting), None) => {
            return Err(ApiError::Bad(
                "calls that wait are dropped of one function at a time: add function=NAME".into(),
            ));
        }
        (state, _) => {
            only_dead(state)?;
            CallState::Dead
        }
    };
    let calls = control.queue.drop_many(state, keys.function).await?;
    Ok(Json(CallsChanged { calls }))
}

/// Calls of one function, or of all.
fn about_all(keys: &Letters) {
    if let Some(function) = &keys.function {
        about(function);
    }
}

fn only_dead(state: Option<CallPhase>) -> Result<(), ApiError> {
    match state {
        None | Some(CallPhase::Dead) => Ok(()),
        Some(_) => Err(ApiError::Bad(
            "many calls at once are retried only if they are dead letters, and dropped only if they are or wait".into(),
        )),
    }
}

async fn drop_call(
    control: &Control,
    id: String,
    function: Option<FunctionName>,
) -> Result<(), ApiError> {
    match control.queue.drop_call(id.clone(), function).await? {
        true => Ok(()),
        false => Err(ApiError::NoCall(id)),
    }
}

fn answer(headers: Fields, body: Vec<u8>, cut: bool) -> CallAnswer {
    let (text, base64) = match String::from_utf8(body) {
        Ok(text) => (Some(text), None),
        Err(error) => (None, Some(STANDARD.encode(error.as_bytes()))),
    };
    let headers = headers.into_iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(&value).into_owned();
        (name, value)
    });
    CallAnswer {
        headers: headers.collect(),
        text,
        base64,
        cut,
    }
}

impl Control {
    /// The newest calls in a state, or all. Calls that run are found in memory, since they wait as
    /// far as the disk knows.
    async fn records(
        &self,
        state: Option<CallPhase>,
        function: Option<FunctionName>,
        limit: u32,
    ) -> Result<Vec<CallRecord>, ApiError> {
        let state = match state {
            Some(CallPhase::Running) => {
                let mut running = self.queue.running();
                running.sort_unstable_by(|a, b| b.cmp(a));
                return Ok(self.queued(move |calls| calls.records(&running)).await?);
            }
            Some(CallPhase::Waiting) => Some(CallState::Waiting),
            Some(CallPhase::Callback) => Some(CallState::Callback),
            Some(CallPhase::Done) => Some(CallState::Done),
            Some(CallPhase::Dead) => Some(CallState::Dead),
            None => None,
        };
        let asked = Listing {
            state,
            function,
            limit,
        };
        Ok(self.queued(move |calls| calls.list(&asked)).await?)
    }

    fn call_summary(&self, record: CallRecord) -> CallSummary {
        let state = match record.state {
            CallState::Waiting if self.queue.is_running(record.seq) => CallPhase::Running,
            CallState::Waiting => CallPhase::Waiting,
            CallState::Callback => CallPhase::Callback,
            CallState::Done => CallPhase::Done,
            CallState::Dead => CallPhase::Dead,
        };
        let waits = matches!(state, CallPhase::Waiting | CallPhase::Callback);
        CallSummary {
            id: record.id,
            function: record.function,
            state,
            path: record.target,
            taken_at: system_time(record.taken_at),
            due_at: waits.then(|| system_time(record.due_at)),
            ended_at: record.ended_at.map(system_time),
            attempts: record.attempts,
            status: record.status,
            end: record.end,
            millis: record.millis.map(i64::unsigned_abs),
            problem: record.problem,
            callback: record.callback.map(|url| CallCallback {
                url,
                attempts: record.callback_attempts,
                problem: record.callback_problem,
            }),
        }
    }
}

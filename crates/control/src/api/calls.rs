//! Asynchronous calls: taken for anybody, shown and changed for the owner.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Json,
    body::Body,
    extract::{Path, Request, State},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::StreamExt;
use hob_model::{
    CallIds, Function, FunctionName, Run,
    wire::{
        CallAnswer, CallCallback, CallDetail, CallPhase, CallSummary, CallsChanged, QueueDepth,
        QueueList,
    },
};
use hob_store::{CallRecord, CallState, Fields, Listing, NewCall};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use serde::Deserialize;
use tokio::{sync::OwnedSemaphorePermit, time::timeout};

use super::{error::ApiError, request::Asked};
use crate::{
    Control,
    queue::{check_url, unix_now},
};

/// Where calls to be made later come in.
pub(super) const LATER: &str = "/async-function/";
const CALL_ID: HeaderName = HeaderName::from_static("x-call-id");
const START_TIME: HeaderName = HeaderName::from_static("x-start-time");
const CALLBACK: HeaderName = HeaderName::from_static("x-callback-url");
/// Longest wait for the next part of a body.
const STALL: Duration = Duration::from_secs(30);
/// What a call takes of memory beside its body and fields, in bytes.
const OVERHEAD: usize = 1 << 10;
/// Calls in a list, unless another number is asked for.
const LISTED: u32 = 100;
/// Most calls in a list.
const MOST_LISTED: u32 = 1000;
/// Speak of the connection that the call came by, or of how its body was sent.
const OF_THE_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// `?state=dead&function=NAME&limit=N`
#[derive(Deserialize)]
pub(super) struct Keys {
    state: Option<CallPhase>,
    function: Option<FunctionName>,
    limit: Option<u32>,
}

/// Takes a call: 202 once it is on the disk.
pub(super) async fn take(
    State(control): State<Arc<Control>>,
    request: Request,
) -> Result<Response, ApiError> {
    let (head, body) = request.into_parts();
    let (function, target) = meant(&control, &head.uri)?;
    let callback = callback(&head.headers)?;
    let limit = body_limit(&control, &function);
    let (body, room) = receive(&control, &function.name, &head.headers, body, limit).await?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let id = id(&control, &head.headers);
    let call = NewCall {
        id: id.clone(),
        function: function.name.clone(),
        target,
        headers: fields(&head.headers),
        body,
        callback,
        taken_at: unix_now(),
    };
    control.enqueue(call).await?;
    drop(room);
    let start = now.unwrap_or_default().as_nanos().to_string();
    let start = head.headers.get(START_TIME).cloned().map_or_else(
        || HeaderValue::from_str(&start).unwrap_or(HeaderValue::from_static("0")),
        |given| given,
    );
    let id = HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("-"));
    Ok((StatusCode::ACCEPTED, [(CALL_ID, id), (START_TIME, start)]).into_response())
}

/// What OpenFaaS calls cancelling: the call is dropped unless it is over.
pub(super) async fn cancel(
    State(control): State<Arc<Control>>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    drop_call(&control, id).await?;
    Ok(StatusCode::ACCEPTED)
}

pub(super) async fn show(
    State(control): State<Arc<Control>>,
    Path(id): Path<String>,
) -> Result<Json<CallDetail>, ApiError> {
    let asked = id.clone();
    let found = control.queued(move |calls| calls.find(&asked)).await?;
    let (record, headers, body) = found.ok_or(ApiError::NoCall(id))?;
    let cut = record.end.as_deref() == Some("output");
    let ended = record.ended_at.is_some() && record.status.is_some();
    Ok(Json(CallDetail {
        answer: ended.then(|| answer(headers, body, cut)),
        summary: control.call_summary(record),
    }))
}

pub(super) async fn list(
    State(control): State<Arc<Control>>,
    Asked(Keys {
        state,
        function,
        limit,
    }): Asked<Keys>,
) -> Result<Json<QueueList>, ApiError> {
    let limit = limit.unwrap_or(LISTED).min(MOST_LISTED);
    let asked = Listing {
        state: state.map(|state| match state {
            CallPhase::Waiting | CallPhase::Running => CallState::Waiting,
            CallPhase::Callback => CallState::Callback,
            CallPhase::Done => CallState::Done,
            CallPhase::Dead => CallState::Dead,
        }),
        function: function.clone(),
        limit: limit + 1,
    };
    let records = control.queued(move |calls| calls.list(&asked)).await?;
    let more = records.len() > limit as usize;
    let calls = records.into_iter().take(limit as usize);
    let calls = calls
        .map(|record| control.call_summary(record))
        .filter(|call| state.is_none_or(|state| state == call.state));
    let about = |depth: &QueueDepth| function.as_ref().is_none_or(|name| *name == depth.function);
    Ok(Json(QueueList {
        calls: calls.collect(),
        more,
        functions: control.queue_depths().into_iter().filter(about).collect(),
    }))
}

pub(super) async fn retry(
    State(control): State<Arc<Control>>,
    Path(id): Path<String>,
) -> Result<Json<CallsChanged>, ApiError> {
    match control.queue.retry_call(id.clone()).await? {
        Some(Ok(())) => Ok(Json(CallsChanged { calls: 1 })),
        Some(Err(state)) => Err(ApiError::NotDead {
            id,
            state: state.as_str(),
        }),
        None => Err(ApiError::NoCall(id)),
    }
}

pub(super) async fn remove(
    State(control): State<Arc<Control>>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    drop_call(&control, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Dead letters, of one function or of all.
pub(super) async fn retry_dead(
    State(control): State<Arc<Control>>,
    Asked(keys): Asked<Keys>,
) -> Result<Json<CallsChanged>, ApiError> {
    let calls = control.queue.retry_dead(keys.function).await?;
    Ok(Json(CallsChanged { calls }))
}

/// Dead letters, of one function or of all.
pub(super) async fn drop_dead(
    State(control): State<Arc<Control>>,
    Asked(keys): Asked<Keys>,
) -> Result<Json<CallsChanged>, ApiError> {
    let calls = control.queue.drop_dead(keys.function).await?;
    Ok(Json(CallsChanged { calls }))
}

async fn drop_call(control: &Control, id: String) -> Result<(), ApiError> {
    match control.queue.drop_call(id.clone()).await? {
        true => Ok(()),
        false => Err(ApiError::NoCall(id)),
    }
}

/// The function in the path, and what follows its name, byte for byte.
fn meant(control: &Control, uri: &Uri) -> Result<(Arc<Function>, String), ApiError> {
    let whole = uri.path_and_query().map_or("", |path| path.as_str());
    let rest = whole.strip_prefix(LATER).unwrap_or_default();
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (name, target) = rest.split_at(end);
    let name: FunctionName = name
        .parse()
        .map_err(|error: hob_model::NameError| ApiError::Bad(error.to_string()))?;
    let function = control.function(&name)?;
    if matches!(function.revision.run, Run::Static { .. }) {
        return Err(ApiError::Bad(format!(
            "function `{name}` is a folder of files: there is nothing to call later"
        )));
    }
    Ok((function, target.to_owned()))
}

/// Where the answer goes, if anywhere.
fn callback(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(url) = headers.get(CALLBACK) else {
        return Ok(None);
    };
    let url = String::from_utf8_lossy(url.as_bytes()).into_owned();
    check_url(&url).map_err(ApiError::Bad)?;
    Ok(Some(url))
}

/// What the queue takes, or less where the function does.
fn body_limit(control: &Control, function: &Function) -> (u64, String) {
    let own = function.revision.settings.limits.body.0;
    let queue = control.queue.body_limit();
    if own < queue {
        (own, "raise `limits.body` in its hob.toml".to_owned())
    } else {
        (queue, "raise `async_body` of the server".to_owned())
    }
}

/// The whole body, and the room that it has in memory.
async fn receive(
    control: &Control,
    function: &FunctionName,
    headers: &HeaderMap,
    body: Body,
    (limit, cure): (u64, String),
) -> Result<(Vec<u8>, Vec<OwnedSemaphorePermit>), ApiError> {
    let too_large = || {
        ApiError::TooLarge(format!(
            "asynchronous calls of `{function}` take bodies of at most {limit} bytes: {cure}"
        ))
    };
    let announced = headers.get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let of_head = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len());
    let of_head = of_head.sum::<usize>() + OVERHEAD;
    let room = |bytes| control.queue.room(bytes).ok_or(ApiError::ManyCalls);
    let (mut whole, mut rooms) = (Vec::new(), vec![room(of_head)?]);
    let mut parts = body.into_data_stream();
    loop {
        let part = timeout(STALL, parts.next()).await;
        let Some(part) = part.map_err(|_| stalled())? else {
            return Ok((whole, rooms));
        };
        let part =
            part.map_err(|error| ApiError::Bad(format!("the body did not arrive whole: {error}")))?;
        if (whole.len() + part.len()) as u64 > limit {
            return Err(too_large());
        }
        rooms.push(room(part.len())?);
        whole.extend_from_slice(&part);
    }
}

fn stalled() -> ApiError {
    ApiError::TooSlow(format!("the body stood still for {} s", STALL.as_secs()))
}

/// The call's name, which the gateway has settled unless the call came by the local socket.
fn id(control: &Control, headers: &HeaderMap) -> String {
    let given = headers.get(CALL_ID).map(HeaderValue::as_bytes);
    let given = given.filter(|id| CallIds::accepts(id));
    given.map_or_else(
        || control.queue.new_id(),
        |id| String::from_utf8_lossy(id).into_owned(),
    )
}

/// What the function is to see of the request's fields.
fn fields(headers: &HeaderMap) -> Fields {
    let kept = headers
        .iter()
        .filter(|(name, _)| !OF_THE_HOP.contains(name));
    let texts = kept.map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes());
        (name.as_str().to_owned(), value.into_owned())
    });
    texts.collect()
}

fn answer(headers: Fields, body: Vec<u8>, cut: bool) -> CallAnswer {
    let (text, base64) = match String::from_utf8(body) {
        Ok(text) => (Some(text), None),
        Err(error) => (None, Some(STANDARD.encode(error.as_bytes()))),
    };
    CallAnswer {
        headers,
        text,
        base64,
        cut,
    }
}

impl Control {
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
            taken_at: time(record.taken_at),
            due_at: waits.then(|| time(record.due_at)),
            ended_at: record.ended_at.map(time),
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

/// A time of the disk.
fn time(millis: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(millis.unsigned_abs())
}

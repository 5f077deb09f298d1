//! Calls that are taken for anybody now, and made later.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
    routing::post,
};
use futures_util::StreamExt;
use hob_model::{CallIds, Function, FunctionName, NameError, Run, Timespan, wire::CallId};
use hob_store::{NewCall, StoreError, clock::unix_now};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header, request::Parts};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout_at},
};

use super::{
    error::ApiError,
    guarded::{Guarded, Policy},
    refusals::{Bad, DiskFull, Failed, Missing, Stopping, TooDeep, TooLarge, TooOften, TooSlow},
    request::NamedFunction,
};
use crate::{
    Control,
    queue::{EnqueueError, check_url, fields},
};

/// Where calls to be made later come in.
const PATH: &str = "/async-function/";
const CALL_ID: HeaderName = HeaderName::from_static("x-call-id");
const START_TIME: HeaderName = HeaderName::from_static("x-start-time");
const CALLBACK: HeaderName = HeaderName::from_static("x-callback-url");
/// Longest wait for the next part of a body.
const STALL: Duration = Duration::from_secs(30);
/// Memory for a body is taken in steps of so many bytes.
const ROOM_STEP: usize = 1 << 10;
/// What a call takes of memory beside its body and fields, in bytes.
const OVERHEAD: usize = 1 << 10;

/// Takes a call that is made later.
///
/// 202 once it is on the disk. What follows the function's name, further segments of the path and
/// the query, is the function's, as in a call of now. With `X-Callback-Url`, the answer is sent
/// there by `POST`.
#[utoipa::path(post, path = "/async-function/{name}", tag = "async-function",
    params(NamedFunction,
        ("X-Call-Id" = Option<CallId>, Header, description = "Else a new one is made up"),
        ("X-Callback-Url" = Option<String>, Header, description = "Where the answer goes")),
    request_body(content_type = "application/octet-stream"),
    responses(
        (status = 202, headers(
            ("X-Call-Id" = CallId, description = "The call's id"),
            ("X-Start-Time" = String, description = "Nanoseconds since 1970"))),
        Bad, Missing, TooSlow, TooLarge, TooOften, Failed, Stopping, DiskFull, TooDeep))]
pub(super) async fn take(
    State(control): State<Arc<Control>>,
    request: Request,
) -> Result<Response, ApiError> {
    let (head, body) = request.into_parts();
    let (function, target) = meant(&control, &head.uri)?;
    let callback = callback(&head.headers)?;
    let limit = body_limit(&control, &function);
    let (body, room) = receive(&control, &function, &head, body, limit).await?;
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
    control.enqueue(call).await.map_err(for_strangers)?;
    drop(room);
    let given = head.headers.get(START_TIME).cloned();
    let start = given.unwrap_or_else(now);
    let id = HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("-"));
    Ok((StatusCode::ACCEPTED, [(CALL_ID, id), (START_TIME, start)]).into_response())
}

/// The paths of a call that say more than the function's name: no document of OpenAPI can have a
/// parameter of several segments.
pub(super) fn aliases() -> Guarded {
    let (bare, more) = ("/async-function/{name}/", "/async-function/{name}/{*rest}");
    Guarded::default()
        .beside(Policy::Open, bare, post(take))
        .beside(Policy::Open, more, post(take))
}

/// Anybody may call: what the disk said, and what is in the queue, is for the owner, to whom the
/// queue tells it by itself.
fn for_strangers(error: EnqueueError) -> ApiError {
    match error {
        EnqueueError::Full(_) => ApiError::NoRoom,
        EnqueueError::Stopping => ApiError::Stopping,
        EnqueueError::Store(error) => {
            if matches!(error, StoreError::DiskFull { .. }) {
                return ApiError::CallDiskFull;
            }
            let soon = matches!(error, StoreError::Busy { .. } | StoreError::Crowded { .. });
            ApiError::NotStored { soon }
        }
    }
}

/// Nanoseconds since 1970.
fn now() -> HeaderValue {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = since.unwrap_or_default().as_nanos();
    HeaderValue::from(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// The function in the path, and what follows its name, byte for byte.
fn meant(control: &Control, uri: &Uri) -> Result<(Arc<Function>, String), ApiError> {
    let whole = uri.path_and_query().map_or("", |path| path.as_str());
    let rest = whole.strip_prefix(PATH).unwrap_or_default();
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (name, target) = rest.split_at(end);
    let name: FunctionName = name
        .parse()
        .map_err(|error: NameError| ApiError::Bad(error.to_string()))?;
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
fn body_limit(control: &Control, function: &Function) -> (u64, &'static str) {
    let own = function.revision.settings.limits.body.0;
    let queue = control.queue.body_limit();
    if own < queue {
        (own, "raise `limits.body` in its hob.toml")
    } else {
        (queue, "raise `async_body` of the server")
    }
}

/// The whole body, and the room that it has in memory.
async fn receive(
    control: &Control,
    function: &Function,
    head: &Parts,
    body: Body,
    (limit, cure): (u64, &'static str),
) -> Result<(Vec<u8>, OwnedSemaphorePermit), ApiError> {
    let name = &function.name;
    let too_large = || {
        ApiError::TooLarge(format!(
            "asynchronous calls of `{name}` take bodies of at most {limit} bytes: {cure}"
        ))
    };
    let announced = head.headers.get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let room = |bytes| control.queue.room(bytes).ok_or(ApiError::ManyCalls);
    let mut held = room(size_of_head(head) + OVERHEAD)?;
    let mut whole = Vec::new();
    let mut parts = body.into_data_stream();
    let timeout = function.revision.settings.timeout;
    let deadline = Instant::now() + timeout.0;
    loop {
        let patience = deadline.min(Instant::now() + STALL);
        let part = timeout_at(patience, parts.next()).await;
        let part = part.map_err(|_| match patience == deadline {
            true => overdue(timeout),
            false => stalled(),
        })?;
        let Some(part) = part else {
            return Ok((whole, held));
        };
        let part =
            part.map_err(|error| ApiError::Bad(format!("the body did not arrive whole: {error}")))?;
        let length = whole.len() + part.len();
        if length as u64 > limit {
            return Err(too_large());
        }
        // For the body as a whole: of many small parts each would take as much as a large one.
        let more = length.div_ceil(ROOM_STEP) - whole.len().div_ceil(ROOM_STEP);
        if more > 0 {
            held.merge(room(more * ROOM_STEP)?);
        }
        whole.extend_from_slice(&part);
    }
}

fn size_of_head(head: &Parts) -> usize {
    let fields = head.headers.iter();
    let fields: usize = fields
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    fields
        + head
            .uri
            .path_and_query()
            .map_or(0, |path| path.as_str().len())
}

fn overdue(timeout: Timespan) -> ApiError {
    ApiError::TooSlow(format!(
        "the body did not arrive within the function's timeout of {timeout}"
    ))
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

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use hob_model::{Backend, BackendLease, End, EndReason, ReplicaSet, Route};
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;

use crate::{
    answer::{Beginning, Hold},
    body::{Answer, OverLimit, RequestBody},
    call::Call,
    client::Client,
    error::GatewayError,
    headers,
    lease::lease,
    outlet::Outlet,
    pace::TooSlow,
    retry::{self, Contact, Repeat, Tries},
    upstream::{ExchangeError, Upstream},
};

/// A replica's own `Keep-Alive: timeout` is undercut by this, so that hob closes first.
const KEEP_ALIVE_MARGIN: Duration = Duration::from_secs(1);

/// One attempt's result, when it was not an error.
enum Attempt {
    Answered(Response<Answer>),
    /// Nothing was sent: the request is whole.
    Unsent(Request<RequestBody>),
    /// The replica closed the connection before the head of its answer was whole.
    Unanswered(Contact, Option<BackendLease>),
}

/// Takes a call to a replica and brings the head of its answer back.
pub(crate) async fn forward(
    call: &mut Call,
    replicas: &ReplicaSet,
    mut request: Request<RequestBody>,
) -> Result<Response<Answer>, GatewayError> {
    let mut way = Contact::Kept;
    let mut tries = Tries::default();
    while tries.next() {
        let lease = lease(call, replicas).await?;
        let backend = Arc::clone(&lease);
        let copy = tries.may_repeat().then(|| copy(call, &request)).flatten();
        request = match attempt(call, lease, request, way).await? {
            Attempt::Answered(response) => return Ok(response),
            Attempt::Unsent(back) => {
                tries.refused(call, replicas, &backend).await;
                back
            }
            Attempt::Unanswered(contact, _told) => {
                way = Contact::New;
                let repeat = copy.as_ref().map_or(Repeat::Never, |_| Repeat::May);
                let again = tries.unanswered(call, replicas, &backend, (contact, repeat));
                match (again.await, copy) {
                    (true, Some(copy)) => copy,
                    _ => return Err(retry::hung_up(call, &backend).await),
                }
            }
        };
    }
    Err(retry::deaf(call))
}

/// The request once more, if it may be sent twice and none of it streams.
fn copy(call: &Call, request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    if !request.method().is_idempotent() || !request.body().is_end_stream() {
        return None;
    }
    let mut copy = Request::new(RequestBody::empty(&call.client));
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

/// A new connection to a ready replica, for a call that cannot share one.
pub(crate) async fn connected(
    call: &mut Call,
    replicas: &ReplicaSet,
) -> Result<(BackendLease, Outlet), GatewayError> {
    let mut tries = Tries::default();
    while tries.next() {
        let lease = lease(call, replicas).await?;
        let outlet = Outlet::connect(&lease.endpoint);
        match tokio::time::timeout_at(call.deadline.into(), outlet).await {
            Ok(Ok(outlet)) => return Ok((lease, outlet)),
            Ok(Err(_)) => {
                let backend = Arc::clone(&lease);
                drop(lease);
                tries.refused(call, replicas, &backend).await;
            }
            Err(_) => return Err(overdue(call, &lease)),
        }
    }
    Err(retry::deaf(call))
}

async fn attempt(
    call: &mut Call,
    lease: BackendLease,
    mut request: Request<RequestBody>,
    way: Contact,
) -> Result<Attempt, GatewayError> {
    let client = std::rc::Rc::clone(&call.client);
    let mut now = Instant::now();
    loop {
        let pool = &client.worker().pool;
        let kept = (way == Contact::Kept).then(|| pool.take(&lease, now));
        let pooled = kept.flatten();
        let fresh = pooled.is_none();
        let mut upstream = match pooled {
            Some(upstream) => upstream,
            None => match connect(call, &lease).await? {
                Some(upstream) => upstream,
                None => return Ok(Attempt::Unsent(request)),
            },
        };
        call.receipt.sent = Some(now);
        match upstream.exchange(request, call.deadline).await {
            Ok(response) => {
                let response = receive(call, lease, upstream, response).await?;
                return Ok(Attempt::Answered(response));
            }
            Err(ExchangeError::Unsent(back)) if fresh => return Ok(Attempt::Unsent(*back)),
            // The replica had closed this idle connection; others may be alive.
            Err(ExchangeError::Unsent(back)) => request = *back,
            Err(ExchangeError::Broken(error)) => {
                let contact = if fresh { Contact::New } else { Contact::Kept };
                return match misread(call, &error) {
                    Some(error) => Err(error),
                    None => Ok(Attempt::Unanswered(contact, retry::until_told(lease))),
                };
            }
            // The caller's fault, and no reason to report a replica.
            Err(ExchangeError::Overdue) if call.owes() => return Err(GatewayError::SlowBody),
            Err(ExchangeError::Overdue) => return Err(overdue(call, &lease)),
        }
        now = Instant::now();
    }
}

/// A new connection; `None` when the replica does not accept one.
async fn connect(call: &Call, lease: &BackendLease) -> Result<Option<Box<Upstream>>, GatewayError> {
    let builder = &call.client.worker().upstreams;
    let connected = async {
        let outlet = Outlet::connect(&lease.endpoint).await.ok()?;
        Upstream::new(builder, outlet, call.deadline).await.ok()
    };
    let connected = tokio::time::timeout_at(call.deadline.into(), connected).await;
    let upstream = connected.map_err(|_| overdue(call, lease))?;
    Ok(upstream.map(Box::new))
}

async fn receive(
    call: &Call,
    lease: BackendLease,
    upstream: Box<Upstream>,
    response: Response<Incoming>,
) -> Result<Response<Answer>, GatewayError> {
    let (mut head, body) = response.into_parts();
    call.is_answered();
    let body = Beginning::of(body).await;
    // Before the caller has seen a byte of it.
    if body.is_over(call.route.output_limit) {
        return Err(too_much(call, &lease));
    }
    let hold = Hold {
        upstream: Some(upstream),
        lease,
        route: call.route.hand_over(head.status),
        client: std::rc::Rc::clone(&call.client),
        deadline: call.deadline,
        keep_alive: head
            .headers
            .get("keep-alive")
            .and_then(|value| keep_alive(value.to_str().ok()?)),
        waits: false,
    };
    headers::strip_hop_by_hop(&mut head.headers);
    head.extensions.clear();
    head.version = http::Version::HTTP_11;
    Ok(Response::from_parts(head, hold.answer(body)))
}

/// `Keep-Alive: timeout=5`, as Node sends it.
pub(crate) fn keep_alive(value: &str) -> Option<Duration> {
    let mut members = value.split(',').map(str::trim);
    let seconds = members.find_map(|member| member.strip_prefix("timeout="))?;
    let timeout = Duration::from_secs(seconds.parse().ok()?);
    Some(timeout.saturating_sub(KEEP_ALIVE_MARGIN))
}

/// The deadline passed at the replica: it is reported, and its work killed.
pub(crate) fn overdue(call: &Call, lease: &BackendLease) -> GatewayError {
    condemn(&call.client, &call.route, lease, EndReason::Timeout);
    GatewayError::overdue(&call.route)
}

/// The replica answers with more than it may: it is reported.
pub(crate) fn too_much(call: &Call, lease: &BackendLease) -> GatewayError {
    condemn(&call.client, &call.route, lease, EndReason::Output);
    GatewayError::too_much(&call.route)
}

/// Has a replica taken out of service for what it did to a call.
pub(crate) fn condemn(client: &Client, route: &Route, lease: &BackendLease, why: EndReason) {
    // Where it has no other calls, that ends with the lease.
    if lease.blame(why) {
        return;
    }
    client
        .worker()
        .wake
        .condemn(&route.function, &lease.id, why);
}

/// Says what broke a call that the replica had seen at least a part of.
pub(crate) async fn broken(call: &Call, backend: &Backend, error: &hyper::Error) -> GatewayError {
    match misread(call, error) {
        Some(error) => error,
        None => retry::hung_up(call, backend).await,
    }
}

/// What is wrong with the request or the answer; `None` when the replica gave no answer.
fn misread(call: &Call, error: &hyper::Error) -> Option<GatewayError> {
    if error.is_user() {
        // The request's own body failed, not the replica.
        let cause = error.source();
        return Some(if cause.is_some_and(|cause| cause.is::<OverLimit>()) {
            GatewayError::too_large(&call.route)
        } else if cause.is_some_and(|cause| cause.is::<TooSlow>()) {
            GatewayError::SlowBody
        } else {
            GatewayError::BadRequest("the request's body broke off")
        });
    }
    error.is_parse().then(|| garbled(call))
}

/// The replica's answer could not be read.
pub(crate) fn garbled(call: &Call) -> GatewayError {
    let words = "answered with something that is not HTTP/1.1";
    GatewayError::ended(&call.route, End::new(EndReason::Exit, words))
}

/// Why an answer broke off, as far as that is known by now.
pub(crate) fn broken_off(backend: &Backend) -> EndReason {
    backend.ended().map_or(EndReason::Exit, |end| end.reason)
}

use std::{
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};

use hob_model::{Backend, BackendLease, End, EndReason, ReplicaSet, Route, Target};
use http::{Request, Response};
use hyper::body::Incoming;

use crate::{
    answer::Hold,
    body::{Answer, OverLimit, RequestBody},
    call::Call,
    error::GatewayError,
    headers,
    outlet::Outlet,
    upstream::{ExchangeError, Upstream},
};

/// Replicas that one call tries, as long as none of them has read a byte of it.
pub(crate) const ATTEMPTS: usize = 4;
/// How long a broken call waits for the engine's word on how the replica ended.
const LAST_WORDS: Duration = Duration::from_millis(250);
/// How often it looks meanwhile.
const LAST_WORDS_STEP: Duration = Duration::from_millis(5);
/// A replica's own `Keep-Alive: timeout` is undercut by this, so that hob closes first.
const KEEP_ALIVE_MARGIN: Duration = Duration::from_secs(1);

/// One attempt's result, when it was not an error.
enum Attempt {
    Answered(Response<Answer>),
    /// Nothing was sent: the request is whole.
    Unsent(Request<RequestBody>),
}

/// Takes a call to a replica and brings the head of its answer back.
pub(crate) async fn forward(
    call: &mut Call,
    replicas: &ReplicaSet,
    mut request: Request<RequestBody>,
) -> Result<Response<Answer>, GatewayError> {
    for _ in 0..ATTEMPTS {
        let lease = lease(call, replicas).await?;
        let backend = Arc::clone(&lease);
        match attempt(call, lease, request).await? {
            Attempt::Answered(response) => return Ok(response),
            Attempt::Unsent(back) => request = back,
        }
        // Somebody has to notice that it is gone, or the next lease leads there again.
        last_words(&backend, call.deadline).await;
    }
    Err(deaf(call))
}

/// A new connection to a ready replica, for a call that cannot share one.
pub(crate) async fn connected(
    call: &mut Call,
    replicas: &ReplicaSet,
) -> Result<(BackendLease, Outlet), GatewayError> {
    for _ in 0..ATTEMPTS {
        let lease = lease(call, replicas).await?;
        let outlet = Outlet::connect(&lease.endpoint);
        match tokio::time::timeout_at(call.deadline.into(), outlet).await {
            Ok(Ok(outlet)) => return Ok((lease, outlet)),
            Ok(Err(_)) => last_words(&lease, call.deadline).await,
            Err(_) => return Err(overdue(call, &lease)),
        }
    }
    Err(deaf(call))
}

pub(crate) fn deaf(call: &Call) -> GatewayError {
    let end = End::new(EndReason::Exit, "does not accept connections");
    GatewayError::ended(&call.route, end)
}

/// A hold on a ready replica. Wakes the function when it has none.
pub(crate) async fn lease(
    call: &mut Call,
    replicas: &ReplicaSet,
) -> Result<BackendLease, GatewayError> {
    if let Some(lease) = replicas.lease() {
        return Ok(lease);
    }
    let asked = Instant::now();
    let client = Arc::clone(&call.client.worker().wake);
    let woken = wake_until_leased(call, replicas, &*client);
    let lease = tokio::time::timeout_at(call.deadline.into(), woken).await;
    call.receipt.wake += asked.elapsed();
    lease.unwrap_or_else(|_| {
        Err(GatewayError::StartOverdue {
            function: call.route.function.to_string(),
            timeout: call.route.timeout,
        })
    })
}

async fn wake_until_leased(
    call: &Call,
    replicas: &ReplicaSet,
    wake: &dyn hob_model::port::Wake,
) -> Result<BackendLease, GatewayError> {
    let function = &call.route.function;
    let routes = &call.client.worker().routes;
    let mut moved: Option<Arc<Route>> = None;
    for _ in 0..ATTEMPTS {
        let route: &Arc<Route> = moved.as_ref().unwrap_or(&call.route);
        let woken = wake.wake(&route.fleet()).await;
        // A replica may end between its start and this line.
        let lease = match &moved {
            None => replicas.lease(),
            Some(route) => lease_of(route),
        };
        if let Some(lease) = lease {
            return Ok(lease);
        }
        match routes.get(function) {
            // A canary has ended or taken over meanwhile: whoever answers now does.
            Some(now) if !now.leads_to(route) => moved = Some(now),
            _ => woken.map_err(|error| GatewayError::NotStarted {
                function: function.to_string(),
                reason: error.reason,
                message: error.message.to_string(),
            })?,
        }
    }
    Err(GatewayError::NotStarted {
        function: function.to_string(),
        reason: EndReason::Exit,
        message: "each replica ended as soon as it was ready".to_owned(),
    })
}

fn lease_of(route: &Route) -> Option<BackendLease> {
    match &route.target {
        Target::Replicas(replicas) => replicas.lease(),
        Target::Static(_) => None,
    }
}

async fn attempt(
    call: &mut Call,
    lease: BackendLease,
    mut request: Request<RequestBody>,
) -> Result<Attempt, GatewayError> {
    let client = std::rc::Rc::clone(&call.client);
    let mut now = Instant::now();
    loop {
        let pooled = client.worker().pool.take(&lease, now);
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
                let response = receive(call, lease, upstream, response).await;
                return Ok(Attempt::Answered(response));
            }
            Err(ExchangeError::Unsent(back)) if fresh => return Ok(Attempt::Unsent(*back)),
            // The replica had closed this idle connection; others may be alive.
            Err(ExchangeError::Unsent(back)) => request = *back,
            Err(ExchangeError::Broken(error)) => return Err(broken(call, &lease, &error).await),
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
) -> Response<Answer> {
    let (mut head, body) = response.into_parts();
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
    };
    headers::strip_hop_by_hop(&mut head.headers);
    head.extensions.clear();
    head.version = http::Version::HTTP_11;
    Response::from_parts(head, hold.answer(body).await)
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
    let wake = &call.client.worker().wake;
    wake.overdue(&call.route.function, &lease.id);
    GatewayError::overdue(&call.route)
}

/// Says what broke a call that the replica had seen at least a part of.
pub(crate) async fn broken(call: &Call, backend: &Backend, error: &hyper::Error) -> GatewayError {
    if error.is_user() {
        // The request's own body failed, not the replica.
        let over = error.source().is_some_and(|cause| cause.is::<OverLimit>());
        return if over {
            GatewayError::too_large(&call.route)
        } else {
            GatewayError::BadRequest("the request's body broke off")
        };
    }
    if error.is_parse() {
        return garbled(call);
    }
    hung_up(call, backend).await
}

/// The replica's answer could not be read.
pub(crate) fn garbled(call: &Call) -> GatewayError {
    let words = "answered with something that is not HTTP/1.1";
    GatewayError::ended(&call.route, End::new(EndReason::Exit, words))
}

/// The replica closed the connection and left a call without an answer.
pub(crate) async fn hung_up(call: &Call, backend: &Backend) -> GatewayError {
    last_words(backend, call.deadline).await;
    let end = match backend.ended() {
        Some(end) => End::new(
            end.reason,
            format!("ended during the call: {}", end.message),
        ),
        None => End::new(EndReason::Exit, "closed the connection without an answer"),
    };
    GatewayError::ended(&call.route, end)
}

/// Why an answer broke off, as far as that is known by now.
pub(crate) fn broken_off(backend: &Backend) -> EndReason {
    backend.ended().map_or(EndReason::Exit, |end| end.reason)
}

/// Waits a moment for the engine to say how the replica ended: the broken connection is here
/// before the news of the process.
pub(crate) async fn last_words(backend: &Backend, deadline: Instant) {
    let until = deadline.min(Instant::now() + LAST_WORDS);
    while backend.ended().is_none() && Instant::now() < until {
        tokio::time::sleep(LAST_WORDS_STEP).await;
    }
}

use std::rc::Rc;

use hob_model::ReplicaSet;
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;

use crate::{
    answer::{Beginning, Hold},
    body::{Answer, RequestBody},
    call::Call,
    error::GatewayError,
    forward, headers,
    outlet::Outlet,
};

/// A caller's wish to speak another protocol, WebSocket mostly, on its connection.
pub(crate) struct Handshake {
    caller: OnUpgrade,
    protocol: HeaderValue,
}

impl Handshake {
    /// Takes the wish out of a request that has one. `h2c` is none: hob speaks HTTP/2 to those
    /// who begin with it, and HTTP/1.1 to the others.
    pub(crate) fn take<B>(request: &mut Request<B>) -> Option<Self> {
        if request.version() != Version::HTTP_11 {
            return None;
        }
        let protocol = request.headers().get(header::UPGRADE)?.clone();
        let wished = headers::tokens(request.headers(), &header::CONNECTION)
            .any(|token| token.eq_ignore_ascii_case("upgrade"));
        if !wished || protocol.as_bytes().eq_ignore_ascii_case(b"h2c") {
            return None;
        }
        Some(Self {
            caller: hyper::upgrade::on(request),
            protocol,
        })
    }
}

/// Passes the handshake on. Until the replica answers it the call has its deadline like any
/// other; after a 101 both sides may talk for as long as they like, and the replica is held.
pub(crate) async fn forward(
    call: &mut Call,
    replicas: &ReplicaSet,
    mut request: Request<RequestBody>,
    handshake: Handshake,
) -> Result<Response<Answer>, GatewayError> {
    let (lease, outlet) = forward::connected(call, replicas).await?;
    let fields = request.headers_mut();
    fields.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    fields.insert(header::UPGRADE, handshake.protocol);
    call.receipt.sent = Some(std::time::Instant::now());
    let exchange = exchange(call, outlet, request);
    let response = tokio::time::timeout_at(call.deadline.into(), exchange).await;
    let mut response = match response.map_err(|_| forward::overdue(call, &lease))? {
        Ok(response) => response,
        Err(error) => return Err(forward::broken(call, &lease, &error).await),
    };
    let replica = hyper::upgrade::on(&mut response);
    let (mut head, body) = response.into_parts();
    let body = Beginning::of(body).await;
    if body.is_over(call.route.output_limit) {
        return Err(forward::too_much(call, &lease));
    }
    let hold = Hold {
        upstream: None,
        lease,
        route: call.route.hand_over(head.status),
        client: Rc::clone(&call.client),
        deadline: call.deadline,
        keep_alive: None,
        waits: false,
    };
    let protocol = head.headers.get(header::UPGRADE).cloned();
    headers::strip_hop_by_hop(&mut head.headers);
    if head.status != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(Response::from_parts(head, hold.answer(body)));
    }
    tokio::task::spawn_local(splice(handshake.caller, replica, hold));
    head.extensions.clear();
    head.headers
        .insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(protocol) = protocol {
        head.headers.insert(header::UPGRADE, protocol);
    }
    Ok(Response::from_parts(head, Answer::empty()))
}

/// Sends the request over a connection of its own, which drives itself: it outlives the call.
async fn exchange(
    call: &Call,
    outlet: Outlet,
    request: Request<RequestBody>,
) -> Result<Response<hyper::body::Incoming>, hyper::Error> {
    let builder = &call.client.worker().upstreams;
    let (mut sender, connection) = builder.handshake(TokioIo::new(outlet)).await?;
    tokio::task::spawn_local(connection.with_upgrades());
    sender.send_request(request).await
}

/// Copies both ways until both are done, or one breaks.
async fn splice(caller: OnUpgrade, replica: OnUpgrade, hold: Hold) {
    let (Ok(caller), Ok(replica)) = tokio::join!(caller, replica) else {
        return;
    };
    let (mut caller, mut replica): (TokioIo<Upgraded>, TokioIo<Upgraded>) =
        (TokioIo::new(caller), TokioIo::new(replica));
    // An error is one side hanging up, which is how these connections end.
    let _ = tokio::io::copy_bidirectional(&mut caller, &mut replica).await;
    hold.release();
}

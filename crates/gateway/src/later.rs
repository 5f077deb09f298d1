//! Calls that are taken now and made later. The control plane takes them; what this side knows of
//! callers and functions holds for them as for all calls.

use std::{net::IpAddr, rc::Rc};

use hob_model::{EndReason, Route};
use http::{Method, Request, Response, Uri};
use hyper::body::Incoming;

use crate::{
    body::Answer,
    client::Client,
    cors::{self, Visitor},
    error::GatewayError,
    guard::{self, Asked, Fields, Passed},
    headers,
    listen::PeerKind,
    receipt::Receipt,
};

/// What paths of such calls begin with.
const PREFIX: &str = "/async-function/";

/// Answers what is no call that is made now.
pub(crate) async fn pass_on(
    client: &Rc<Client>,
    mut request: Request<Incoming>,
) -> Response<Answer> {
    let fallback = &client.worker().fallback;
    let address = client.address(Fields::Map(request.headers()));
    request.extensions_mut().insert(address);
    let name = function(request.uri());
    let (Some(name), &Method::POST | &Method::OPTIONS) = (name, request.method()) else {
        return fallback(request, client.peer).await.map(Answer::Other);
    };
    let route = client.worker().routes.find(name);
    let visitor = Visitor::of(request.headers());
    let question = route.as_deref().and_then(|r| preflight(r, &request));
    let passed = match (&route, &question) {
        (Some(route), None) => guard(client, route, &request, address.ip).await,
        // Nobody's call, or none yet.
        _ => Ok(Passed::default()),
    };
    let receipt = prepare(client, &mut request, passed.as_ref().ok());
    let mut response = match (question, passed) {
        (Some(response), _) => response,
        (None, Err(refused)) => refused.into_response(),
        (None, Ok(passed)) => {
            let mut taken = fallback(request, client.peer).await.map(Answer::Other);
            if let Some(standing) = &passed.standing {
                standing.stamp(taken.headers_mut());
            }
            taken
        }
    };
    let fields = response.headers_mut();
    if let Some(policy) = route.as_ref().and_then(|route| route.cors.as_ref()) {
        cors::apply(policy, &visitor, fields);
    }
    receipt.stamp(fields, EndReason::Ok);
    response
}

/// The function's name, as it stands in the URL.
fn function(uri: &Uri) -> Option<&str> {
    let rest = uri.path().strip_prefix(PREFIX)?;
    rest.split('/').next()
}

/// Lets nobody in whom the function's guards do not: later its call passes as it is.
async fn guard(
    client: &Client,
    route: &Route,
    request: &Request<Incoming>,
    caller: IpAddr,
) -> Result<Passed, GatewayError> {
    if client.kind == PeerKind::Inside {
        return Ok(Passed::default());
    }
    let path = request
        .uri()
        .path()
        .strip_prefix(PREFIX)
        .unwrap_or_default();
    let own = path.find('/').map_or("", |at| &path[at..]);
    let asked = Asked {
        route,
        method: request.method().as_str(),
        path: own,
        fields: Fields::Map(request.headers()),
        caller,
    };
    client.worker().guards.decide(&asked).await
}

/// Leaves in the request what its function is to see, and only that.
fn prepare(
    client: &Rc<Client>,
    request: &mut Request<Incoming>,
    passed: Option<&Passed>,
) -> Receipt {
    let authority = request.uri().authority().cloned();
    // Before anything is taken out.
    let told = client.told(Fields::Map(request.headers()));
    let fields = request.headers_mut();
    let receipt = Receipt::open(&mut client.worker().ids.borrow_mut(), fields);
    headers::strip_request(fields);
    headers::set_host(fields, authority.as_ref());
    if client.kind != PeerKind::Inside {
        guard::strip_fields(fields);
        if let Some(passed) = passed {
            passed.tell(fields);
        }
        headers::add_forwarded(fields, &told, None);
    }
    receipt
}

fn preflight(route: &Route, request: &Request<Incoming>) -> Option<Response<Answer>> {
    let answer = cors::preflight(route.cors.as_ref()?, request, route)?;
    Some(answer.unwrap_or_else(|refused| refused.into_response()))
}

//! Calls that are taken now and made later. The control plane takes them; what this side knows of
//! callers and functions holds for them as for all calls.

use std::rc::Rc;

use hob_model::{CallerAddress, EndReason, FunctionName, Route};
use http::{Method, Request, Response, Uri};

use crate::{
    CallBody,
    body::Answer,
    client::Client,
    cors::{self, Visitor},
    error::GatewayError,
    guard::{self, Asked, Body, Fields, Passed},
    headers,
    listen::PeerKind,
    pace::{CallerBody, Owed},
    receipt::Receipt,
    run, shun,
    unread::Unread,
};

/// What paths of such calls begin with.
const PREFIX: &str = "/async-function/";

/// Answers what is no call that is made now.
pub(crate) async fn pass_on(
    client: &Rc<Client>,
    caller: CallerAddress,
    mut request: Request<CallerBody>,
) -> Response<Answer> {
    if run::is_asked_for(&request) {
        return run::pass_on(client, caller, request).await;
    }
    let owed = request.body().owed();
    let fallback = &client.worker().fallback;
    request.extensions_mut().insert(caller);
    let name = function(request.uri());
    let (Some(name), &Method::POST | &Method::OPTIONS) = (name, request.method()) else {
        let answer = fallback(request.map(CallBody::new), client.peer).await;
        return judged(client, answer.map(Answer::Other), &owed);
    };
    let route = client.worker().routes.find(name);
    let visitor = Visitor::of(request.headers());
    let receipt = Receipt::open(&mut client.worker().ids.borrow_mut(), request.headers_mut());
    let policy = route.as_ref().and_then(|route| route.cors.as_ref());
    let mut response = match route.as_deref().and_then(|r| preflight(r, &request)) {
        Some(response) => response,
        None => match guard(client, caller, route.as_deref(), &receipt, request).await {
            Ok((mut request, passed)) => {
                prepare(client, caller, &mut request, passed.as_ref());
                let taken = fallback(request, client.peer).await.map(Answer::Other);
                let mut taken = judged(client, taken, &owed);
                if let Some(standing) = passed.and_then(|passed| passed.standing) {
                    standing.stamp(taken.headers_mut());
                }
                taken
            }
            Err(error) => error.into_response(),
        },
    };
    let fields = response.headers_mut();
    if let Some(policy) = policy {
        cors::apply(policy, &visitor, fields);
    }
    receipt.stamp(fields, EndReason::Ok);
    response
}

/// Sees to what an answer says of its caller.
pub(crate) fn judged(
    client: &Client,
    mut response: Response<Answer>,
    owed: &Owed,
) -> Response<Answer> {
    if owed.is_left() {
        // Else what still comes would reset the connection, and the answer be lost.
        client.leave_unread();
    }
    if owed.is_too_slow() {
        return GatewayError::SlowBody.into_response();
    }
    shun::judge(&mut response);
    response
}

/// Lets nobody in whom the function's guards do not. The call itself is this very process's later,
/// and is let in as it is.
async fn guard(
    client: &Rc<Client>,
    caller: CallerAddress,
    route: Option<&Route>,
    receipt: &Receipt,
    request: Request<CallerBody>,
) -> Result<(Request<CallBody>, Option<Passed>), GatewayError> {
    let (head, body) = request.into_parts();
    let head = Request::from_parts(head, ());
    let Some(route) = route else {
        let name = function(head.uri()).unwrap_or_default();
        return match name.parse::<FunctionName>() {
            // Whose guards are not known has to be treated as closed.
            Ok(_) => Err(GatewayError::UnknownFunction(name.to_owned())),
            // Nobody is called so, and the control plane says what is wrong with it.
            Err(_) => Ok((head.map(|()| CallBody::new(body)), None)),
        };
    };
    let body = Unread::new(body, client, receipt.arrived + route.timeout.0);
    let mut passed = None;
    if !guard::is_let_in(client.kind, head.headers()) {
        let fields = Fields::Map(head.headers());
        let asked = Asked {
            route,
            method: head.method().as_str(),
            path: own_path(head.uri()),
            fields,
            body: Body::Unread(&body),
            caller: caller.ip,
        };
        passed = Some(client.worker().guards.decide(&asked).await?);
    }
    Ok((head.map(|()| body.into_call()), passed))
}

/// The function's name, as it stands in the URL.
fn function(uri: &Uri) -> Option<&str> {
    let rest = uri.path().strip_prefix(PREFIX)?;
    rest.split('/').next()
}

/// What follows the name, without the query.
fn own_path(uri: &Uri) -> &str {
    let rest = uri.path().strip_prefix(PREFIX).unwrap_or_default();
    rest.find('/').map_or("", |at| &rest[at..])
}

/// Leaves in the request what its function is to see, and only that.
fn prepare(
    client: &Client,
    caller: CallerAddress,
    request: &mut Request<CallBody>,
    passed: Option<&Passed>,
) {
    let authority = request.uri().authority().cloned();
    let told = client.told(caller);
    let fields = request.headers_mut();
    headers::strip_request(fields);
    headers::set_host(fields, authority.as_ref());
    if client.kind != PeerKind::Inside {
        guard::strip_fields(fields);
        headers::add_forwarded(fields, &told, None);
    }
    if let Some(passed) = passed {
        passed.tell(fields);
    }
}

fn preflight(route: &Route, request: &Request<CallerBody>) -> Option<Response<Answer>> {
    let answer = cors::preflight(route.cors.as_ref()?, request, route)?;
    Some(answer.unwrap_or_else(|refused| refused.into_response()))
}

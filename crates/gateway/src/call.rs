use std::{cell::Cell, rc::Rc, sync::Arc, time::Instant};

use hob_model::{CallerAddress, EndReason, Route, Target};
use http::{HeaderMap, HeaderValue, Request, Response};
use hyper::body::Incoming;

use crate::{
    BoxError,
    access::Pending,
    body::{Answer, Outgoing, RequestBody},
    client::Client,
    cors::{self, Visitor},
    counted::Counted,
    error::{GatewayError, REFUSED, Refused},
    files, forward,
    guard::{self, Asked, Body, Depth, Fields, Passed},
    head, headers, later,
    listen::{Entrance, PeerKind},
    pace::{CallerBody, Owed},
    path::{self, Address, FunctionPath, Whose},
    receipt::Receipt,
    shun::Asker,
    tls,
    unread::Unread,
    upgrade,
};

/// A call of a function while it is answered.
pub(crate) struct Call {
    pub(crate) client: Rc<Client>,
    pub(crate) route: Counted,
    pub(crate) receipt: Receipt,
    /// Whose it is.
    caller: CallerAddress,
    /// What the guards made of it.
    pub(crate) passed: Passed,
    /// When the whole answer must be with the caller.
    pub(crate) deadline: Instant,
    /// Bytes of the answer's body that passed in the express lane.
    pub(crate) sent: Cell<u64>,
    /// What is still to come of its body; `None` where all of it was here at once.
    pub(crate) owed: Option<Arc<Owed>>,
}

/// What of a request speaks to the call rather than to the function.
struct Admitted {
    call: Call,
    visitor: Visitor,
    /// What the function gets as its address, and what not.
    address: Address,
}

/// The life of a request, from its head to the head of its answer. The order is the design.
pub(crate) async fn answer(
    client: Rc<Client>,
    request: Request<Incoming>,
) -> Result<Response<Outgoing>, BoxError> {
    // First: until its answer is written, the connection counts as busy.
    let entered = client.enter();
    let caller = client.address(Fields::Map(request.headers()));
    let mut pending = Pending::of(&client, caller, &request);
    let config = &client.worker().config;
    let request = request.map(|body| CallerBody::new(body, config));
    // Before anything else is looked at: who is shut out is not to cost more than this.
    let asker = Asker::of(&client, caller, &request);
    let mut response = match asker.as_ref().and_then(|asker| asker.refusal(&client)) {
        Some(shut_out) => shut_out.into_response(),
        None => respond(&client, caller, request, pending.as_mut()).await,
    };
    if let Some(asker) = asker {
        response = asker.weigh(&client, response).await;
    }
    if client.kind == PeerKind::Inside {
        mark(&mut response);
    }
    if client.entrance == Entrance::Tls
        && let Some(secure) = &client.worker().tls
    {
        secure.harden(&mut response);
    }
    if let Some(pending) = &mut pending {
        pending.answered(&response);
    }
    Ok(response.map(|answer| Outgoing::new(answer, pending, entered)))
}

async fn respond(
    client: &Rc<Client>,
    caller: CallerAddress,
    mut request: Request<CallerBody>,
    pending: Option<&mut Pending>,
) -> Response<Answer> {
    if client.entrance == Entrance::Redirect
        && let Some(secure) = &client.worker().tls
    {
        // Nothing but the way to TLS is here.
        return tls::answer(secure, &request);
    }
    match admit(client, caller, &mut request) {
        Ok(Some(admitted)) => admitted.run(request, pending).await,
        // Not a function's path: the control plane's, or nobody's.
        Ok(None) => later::pass_on(client, caller, request).await,
        Err(refused) => *refused,
    }
}

/// Tells refusals of hob's from answers of the function, which may look the same.
fn mark(response: &mut Response<Answer>) {
    let refused = response.extensions_mut().remove::<Refused>().is_some();
    let fields = response.headers_mut();
    fields.remove(REFUSED);
    if refused {
        fields.insert(REFUSED, HeaderValue::from_static("1"));
    }
}

/// Decides whose call it is, without looking at its body. `None` when it is no function's.
fn admit(
    client: &Rc<Client>,
    caller: CallerAddress,
    request: &mut Request<CallerBody>,
) -> Result<Option<Admitted>, Box<Response<Answer>>> {
    // Before the path counts for anything it must be sure where the request ends and whom it
    // names, whoever answers it.
    head::check(request, client).map_err(|error| Box::new(error.into_response()))?;
    let worker = client.worker();
    let uri = request.uri().clone();
    let host = path::host(&uri, request.headers());
    let whole = uri.path_and_query().map_or("", |whole| whole.as_str());
    let Some(path) = FunctionPath::find(client.kind, host, whole, &worker.routes) else {
        return Ok(None);
    };
    let headers = request.headers_mut();
    // The clock of the deadline starts before any work is done.
    let receipt = Receipt::open(&mut worker.ids.borrow_mut(), headers);
    // The route names the limits of all that follows.
    let admitted = match (
        path.route(&worker.routes),
        path.whose.clone(),
        path.forwarded(),
    ) {
        (Some(route), _, Ok(address)) => Ok((route.choose(|| worker.draw()), address)),
        (None, Whose::Named(name), _) => Err(GatewayError::UnknownFunction(name.to_owned())),
        _ => Err(GatewayError::BadRequest("the request has an invalid path")),
    };
    match admitted {
        Ok((route, address)) => Ok(Some(Admitted {
            call: Call::new(client, caller, route, receipt),
            visitor: Visitor::of(headers),
            address,
        })),
        Err(error) => {
            let end = error.end();
            let mut response = error.into_response();
            receipt.stamp(response.headers_mut(), end);
            Err(Box::new(response))
        }
    }
}

impl Admitted {
    /// Answers; an error is an answer too, and both get their receipt and the CORS fields.
    async fn run(
        self,
        request: Request<CallerBody>,
        mut pending: Option<&mut Pending>,
    ) -> Response<Answer> {
        let Self {
            mut call,
            visitor,
            address,
        } = self;
        let route = Arc::clone(&call.route);
        if let Some(pending) = &mut pending {
            pending.calls(&route.function, &call.receipt.id);
        }
        let policy = route.cors.as_ref();
        let preflight = policy.and_then(|policy| cors::preflight(policy, &request, &route));
        let outcome = match preflight {
            // A browser's question is not a call: nothing is woken and nothing counted.
            Some(outcome) => outcome,
            None => {
                call.route.start();
                let mut outcome = call.serve(request, address).await;
                match &mut outcome {
                    Ok(response) => {
                        call.route.answered(response.status());
                        if policy.is_some() {
                            // Two policies on one answer are none: browsers refuse it.
                            cors::silence(response.headers_mut());
                        }
                    }
                    Err(error) => call.route.refused(error),
                }
                outcome
            }
        };
        let (mut response, end) = match outcome {
            Ok(response) => (response, EndReason::Ok),
            Err(error) => {
                tracing::debug!(function = %route.function, %error, "call failed");
                let end = error.end();
                (error.into_response(), end)
            }
        };
        if let Some(policy) = policy {
            cors::apply(policy, &visitor, response.headers_mut());
        }
        if let Some(standing) = &call.passed.standing {
            standing.stamp(response.headers_mut());
        }
        if let Some(pending) = pending {
            pending.by(call.passed.identity.as_ref());
        }
        call.receipt.stamp(response.headers_mut(), end);
        response
    }
}

impl Call {
    pub(crate) fn new(
        client: &Rc<Client>,
        caller: CallerAddress,
        route: Arc<Route>,
        receipt: Receipt,
    ) -> Self {
        Self {
            client: Rc::clone(client),
            deadline: receipt.arrived + route.timeout.0,
            route: Counted::new(route, receipt.arrived),
            receipt,
            caller,
            passed: Passed::default(),
            sent: Cell::new(0),
            owed: None,
        }
    }

    /// Lets nobody in whom the function's guards do not.
    async fn guard(
        &mut self,
        request: &Request<()>,
        body: &Unread,
        address: &Address,
    ) -> Result<(), GatewayError> {
        let fields = Fields::Map(request.headers());
        // Calls of this very process were let in when they were taken.
        if guard::is_let_in(self.client.kind, request.headers()) {
            self.passed.depth = Depth::kept(fields);
            return Ok(());
        }
        let asked = Asked {
            route: &self.route,
            method: request.method().as_str(),
            path: address.uri.path(),
            fields,
            body: Body::Unread(body),
            caller: self.caller.ip,
        };
        let passed = self.client.worker().guards.decide(&asked).await?;
        self.let_in(passed);
        Ok(())
    }

    /// The guards have nothing against it.
    pub(crate) fn let_in(&mut self, mut passed: Passed) {
        self.route.hold(passed.place.take());
        self.passed = passed;
    }

    async fn serve(
        &mut self,
        request: Request<CallerBody>,
        address: Address,
    ) -> Result<Response<Answer>, GatewayError> {
        let (head, body) = request.into_parts();
        self.owed = Some(body.owed());
        let request = Request::from_parts(head, ());
        let body = Unread::new(body, &self.client, self.deadline);
        self.guard(&request, &body, &address).await?;
        let route = Arc::clone(&self.route);
        let replicas = match &route.target {
            // Files need neither a replica nor a body.
            Target::Static(folder) => return files::serve(self, folder, request, address).await,
            Target::Replicas(replicas) => replicas,
        };
        // Before a replica is bothered, or woken: a body that says it is too large is.
        self.check_length(request.headers())?;
        // The replica gets the caller's request as its own, with the caller's name on it.
        let (request, handshake) = self.prepare(request, body, address);
        match handshake {
            Some(handshake) => upgrade::forward(self, replicas, request, handshake).await,
            // May wake the function, and goes to another replica where nothing was lost.
            None => forward::forward(self, replicas, request).await,
        }
    }

    /// Whether the caller is the one who is waited for.
    pub(crate) fn owes(&self) -> bool {
        self.owed.as_ref().is_some_and(|owed| owed.waits())
    }

    /// The answer has begun.
    pub(crate) fn is_answered(&self) {
        if let Some(owed) = &self.owed {
            owed.is_answered();
        }
    }

    fn check_length(&self, headers: &HeaderMap) -> Result<(), GatewayError> {
        let length = headers.get(http::header::CONTENT_LENGTH);
        let length = length.and_then(|l| l.to_str().ok()?.parse::<u64>().ok());
        if length.is_some_and(|length| length > self.route.body_limit) {
            return Err(GatewayError::too_large(&self.route));
        }
        Ok(())
    }

    fn prepare(
        &self,
        mut request: Request<()>,
        body: Unread,
        address: Address,
    ) -> (Request<RequestBody>, Option<upgrade::Handshake>) {
        let handshake = upgrade::Handshake::take(&mut request);
        let told = self.client.told(self.caller);
        let authority = request.uri().authority().cloned();
        let prefix = address.prefix();
        *request.uri_mut() = address.uri.clone();
        *request.version_mut() = http::Version::HTTP_11;
        request.extensions_mut().clear();
        let headers = request.headers_mut();
        headers::strip_request(headers);
        headers::set_host(headers, authority.as_ref());
        if self.client.kind != PeerKind::Inside {
            guard::strip_fields(headers);
            headers::add_forwarded(headers, &told, prefix);
        }
        self.passed.tell(headers);
        let mut request = request.map(|()| body.into_request(self.route.body_limit));
        headers::set_framing(&mut request);
        (request, handshake)
    }
}

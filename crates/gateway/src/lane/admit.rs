//! Which calls the lane takes, and what their replicas get.

use std::{mem::MaybeUninit, sync::Arc};

use hob_model::{ReplicaSet, Route, Target};

use super::{
    Lane,
    answer::Method,
    caller::Missing,
    inbox::Inbox,
    logged,
    request::{self, FIELDS_MAX, Plain},
};
use crate::{
    access::Record,
    buffers::{BUFFER_BYTES, Buffer},
    call::Call,
    error::GatewayError,
    guard::{Asked, Body, Fields, Look, Passed},
    receipt::Receipt,
};

/// A call that the lane takes.
pub(super) struct Taken {
    pub(super) call: Call,
    pub(super) replicas: Arc<ReplicaSet>,
    /// The whole request, as the replica gets it.
    pub(super) request: Buffer,
    pub(super) method: Method,
    /// Bytes that it had in the inbox.
    pub(super) length: usize,
    /// Why it is not let in, if it is not.
    pub(super) refused: Option<GatewayError>,
    /// For the access log, if there is one.
    pub(super) record: Option<Record>,
}

/// What to do with the bytes at hand.
pub(super) enum Step {
    Take(Box<Taken>),
    /// Wait for more of them.
    More(Missing),
    /// Leave them to hyper.
    Other,
}

impl Lane<'_> {
    /// Decides what the first bytes of the inbox are, and turns a plain call into what its
    /// replica gets.
    pub(super) fn look(&self, inbox: &Inbox) -> Step {
        let bytes = inbox.bytes();
        if bytes.is_empty() {
            return Step::More(Missing::Head);
        }
        let worker = self.client.worker();
        let head_bytes = worker.config.head_bytes.min(BUFFER_BYTES);
        let mut room = [MaybeUninit::uninit(); FIELDS_MAX];
        let plain = match request::look(bytes, &mut room, self.client.kind, &worker.routes) {
            request::Look::Plain(plain) if plain.head <= head_bytes => plain,
            request::Look::Partial if bytes.len() < head_bytes => {
                return Step::More(Missing::Head);
            }
            _ => return Step::Other,
        };
        // Looked up first: whether the body is wanted at all depends on it.
        let Some((route, replicas)) = self.find(&plain) else {
            return Step::Other;
        };
        let length = plain.head.saturating_add(plain.body);
        if length > BUFFER_BYTES {
            return Step::Other;
        }
        match bytes.get(plain.head..length) {
            Some(body) => self.admit(&plain, body, route, replicas),
            None => Step::More(Missing::Body),
        }
    }

    /// Asks the guards about a call that is here as a whole.
    fn admit(
        &self,
        plain: &Plain<'_, '_>,
        body: &[u8],
        route: Arc<Route>,
        replicas: Arc<ReplicaSet>,
    ) -> Step {
        let worker = self.client.worker();
        let fields = Fields::Lines(plain.fields());
        let caller = self.client.address(fields);
        if self.client.shuts_out(caller.ip) {
            return Step::Other;
        }
        let look = worker.guards.look(&Asked {
            route: &route,
            method: plain.method,
            path: plain.path.own(),
            fields,
            body: Body::Here(body),
            caller: caller.ip,
        });
        let (passed, refused) = match look {
            Ok(Look::Pass(passed)) => (passed, None),
            Ok(Look::Wait) => return Step::Other,
            Err(error) => (Passed::default(), Some(error)),
        };
        let receipt = Receipt::begin(&mut worker.ids.borrow_mut(), plain.call_id);
        let record = logged::begin(self.client, plain, caller.ip, &receipt);
        let mut request = worker.buffers.take();
        plain.put(&receipt, &passed, &self.client.told(caller), &mut request);
        request.extend_from_slice(body);
        let mut call = Call::new(self.client, caller, route, receipt);
        call.let_in(passed);
        Step::Take(Box::new(Taken {
            call,
            refused,
            record,
            replicas,
            request,
            method: Method::of(plain.method),
            length: plain.head + body.len(),
        }))
    }

    /// `None` when the function is none, or wants more of a gateway than a plain call gets.
    fn find(&self, plain: &Plain<'_, '_>) -> Option<(Arc<Route>, Arc<ReplicaSet>)> {
        let worker = self.client.worker();
        let route = plain.path.route(&worker.routes)?;
        let fits = |route: &Route| route.cors.is_none() && plain.body as u64 <= route.body_limit;
        // Before one is drawn: else those that do not fit here would be drawn for again.
        let canary = route.canary.as_ref();
        if !fits(&route) || canary.is_some_and(|canary| !fits(&canary.route)) {
            return None;
        }
        let route = route.choose(|| worker.draw());
        let Target::Replicas(replicas) = &route.target else {
            return None;
        };
        let replicas = Arc::clone(replicas);
        Some((route, replicas))
    }
}

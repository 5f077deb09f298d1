//! When a replica fails a call, and the call goes to another one.

use std::time::{Duration, Instant};

use hob_model::{Backend, BackendLease, End, EndReason, ReplicaSet};

use crate::{call::Call, error::GatewayError};

/// Replicas that one call tries.
pub(crate) const ATTEMPTS: usize = 4;
/// How often a call is sent again that a replica may have worked on. One that ends every replica
/// must not end them all.
const REPEATS: usize = 1;
/// How long a broken call waits for the engine's word on how the replica ended.
const LAST_WORDS: Duration = Duration::from_millis(250);
/// How often it looks meanwhile.
const LAST_WORDS_STEP: Duration = Duration::from_millis(5);

/// What a call's request allows when it got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Doing it twice is the same as doing it once (RFC 9110, section 9.2.2), and all of it is
    /// still here.
    May,
    Never,
}

/// By which connection a request goes to a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contact {
    /// One that is kept, if there is one: it has carried an answer before. A replica may close it
    /// at any time and be well.
    Kept,
    New,
}

/// The tries of one call.
#[derive(Debug, Default)]
pub(crate) struct Tries {
    begun: usize,
    repeats: usize,
}

impl Tries {
    /// Begins the next one, if there is one.
    pub(crate) fn next(&mut self) -> bool {
        self.begun += 1;
        self.begun <= ATTEMPTS
    }

    /// Whether this one may be repeated at all.
    pub(crate) fn may_repeat(&self) -> bool {
        self.begun < ATTEMPTS && self.repeats < REPEATS
    }

    /// The replica accepted no connection: the call is whole and can go elsewhere.
    pub(crate) async fn refused(&self, call: &Call, replicas: &ReplicaSet, backend: &Backend) {
        backend.eject();
        if self.begun < ATTEMPTS {
            call.route.counters.retry();
            another(call, replicas, backend).await;
        }
    }

    /// The replica closed the connection without an answer. Returns when the call can be sent
    /// again; false if it must not be.
    pub(crate) async fn unanswered(
        &mut self,
        call: &Call,
        replicas: &ReplicaSet,
        backend: &Backend,
        (contact, repeat): (Contact, Repeat),
    ) -> bool {
        let is_new = contact == Contact::New;
        if is_new {
            backend.eject();
        }
        let may = repeat == Repeat::May && self.may_repeat();
        if !may || !call.route.counters.may_repeat() {
            return false;
        }
        self.repeats += 1;
        if is_new {
            another(call, replicas, backend).await;
        } else if replicas.ready().len() > 1 {
            // It may be well, or about to die: there is only one repeat, and others are there.
            backend.eject();
        }
        true
    }
}

/// Waits a moment until a replica is there that has not failed. While none is, the engine has to
/// notice that this one is gone, or the next lease leads there again.
async fn another(call: &Call, replicas: &ReplicaSet, backend: &Backend) {
    wait(call.deadline, || {
        replicas.is_well() || backend.ended().is_some()
    })
    .await;
}

/// No replica took the call.
pub(crate) fn deaf(call: &Call) -> GatewayError {
    let end = End::new(EndReason::Exit, "does not accept connections");
    GatewayError::ended(&call.route, end)
}

/// What to hold while it is asked why a replica gave no answer: one that is used once is killed as
/// soon as its lease is given back, and that would be all there is to tell.
pub(crate) fn until_told(lease: BackendLease) -> Option<BackendLease> {
    lease.is_used_once().then_some(lease)
}

/// The replica closed the connection and left a call without an answer.
pub(crate) async fn hung_up(call: &Call, backend: &Backend) -> GatewayError {
    // The broken connection is here before the news of the process.
    wait(call.deadline, || backend.ended().is_some()).await;
    let end = match backend.ended() {
        Some(end) => End::new(
            end.reason,
            format!("ended during the call: {}", end.message),
        ),
        None => End::new(EndReason::Exit, "closed the connection without an answer"),
    };
    GatewayError::ended(&call.route, end)
}

async fn wait(deadline: Instant, condition: impl Fn() -> bool) {
    let until = deadline.min(Instant::now() + LAST_WORDS);
    while !condition() && Instant::now() < until {
        tokio::time::sleep(LAST_WORDS_STEP).await;
    }
}

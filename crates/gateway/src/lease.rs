//! How a call gets its hold on a replica: at once, after a wake, or in its turn.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hob_model::{BackendLease, EndReason, NoLease, ReplicaSet, Route, Target};

use crate::{call::Call, error::GatewayError, retry::ATTEMPTS};

/// How often a call that waits looks by itself: a replica that was left out for a while comes back
/// without a word.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A hold on a ready replica. Wakes the function when it has none, and waits in line while all
/// are full.
pub(crate) async fn lease(
    call: &mut Call,
    replicas: &ReplicaSet,
) -> Result<BackendLease, GatewayError> {
    let mut wakes = 0;
    // Who answers now, where a canary has ended or taken over meanwhile.
    let mut moved: Option<Arc<Route>> = None;
    loop {
        let replicas = match moved.as_ref().map(|route| &route.target) {
            None => replicas,
            Some(Target::Replicas(others)) => others,
            Some(Target::Static(_)) => {
                let message = "it has become a folder of files";
                return Err(not_started(call, EndReason::Cancelled, message));
            }
        };
        match replicas.lease() {
            Ok(lease) => return Ok(lease),
            Err(NoLease::Busy) => {
                if let Some(lease) = in_turn(call, replicas).await? {
                    return Ok(lease);
                }
            }
            // A replica may end between its start and this line.
            Err(NoLease::Asleep) if wakes < ATTEMPTS => {
                wakes += 1;
                let route = Arc::clone(moved.as_ref().unwrap_or(&call.route));
                let woken = wake(call, &route).await;
                match call.client.worker().routes.get(&route.function) {
                    // Woken by somebody else, or the canary that they are of has taken over.
                    _ if replicas.has_ready() => {}
                    Some(now) if !now.leads_to(&route) => moved = Some(now),
                    _ => woken?,
                }
            }
            Err(NoLease::Asleep) => {
                let message = "each replica ended as soon as it was ready";
                return Err(not_started(call, EndReason::Exit, message));
            }
        }
    }
}

/// `None` when the function fell asleep meanwhile.
async fn in_turn(call: &Call, replicas: &ReplicaSet) -> Result<Option<BackendLease>, GatewayError> {
    let Some(mut waiting) = replicas.queue() else {
        return Err(GatewayError::busy(&call.route));
    };
    loop {
        let now = Instant::now();
        if now >= call.deadline {
            return Err(GatewayError::QueueOverdue {
                function: call.route.function.to_string(),
                timeout: call.route.timeout,
            });
        }
        let until = call.deadline.min(now + LOOK_AGAIN);
        if let Ok(lease) = tokio::time::timeout_at(until.into(), &mut waiting).await {
            return Ok(lease);
        }
    }
}

async fn wake(call: &mut Call, route: &Route) -> Result<(), GatewayError> {
    let asked = Instant::now();
    let fleet = route.fleet();
    let woken = call.client.worker().wake.wake(&fleet);
    let woken = tokio::time::timeout_at(call.deadline.into(), woken).await;
    call.receipt.wake += asked.elapsed();
    match woken {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(not_started(call, error.reason, &error.message)),
        Err(_) => Err(GatewayError::StartOverdue {
            function: call.route.function.to_string(),
            timeout: call.route.timeout,
        }),
    }
}

fn not_started(call: &Call, reason: EndReason, message: &str) -> GatewayError {
    GatewayError::NotStarted {
        function: call.route.function.to_string(),
        reason,
        message: message.to_owned(),
    }
}

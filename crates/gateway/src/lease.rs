//! How a call gets its hold on a replica: at once, after a wake, or in its turn.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hob_model::{BackendLease, EndReason, NoLease, ReplicaSet, Route, Target, Waiting};

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
                let waiting = place(call, replicas)?;
                if let Some(lease) = in_turn(call, waiting).await? {
                    return Ok(lease);
                }
            }
            // A replica may end between its start and this line.
            Err(NoLease::Asleep) if wakes < ATTEMPTS => {
                wakes += 1;
                let route = Arc::clone(moved.as_ref().unwrap_or(&call.route));
                // Where each call has a replica to itself, as many are started as wait in line.
                let waiting = match replicas.is_used_once() {
                    true => Some(place(call, replicas)?),
                    false => None,
                };
                let woken = wake(call, &route).await;
                match call.client.worker().routes.get(&route.function) {
                    // Woken by somebody else, or the canary that they are of has taken over.
                    _ if replicas.is_awake() => {}
                    Some(now) if !now.leads_to(&route) => {
                        drop(waiting);
                        moved = Some(now);
                        continue;
                    }
                    _ => woken?,
                }
                if let Some(waiting) = waiting
                    && let Some(lease) = in_turn(call, waiting).await?
                {
                    return Ok(lease);
                }
            }
            Err(NoLease::Asleep) => {
                let message = "each replica ended as soon as it was ready";
                return Err(not_started(call, EndReason::Exit, message));
            }
        }
    }
}

/// The last place in the line.
fn place<'r>(call: &Call, replicas: &'r ReplicaSet) -> Result<Waiting<'r>, GatewayError> {
    let waiting = replicas.queue();
    waiting.ok_or_else(|| GatewayError::busy(&call.route))
}

/// `None` when the function fell asleep meanwhile.
async fn in_turn(
    call: &Call,
    mut waiting: Waiting<'_>,
) -> Result<Option<BackendLease>, GatewayError> {
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

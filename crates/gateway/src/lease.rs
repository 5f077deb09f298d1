//! How a call gets its hold on a replica: at once, after a wake, or in its turn.

use std::time::{Duration, Instant};

use hob_model::{BackendLease, EndReason, NoLease, ReplicaSet};

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
    loop {
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
                wake(call).await?;
            }
            Err(NoLease::Asleep) => {
                return Err(GatewayError::NotStarted {
                    function: call.route.function.to_string(),
                    reason: EndReason::Exit,
                    message: "each replica ended as soon as it was ready".to_owned(),
                });
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

async fn wake(call: &mut Call) -> Result<(), GatewayError> {
    let asked = Instant::now();
    let function = &call.route.function;
    let woken = call.client.worker().wake.wake(function);
    let woken = tokio::time::timeout_at(call.deadline.into(), woken).await;
    call.receipt.wake += asked.elapsed();
    match woken {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(GatewayError::NotStarted {
            function: function.to_string(),
            reason: error.reason,
            message: error.message.to_string(),
        }),
        Err(_) => Err(GatewayError::StartOverdue {
            function: function.to_string(),
            timeout: call.route.timeout,
        }),
    }
}

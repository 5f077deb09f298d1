//! The end of a replica that hob itself takes out of service.

use std::{sync::Arc, time::Duration};

use hob_model::{Backend, End, EndReason};
use tokio::{
    task::spawn_blocking,
    time::{sleep, timeout},
};

use super::{fleet::Fleet, phase::Leaving};

/// How soon it is seen that the last call of a draining replica is done.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How a replica is ended once its calls are done or their time is up.
#[derive(Debug)]
pub(super) enum Farewell {
    /// It is asked, has a grace, and is made.
    Gentle,
    /// It is killed; calls that it still has end like this.
    Condemned(End),
}

/// Waits in the background for the calls of a drained replica and ends it.
pub(super) fn see_off(fleet: &Arc<Fleet>, leaving: Leaving, farewell: Farewell) {
    let fleet = Arc::clone(fleet);
    tokio::spawn(async move {
        let Leaving { replica, backend } = leaving;
        let noted = Arc::clone(&replica);
        // A panic in there is shown by the runtime.
        let _ = spawn_blocking(move || noted.note(None)).await;
        let patience = replica.program.timeout();
        let over = tokio::select! {
            done = timeout(patience, drained(&backend)) => done.is_err(),
            _ = replica.ended() => return,
            // Whoever closes ends all replicas, this one included.
            () = fleet.closed.cancelled() => return,
        };
        if over {
            backend.set_ended(overstayed(&farewell));
        }
        match farewell {
            // It has had its call, or never will: there is nothing that it could finish.
            Farewell::Gentle if backend.is_used_once() => replica.kill().await,
            Farewell::Gentle => replica.stop(replica.program.stop_grace()).await,
            Farewell::Condemned(end) => {
                backend.set_ended(end);
                replica.kill().await;
            }
        }
    });
}

async fn drained(backend: &Backend) {
    while backend.in_flight() > 0 {
        sleep(LOOK_EVERY).await;
    }
}

fn overstayed(farewell: &Farewell) -> End {
    match farewell {
        Farewell::Gentle => End::new(
            EndReason::Cancelled,
            "its replica was taken out of service and the call outlasted the timeout",
        ),
        Farewell::Condemned(end) => end.clone(),
    }
}

//! The watch over one replica, from its first moment until nothing is left of it.

use std::{
    future::pending,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use hob_model::{End, EndReason, ReplicaId};
use hob_sandbox::Cage;
use tokio::{task::spawn_blocking, time::sleep};

use super::{
    fleet::Fleet,
    host::{listen_to, told},
    logs,
    phase::Phase,
    replica::{Life, Replica},
    retire::{Farewell, see_off},
};

/// How often it is looked whether a limit was enforced, where the kernel does not tell of all.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How far the kernel's news of that may be ahead of its counts.
const NEWS_AHEAD: Duration = Duration::from_millis(100);
/// Pause between two looks meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Waits for the end of `replica`, tells all who should know, and cleans up after it.
pub(super) async fn keep(fleet: Arc<Fleet>, replica: Arc<Replica>) {
    let end = match replica.cage() {
        Some(cage) => end_of(cage).await,
        None => End::new(EndReason::Host, "the replica is lost"),
    };
    fleet.lost(&replica, &end);
    replica.announce(Life::Ended(end.clone()));
    let remains = Arc::clone(&replica);
    // A panic in there is shown by the runtime; those who wait must go on all the same.
    let _ = spawn_blocking(move || remains.clear()).await;
    match replica.program.is_used_once() {
        true => fleet.tidy_after(&replica).await,
        false => fleet.tidy_logs(logs::ENDED_KEPT).await,
    }
    replica.announce(Life::Gone(end));
}

async fn end_of(cage: Arc<Cage>) -> End {
    match wait(&cage).await {
        Ok(Some(end)) => end,
        Ok(None) => End::new(EndReason::Host, "the machine cannot tell how it ended"),
        Err(problem) => End::new(EndReason::Host, problem.to_string()),
    }
}

async fn wait(cage: &Arc<Cage>) -> io::Result<Option<End>> {
    let pidfd = listen_to(cage.pidfd())?;
    tokio::select! {
        ended = pidfd.readable() => drop(ended?),
        () = over_limit(cage) => {
            let doomed = Arc::clone(cage);
            // Half of a program is none. A panic in there is shown by the runtime.
            let _ = spawn_blocking(move || doomed.kill()).await;
            drop(pidfd.readable().await?);
        }
    }
    cage.try_wait().map_err(io::Error::other)
}

/// Waits until the kernel has enforced a limit against a part of the cage only.
async fn over_limit(cage: &Cage) {
    let Some(alarm) = cage.alarm() else {
        return pending().await;
    };
    let news = alarm.news().and_then(|news| listen_to(news).ok());
    let is_complete = alarm.is_complete() && news.is_some();
    while !cage.is_over_limit() {
        tokio::select! {
            () = told(news.as_ref()) => {
                let until = Instant::now() + NEWS_AHEAD;
                while !cage.is_over_limit() && Instant::now() < until {
                    sleep(LOOK_AGAIN).await;
                }
            }
            () = sleep(LOOK_EVERY), if !is_complete => {}
        }
    }
}

impl Fleet {
    /// `replica` has ended: expected or not, it is on no list any more.
    fn lost(self: &Arc<Self>, replica: &Arc<Replica>, end: &End) {
        let mut state = self.state();
        match state.forget(replica) {
            None | Some(Phase::Starting) => {}
            Some(Phase::Draining(backend)) if backend.is_used_once() => {
                self.spent(&mut state, &backend, end);
            }
            Some(Phase::Draining(backend)) => backend.set_ended(end.clone()),
            // Somebody else's doing: it could do nothing itself. Nobody misses it before a call.
            Some(Phase::Frozen(backend)) => {
                let end = as_crash(end);
                backend.set_ended(end.clone());
                self.publish(&state);
                tracing::warn!(
                    function = %self.name, replica = %replica.id, %end,
                    "a frozen replica was ended"
                );
                state.last_end = Some(end);
            }
            Some(Phase::Ready(backend)) => {
                let end = as_crash(end);
                backend.set_ended(end.clone());
                self.publish(&state);
                state.backoff.ended(replica.age());
                let pause = state.backoff.pause();
                tracing::warn!(
                    function = %self.name, replica = %replica.id, %end, ?pause,
                    "a replica ended by itself"
                );
                state.last_end = Some(end);
                self.heal(&mut state);
            }
        }
    }

    /// Takes a replica out of service for good and has it killed when its other calls are done.
    pub(super) fn condemn(self: &Arc<Self>, id: &ReplicaId, why: EndReason) {
        let mut state = self.state();
        let ready = |phase: &Phase| matches!(phase, Phase::Ready(_));
        let mut entries = state.entries.iter_mut();
        let found = entries.find(|entry| entry.replica.id == *id && ready(&entry.phase));
        let Some(leaving) = found.and_then(|entry| entry.drain()) else {
            return;
        };
        self.publish(&state);
        let end = End::new(why, sentence(why));
        tracing::warn!(function = %self.name, replica = %id, %end, "a replica was condemned");
        state.last_end = Some(end.clone());
        see_off(self, leaving, Farewell::Condemned(end));
        self.heal(&mut state);
    }
}

/// A program that serves has no business to end, not even with status 0.
pub(super) fn as_crash(end: &End) -> End {
    let reason = match end.reason {
        EndReason::Ok => EndReason::Exit,
        other => other,
    };
    End::new(reason, end.message.clone())
}

pub(super) fn sentence(why: EndReason) -> &'static str {
    match why {
        EndReason::Timeout => "a call passed its deadline, so its replica was killed",
        EndReason::Output => "a call wrote more than it may, so its replica was killed",
        EndReason::Cancelled => "a call was given up, so its replica was killed",
        _ => "the replica was taken out of service",
    }
}

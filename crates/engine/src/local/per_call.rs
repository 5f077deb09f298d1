//! Replicas that are used once: each has one call and is killed when that is done. A fresh one is
//! made ready ahead, and where calls wait in line, one for each.

use std::sync::{Arc, atomic::Ordering};

use futures_util::stream::{FuturesUnordered, StreamExt};
use hob_model::{
    Backend, End,
    port::{Effort, EngineError},
};
use tokio_util::sync::CancellationToken;

use super::{
    backoff::Backoff,
    fleet::{Fleet, State},
    logs,
    phase::{Entry, Phase},
    replica::Replica,
    scale::Tell,
    supervise::{as_crash, sentence},
};

/// Logs of replicas that are gone are cleaned up after so many of them.
const TIDY_EVERY: u32 = 32;

/// Goes with one replica through its call, and kills it when that is done.
pub(super) async fn attend(fleet: Arc<Fleet>, replica: Arc<Replica>, backend: Arc<Backend>) {
    let call = async {
        backend.taken().await;
        fleet.used(&replica);
        backend.given_back().await;
    };
    tokio::select! {
        () = call => replica.kill().await,
        _ = replica.ended() => {}
    }
}

impl Fleet {
    /// Replicas that should be there for calls and are not. Where they are used once, there should
    /// be as many as are wanted ahead, or as calls wait for one, if that is more.
    pub(super) fn missing(&self, state: &State) -> u32 {
        let ready = state.ready_count();
        if state.wanted == 0 || !state.is_used_once() {
            return state.wanted.saturating_sub(ready);
        }
        let used = state.used_count();
        let room = state.most().saturating_sub(used);
        self.kept(state, state.wanted)
            .min(room)
            .saturating_sub(ready)
    }

    /// How many replicas are not too many where so many are `wanted`: who waits gets his.
    pub(super) fn kept(&self, state: &State, wanted: u32) -> u32 {
        match wanted > 0 && state.is_used_once() {
            true => wanted.max(self.set.waiting()),
            false => wanted,
        }
    }

    /// Whether so many take calls. Those that are used once may be gone already: then it is enough
    /// that calls get them as they come.
    pub(super) fn has_enough(&self, replicas: u32) -> bool {
        let state = self.state();
        let taken = state.used_count() > 0 || self.set.waiting() > 0;
        state.ready_count() >= replicas || (state.is_supplied() && taken)
    }

    /// Tells the gateway whether a call that finds none ready is to wait for a fresh one.
    pub(super) fn show_supply(&self, state: &State) {
        if !state.is_used_once() {
            return self.set.share();
        }
        self.set
            .supply(state.is_supplied().then(|| state.used_count()));
    }

    /// A call has the replica now: another one takes its place.
    fn used(self: &Arc<Self>, replica: &Arc<Replica>) {
        let mut state = self.state();
        let same = |entry: &&mut Entry| Arc::ptr_eq(&entry.replica, replica);
        let found = state.entries.iter_mut().find(same);
        let ready = found.filter(|entry| matches!(entry.phase, Phase::Ready(_)));
        if ready.and_then(Entry::drain).is_none() {
            return;
        }
        // It serves, whatever was before.
        state.backoff = Backoff::Calm;
        self.restock(&mut state);
    }

    /// Shows what is there and starts what is missing, after a change.
    pub(super) fn restock(self: &Arc<Self>, state: &mut State) {
        self.publish(state);
        self.heal(state);
        self.stir.notify_one();
    }

    /// Starts what is missing, and what goes missing meanwhile, at once, until nothing is. After a
    /// failure no more are begun. Who waits for the start is told when the first one takes calls.
    pub(super) async fn stock(
        self: &Arc<Self>,
        cancel: &CancellationToken,
        tell: &Tell,
    ) -> Result<Effort, EngineError> {
        let mut starts = FuturesUnordered::new();
        let mut failure: Option<EngineError> = None;
        loop {
            // Before it looks who waits: who comes after that is heard of.
            let joins = self.set.joins();
            if failure.is_none() && !cancel.is_cancelled() {
                let (program, missing) = {
                    let state = self.state();
                    let program = state.plan.as_ref().and_then(|plan| plan.program());
                    (program.map(Arc::clone), self.missing(&state))
                };
                let under_way = u32::try_from(starts.len()).unwrap_or(u32::MAX);
                for program in program
                    .iter()
                    .cycle()
                    .take(missing.saturating_sub(under_way) as usize)
                {
                    let (fleet, program, cancel) =
                        (Arc::clone(self), Arc::clone(program), cancel.clone());
                    starts.push(async move { fleet.start_and_admit(&program, &cancel).await });
                }
            }
            if starts.is_empty() {
                return failure.map_or(Ok(Effort::Started), Err);
            }
            tokio::select! {
                started = starts.next() => match started {
                    Some(Ok(())) => self.stocked(tell),
                    Some(Err(error)) => drop(failure.get_or_insert(error)),
                    None => {}
                },
                () = self.set.joined(joins) => {}
                () = self.stir.notified() => {}
            }
        }
    }

    /// One more takes calls: the attempt has not failed, whatever comes of the others.
    fn stocked(&self, tell: &Tell) {
        let mut state = self.state();
        let wanted = state.wanted;
        if let Some(attempt) = &mut state.attempt {
            attempt.keep(wanted);
        }
        drop(state);
        tell.send_replace(Some(Ok(Effort::Started)));
    }

    /// A replica that had its call has ended.
    pub(super) fn spent(self: &Arc<Self>, state: &mut State, backend: &Backend, end: &End) {
        let end = as_crash(end);
        let by_itself = backend.in_flight() > 0 && backend.ended().is_none();
        let told = match backend.blamed() {
            Some(why) => Some(End::new(why, sentence(why))),
            // Else it was killed since its call was done.
            None => by_itself.then(|| end.clone()),
        };
        if told.is_some() {
            state.last_end = told;
        }
        backend.set_ended(end);
        if state.is_used_once() {
            self.restock(state);
        }
    }

    /// Removes what a call has left in the log of its replica, if that is nothing, and now and then
    /// the oldest logs of others: thousands of calls leave a few files.
    pub(super) async fn tidy_after(&self, replica: &Arc<Replica>) {
        let (folder, id) = (self.host.places.logs(&self.name), replica.id.clone());
        let discard = move || logs::discard_empty(&folder, &id.0);
        let discarded = tokio::task::spawn_blocking(discard).await;
        let is_gone = matches!(discarded, Ok(Ok(true)));
        if !is_gone && self.is_to_tidy() {
            self.tidy_logs(logs::CALLS_KEPT).await;
        }
    }

    fn is_to_tidy(&self) -> bool {
        let gone = self.shared.gone.fetch_add(1, Ordering::Relaxed);
        gone.is_multiple_of(TIDY_EVERY)
    }
}

// === impl State ===

impl State {
    pub(super) fn is_used_once(&self) -> bool {
        let program = self.plan.as_ref().and_then(|plan| plan.program());
        program.is_some_and(|program| program.is_used_once())
    }

    /// Those of the revision that answers that are at their call, or just about to be gone. Calls
    /// of a former revision take nothing away from it.
    fn used_count(&self) -> u32 {
        let digest = self.plan.as_ref().map(|plan| &plan.revision.digest);
        let entries = self.entries.iter();
        let used = entries.filter(|entry| {
            matches!(entry.phase, Phase::Draining(_))
                && Some(&entry.replica.program.revision.digest) == digest
        });
        u32::try_from(used.count()).unwrap_or(u32::MAX)
    }

    /// Most that there are at the same time.
    fn most(&self) -> u32 {
        let plan = self.plan.as_ref();
        let most = plan.map_or(0, |plan| plan.revision.settings.scaling().most());
        most.max(self.wanted)
    }

    /// Whether fresh ones come by themselves.
    pub(super) fn is_supplied(&self) -> bool {
        self.wanted > 0 && self.is_used_once() && !self.backoff.is_pending()
    }
}

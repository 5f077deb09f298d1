//! Replicas that stand still, and go on when somebody wants them.

use std::sync::Arc;

use hob_model::{End, EndReason, port::EngineError};
use tokio::task::spawn_blocking;

use super::{
    fleet::Fleet,
    phase::Entry,
    replica::Replica,
    retire::{Farewell, see_off},
};

impl Fleet {
    /// Has every replica stand still. False, and nothing is changed, when one of them has a call,
    /// or one cannot be frozen.
    pub(super) async fn freeze(self: &Arc<Self>) -> Result<bool, EngineError> {
        let _turn = self.freezer.lock().await;
        let resting = self.lay_down();
        if resting.is_empty() {
            return Ok(false);
        }
        let all = resting.clone();
        let freeze = move || all.iter().try_for_each(|replica| replica.freeze());
        let frozen = spawn_blocking(freeze).await;
        let frozen = frozen.unwrap_or_else(|panic| Err(panic.to_string()));
        let Err(problem) = frozen else {
            // One that was taken out of service meanwhile was told to end, perhaps too early.
            let state = self.state();
            let leaving = resting.iter().filter(|replica| !state.is_frozen(replica));
            leaving.for_each(|replica| drop(replica.thaw()));
            return Ok(true);
        };
        {
            let mut state = self.state();
            state.wanted = state.wanted.max(state.frozen_count());
        }
        self.thaw(&resting);
        let name = &self.name;
        Err(EngineError::Host(format!(
            "function `{name}` stays awake: {problem}"
        )))
    }

    /// Takes all replicas off the list of those that take calls: a call that comes now wakes the
    /// function. Empty, and nothing is changed, if one has a call.
    fn lay_down(&self) -> Vec<Arc<Replica>> {
        let mut state = self.state();
        // Whoever waits for a start wants the others awake.
        if state.attempt.is_some() || self.closed.is_cancelled() {
            return Vec::new();
        }
        let awake: Vec<_> = state.entries.iter().filter_map(Entry::awake).collect();
        let able = awake.iter().all(|(replica, _)| replica.can_freeze());
        if awake.is_empty() || !able {
            return Vec::new();
        }
        let paused = awake.iter().take_while(|(_, backend)| backend.pause());
        let paused = paused.count();
        if paused < awake.len() {
            let undone = awake.iter().take(paused);
            undone.for_each(|(_, backend)| backend.resume());
            return Vec::new();
        }
        let resting = awake.into_iter().map(|(replica, _)| Arc::clone(replica));
        let resting = resting.collect();
        state.entries.iter_mut().for_each(Entry::lie_down);
        state.wanted = 0;
        self.publish(&state);
        resting
    }

    /// Has frozen replicas go on, as many as are missing; tells how many that were.
    pub(super) async fn thaw_missing(self: &Arc<Self>) -> usize {
        let _turn = self.freezer.lock().await;
        let missing: Vec<_> = {
            let state = self.state();
            let frozen = state.entries.iter().filter(|entry| entry.is_frozen());
            let frozen = frozen.map(|entry| Arc::clone(&entry.replica));
            frozen.take(state.missing() as usize).collect()
        };
        self.thaw(&missing)
    }

    /// Has replicas go on, and those that were frozen take calls again. The caller holds the
    /// freezer. Writes one word to the kernel for each, which is sooner done than handed to another
    /// thread, and a call waits for it.
    fn thaw(self: &Arc<Self>, replicas: &[Arc<Replica>]) -> usize {
        let thawed: Vec<_> = replicas.iter().map(|replica| replica.thaw()).collect();
        let mut awake = 0;
        let mut state = self.state();
        for (replica, thawed) in replicas.iter().zip(thawed) {
            let same = |entry: &&mut Entry| Arc::ptr_eq(&entry.replica, replica);
            let found = state.entries.iter_mut().find(same);
            let Some(entry) = found.filter(|entry| entry.is_frozen()) else {
                continue;
            };
            let Err(problem) = thawed else {
                entry.get_up();
                awake += 1;
                continue;
            };
            tracing::error!(function = %self.name, replica = %replica.id, %problem, "a frozen replica is given up");
            let end = End::new(EndReason::Host, "its replica could not be thawed");
            if let Some(leaving) = entry.drain() {
                see_off(self, leaving, Farewell::Condemned(end));
            }
        }
        self.publish(&state);
        awake
    }
}

// === impl Replica ===

impl Replica {
    /// Whether [`Replica::freeze`] can work on this machine.
    pub(super) fn can_freeze(&self) -> bool {
        self.cage().is_some_and(|cage| cage.can_freeze())
    }

    /// Whether it stands still, as the kernel knows it.
    pub(super) fn is_frozen(&self) -> bool {
        self.cage().is_some_and(|cage| cage.is_frozen())
    }

    /// Has everything in the cage stand still. Blocks for some milliseconds.
    pub(super) fn freeze(&self) -> Result<(), String> {
        // One that has ended stands still enough.
        let frozen = self.cage().map_or(Ok(()), |cage| cage.freeze());
        frozen.map_err(|problem| format!("replica {}: {problem}", self.id))
    }

    /// Has it go on.
    pub(super) fn thaw(&self) -> Result<(), String> {
        let thawed = self.cage().map_or(Ok(()), |cage| cage.thaw());
        thawed.map_err(|problem| format!("replica {}: {problem}", self.id))
    }
}

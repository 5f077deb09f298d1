//! The replicas of one revision of a function: what is wanted, what is there, and each step from
//! one to the other. The steps themselves are in `rollout`, `canary`, `scale`, `freeze` and
//! `supervise`.

use std::{
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hob_model::{
    Backend, End, ReplicaSet, SecretName,
    port::EngineError,
    wire::{FunctionState, Instance},
};
use tokio::task::spawn_blocking;

use super::{
    backoff::Backoff,
    phase::{Entry, Leaving, Phase},
    plan::{Plan, Program},
    ready::Started,
    replica::{Replica, STOP_GRACE},
    scale::Attempt,
    shared::Shared,
    supervise,
};

/// The replicas of the revision that answers, or those of a canary.
pub(super) struct Fleet {
    pub(super) shared: Arc<Shared>,
    /// The ready replicas, as the gateway sees them. The same for all revisions.
    pub(super) set: Arc<ReplicaSet>,
    /// Held by whoever freezes or thaws replicas: one after the other, or the kernel could hear of
    /// it in another order.
    pub(super) freezer: tokio::sync::Mutex<()>,
    /// Rung when replicas that are used once may be missing, for who is at starting some.
    pub(super) stir: tokio::sync::Notify,
    /// Never held across an await.
    state: Mutex<State>,
}

/// What is wanted and what is there.
#[derive(Debug, Default)]
pub(super) struct State {
    /// What answers calls; `None` until the first revision does, and again once it is to end.
    pub(super) plan: Option<Arc<Plan>>,
    /// Replicas that should take calls now; 0 while stopped or frozen.
    pub(super) wanted: u32,
    /// Every replica that is not gone.
    pub(super) entries: Vec<Entry>,
    /// The start of missing replicas, shared by all who wait for it; at most one at a time.
    pub(super) attempt: Option<Attempt>,
    pub(super) backoff: Backoff,
    /// How the last replica that did not end well ended.
    pub(super) last_end: Option<End>,
}

// === impl Fleet ===

impl Fleet {
    pub(super) fn new(shared: &Arc<Shared>) -> Arc<Self> {
        let fleet = Arc::new(Self {
            shared: Arc::clone(shared),
            set: Arc::default(),
            freezer: tokio::sync::Mutex::default(),
            stir: tokio::sync::Notify::default(),
            state: Mutex::default(),
        });
        shared.join(&fleet);
        fleet
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a revision answers for it: else it is only on its way to be a function.
    pub(super) fn is_deployed(&self) -> bool {
        self.state().plan.is_some()
    }

    /// Starts a program and a task that keeps watch over it.
    pub(super) async fn give_birth(
        self: &Arc<Self>,
        program: &Arc<Program>,
    ) -> Result<Arc<Replica>, EngineError> {
        self.warn_of_weak_cage(program);
        let _birth = self.births.read().await;
        let (fleet, program) = (Arc::clone(self), Arc::clone(program));
        let secrets = self.secrets_of(program.owner(), program.unusual_owner());
        let spawned = spawn_blocking(move || Replica::spawn(&fleet.host, &secrets, &program)).await;
        let replica = spawned.map_err(|panic| {
            EngineError::Host(format!("function `{}`: start: {panic}", self.name))
        })??;
        let replica = Arc::new(replica);
        self.state().entries.push(Entry {
            replica: Arc::clone(&replica),
            phase: Phase::Starting,
        });
        self.watch(supervise::keep(Arc::clone(self), Arc::clone(&replica)));
        Ok(replica)
    }

    /// Shows the gateway which replicas take calls. Call it with the changed `state` still
    /// locked, so that the last change is the one that stays.
    pub(super) fn publish(&self, state: &State) {
        self.show_supply(state);
        self.set.replace(state.ready().cloned().collect());
        let frozen = state.entries.iter().filter(|entry| entry.is_frozen());
        let frozen = frozen.filter_map(Entry::backend).cloned();
        self.set.replace_frozen(frozen.collect());
    }

    /// Has calls answered as `plan` says. Call it with the state still locked, as above.
    pub(super) fn open(&self, plan: &Plan) {
        self.set.limit(&plan.revision.settings.heeded_scale());
        plan.publish(&self.host.routes, &self.set, &self.counters);
    }

    /// Ends every replica at once, those that start included; calls under way are told `end`.
    async fn stop_all(&self, end: End) {
        let all: Vec<Arc<Replica>> = {
            let mut state = self.state();
            state.wanted = 0;
            for entry in &mut state.entries {
                if let Some(leaving) = entry.drain() {
                    leaving.backend.set_ended(end.clone());
                }
            }
            self.publish(&state);
            let entries = state.entries.iter();
            entries.map(|entry| Arc::clone(&entry.replica)).collect()
        };
        futures_util::future::join_all(all.iter().map(|replica| replica.stop(STOP_GRACE))).await;
    }

    /// Ends every replica for good. The function is closed and the caller holds `turn`, so that
    /// none is started.
    pub(super) async fn end(&self, end: End) {
        let settling = self.state().settling();
        if let Some(settling) = settling {
            settling.await;
        }
        self.stop_all(end).await;
    }

    /// Brings a new value to the replicas that may read it. Blocks on files.
    pub(super) fn refresh_secret(&self, name: &SecretName) -> Result<(), EngineError> {
        {
            let mut state = self.state();
            let plan = state.plan.as_ref();
            if plan.is_some_and(|plan| plan.revision.settings.secrets.contains(name)) {
                // What it waited for may be mended now.
                state.backoff = Backoff::Calm;
            }
        }
        self.rewrite_secret(name)
    }

    /// Where it stands and how its last replica that did not end well ended; `None` if nothing
    /// answers for it.
    pub(super) fn standing(&self) -> Option<(FunctionState, Option<End>)> {
        let state = self.state();
        let plan = state.plan.as_ref()?;
        Some((state.summary(plan), state.last_end.clone()))
    }

    pub(super) fn instances(&self) -> Vec<Instance> {
        // Files of the kernel are read with nothing locked.
        let entries = self.state().entries.clone();
        entries.iter().map(Entry::instance).collect()
    }
}

impl Deref for Fleet {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

// === impl State ===

impl State {
    /// The replicas that take calls.
    pub(super) fn ready(&self) -> impl Iterator<Item = &Arc<Backend>> {
        let awake = self.entries.iter().filter_map(Entry::awake);
        awake.map(|(_, backend)| backend)
    }

    pub(super) fn ready_count(&self) -> u32 {
        u32::try_from(self.ready().count()).unwrap_or(u32::MAX)
    }

    pub(super) fn frozen_count(&self) -> u32 {
        let frozen = self.entries.iter().filter(|entry| entry.is_frozen());
        u32::try_from(frozen.count()).unwrap_or(u32::MAX)
    }

    /// Whether it stands still.
    pub(super) fn is_frozen(&self, replica: &Arc<Replica>) -> bool {
        let mut entries = self.entries.iter();
        entries.any(|entry| Arc::ptr_eq(&entry.replica, replica) && entry.is_frozen())
    }

    /// Whether it was started, takes no calls yet and has not ended.
    pub(super) fn is_starting(&self, replica: &Arc<Replica>) -> bool {
        let mut entries = self.entries.iter();
        entries.any(|entry| {
            Arc::ptr_eq(&entry.replica, replica) && matches!(entry.phase, Phase::Starting)
        })
    }

    /// Lets a started replica take calls. False if it has ended meanwhile.
    pub(super) fn admit(&mut self, started: &Started) -> bool {
        let same = |entry: &&mut Entry| Arc::ptr_eq(&entry.replica, &started.replica);
        match self.entries.iter_mut().find(same) {
            Some(entry) if matches!(entry.phase, Phase::Starting) => {
                entry.phase = Phase::Ready(Arc::clone(&started.backend));
                true
            }
            _ => false,
        }
    }

    /// Takes frozen replicas out of service, and then the least busy of the others, until there
    /// are only `kept`.
    pub(super) fn drain_all_but(&mut self, kept: u32) -> Vec<Leaving> {
        let spare = kept.saturating_sub(self.ready_count());
        let surplus = self.frozen_count().saturating_sub(spare);
        let frozen = self.entries.iter_mut().filter(|entry| entry.is_frozen());
        let frozen = frozen.take(surplus as usize);
        let mut leaving: Vec<_> = frozen.filter_map(Entry::drain).collect();
        leaving.extend(self.drain_down_to(kept));
        leaving
    }

    /// Takes the least busy replicas out of service until only `kept` take calls.
    pub(super) fn drain_down_to(&mut self, kept: u32) -> Vec<Leaving> {
        let surplus = self.ready_count().saturating_sub(kept);
        let mut ready: Vec<&mut Entry> = self
            .entries
            .iter_mut()
            .filter(|entry| matches!(entry.phase, Phase::Ready(_)))
            .collect();
        ready.sort_by_key(|entry| entry.calls());
        let leaving = ready.into_iter().take(surplus as usize);
        leaving.filter_map(Entry::drain).collect()
    }

    /// Takes out the replica, which has ended, and tells where it stood.
    pub(super) fn forget(&mut self, replica: &Arc<Replica>) -> Option<Phase> {
        let same = |entry: &Entry| Arc::ptr_eq(&entry.replica, replica);
        let at = self.entries.iter().position(same)?;
        Some(self.entries.remove(at).phase)
    }

    fn summary(&self, plan: &Plan) -> FunctionState {
        if plan.program().is_none() || self.ready_count() > 0 || self.is_supplied() {
            FunctionState::Hot
        } else if self.frozen_count() > 0 {
            FunctionState::Frozen
        } else if self.backoff.is_pending() {
            FunctionState::Failing
        } else if self.attempt.is_some() {
            FunctionState::Starting
        } else {
            FunctionState::Stopped
        }
    }
}

//! The replicas of one function: what is wanted, what is there, and each step from one to the
//! other. The steps themselves are in `rollout`, `scale`, `freeze` and `supervise`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, Once, PoisonError},
};

use hob_model::{
    Backend, Counters, End, FunctionName, ReplicaSet, SecretName,
    port::{EngineError, Observed},
    wire::FunctionState,
};
use tokio::task::spawn_blocking;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    host::Host,
    inherit::Inherited,
    phase::{Entry, Leaving, Phase},
    places::Owner,
    plan::{Plan, Program},
    ready::Started,
    replica::{Replica, STOP_GRACE},
    scale::{Attempt, Backoff},
    secrets::SecretFolder,
    supervise,
};

/// One function on this machine.
pub(super) struct Fleet {
    pub(super) name: FunctionName,
    pub(super) host: Arc<Host>,
    /// The ready replicas, as the gateway sees them. The same for all revisions.
    pub(super) set: Arc<ReplicaSet>,
    pub(super) counters: Arc<Counters>,
    /// By the user of the cages that see them.
    secrets: Mutex<BTreeMap<Owner, Arc<SecretFolder>>>,
    /// Held by whoever freezes or thaws replicas: one after the other, or the kernel could hear of
    /// it in another order.
    pub(super) freezer: tokio::sync::Mutex<()>,
    /// Held by whoever changes the revision or removes the function: one at a time.
    pub(super) turn: Arc<tokio::sync::Mutex<()>>,
    /// Cancelled once, when the function is removed or hob stops.
    pub(super) closed: CancellationToken,
    /// Read while a replica is born, written while logs are cleaned up: the log of a replica
    /// that is not on the list yet must not look like one of the past.
    births: tokio::sync::RwLock<()>,
    /// The watch over each replica, until nothing is left of it.
    keepers: TaskTracker,
    warned: Once,
    /// Never held across an await.
    state: Mutex<State>,
}

/// What is wanted and what is there.
#[derive(Debug, Default)]
pub(super) struct State {
    /// What answers calls; `None` until the first revision does.
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
    /// What an earlier daemon left and nobody went on with yet.
    pub(super) inherited: Vec<Inherited>,
}

// === impl Fleet ===

impl Fleet {
    pub(super) fn new(host: &Arc<Host>, name: &FunctionName) -> Arc<Self> {
        Arc::new(Self {
            name: name.clone(),
            host: Arc::clone(host),
            set: Arc::default(),
            counters: Arc::default(),
            secrets: Mutex::default(),
            freezer: tokio::sync::Mutex::default(),
            turn: Arc::default(),
            closed: host.closing.child_token(),
            births: tokio::sync::RwLock::default(),
            keepers: TaskTracker::new(),
            warned: Once::new(),
            state: Mutex::default(),
        })
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

    /// Has whoever closes the function wait for `work`.
    pub(super) fn watch(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.keepers.spawn(work);
    }

    /// Waits until all that was watched is over. Nothing can be started any more.
    pub(super) async fn settled(&self) {
        self.keepers.close();
        self.keepers.wait().await;
    }

    /// Shows the gateway which replicas take calls. Call it with the changed `state` still
    /// locked, so that the last change is the one that stays.
    pub(super) fn publish(&self, state: &State) {
        self.set.replace(state.ready().cloned().collect());
        let frozen = state.entries.iter().filter(|entry| entry.is_frozen());
        let frozen = frozen.filter_map(Entry::backend).cloned();
        self.set.replace_frozen(frozen.collect());
    }

    /// Has calls answered as `plan` says. Call it with the state still locked, as above.
    pub(super) fn open(&self, plan: &Plan) {
        self.set.limit(&plan.revision.settings.scale);
        self.host.routes.set(plan.route(&self.set, &self.counters));
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

    /// Ends everything for good. The caller holds `turn`, so no rollout is under way.
    pub(super) async fn close(&self, end: End) {
        self.closed.cancel();
        let settling = self.state().settling();
        if let Some(settling) = settling {
            settling.await;
        }
        self.stop_all(end).await;
        // Those that ended by themselves a moment ago are on no list and not cleaned up yet.
        self.settled().await;
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
        let folders: Vec<_> = {
            let secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
            secrets.values().cloned().collect()
        };
        let mut folders = folders.iter();
        folders.try_for_each(|folder| folder.refresh(name, &*self.host.secrets))
    }

    /// The folder of secrets that cages of this user see; `unusual` says who that is, if it is not
    /// the usual one.
    pub(super) fn secrets_of(&self, owner: Owner, unusual: Owner) -> Arc<SecretFolder> {
        let mut secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = secrets.entry(owner).or_insert_with(|| {
            let path = self.host.places.secrets(&self.name, unusual);
            Arc::new(SecretFolder::new(path, &self.name, owner))
        });
        Arc::clone(folder)
    }

    /// Removes logs of replicas that are long gone.
    pub(super) async fn tidy_logs(&self) {
        let _no_birth = self.births.write().await;
        let folder = self.host.places.logs(&self.name);
        let living = self.living();
        let keeper = Arc::clone(&self.host.logs);
        let pruned = spawn_blocking(move || keeper.prune(&folder, &living)).await;
        if let Ok(Err(problem)) = pruned {
            tracing::warn!(function = %self.name, %problem, "old logs could not be removed");
        }
    }

    /// Names of the replicas that may still write to their logs.
    pub(super) fn living(&self) -> BTreeSet<String> {
        let state = self.state();
        let ids = state.entries.iter().map(|entry| &*entry.replica.id.0);
        let inherited = state.inherited.iter().map(Inherited::id);
        ids.chain(inherited).map(str::to_owned).collect()
    }

    pub(super) fn observe(&self) -> Option<Observed> {
        let state = self.state();
        let plan = state.plan.as_ref()?;
        Some(Observed {
            function: self.name.clone(),
            state: state.summary(plan),
            instances: state.entries.iter().map(Entry::instance).collect(),
            last_end: state.last_end.clone(),
        })
    }

    fn warn_of_weak_cage(&self, program: &Program) {
        let Some(shortfall) = &program.cage.shortfall else {
            return;
        };
        self.warned.call_once(|| {
            let level = program.cage.isolation;
            tracing::warn!(
                function = %self.name,
                "replicas run at isolation `{level}`, where they see the host's files, processes and network as any user does: {shortfall}"
            );
        });
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
        if plan.program().is_none() || self.ready_count() > 0 {
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

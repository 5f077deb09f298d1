//! What the fleets of one function have in common: that of the revision which answers, and while
//! there is a canary, that of the canary.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem::take,
    sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak, atomic::AtomicU32},
};

use hob_model::{Counters, FunctionName, SecretName, port::EngineError};
use tokio::task::spawn_blocking;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    fleet::Fleet, host::Host, inherit::Inherited, places::Owner, plan::Program,
    secrets::SecretFolder,
};

/// One function on this machine.
pub(super) struct Shared {
    pub(super) name: FunctionName,
    pub(super) host: Arc<Host>,
    pub(super) counters: Arc<Counters>,
    /// By the user of the cages that see them.
    secrets: Mutex<BTreeMap<Owner, Arc<SecretFolder>>>,
    /// Held by whoever changes a revision or removes the function: one at a time.
    pub(super) turn: Arc<tokio::sync::Mutex<()>>,
    /// Cancelled once, when the function is removed or hob stops.
    pub(super) closed: CancellationToken,
    /// Read while a replica is born, written while logs are cleaned up: the log of a replica
    /// that is not on a list yet must not look like one of the past.
    pub(super) births: tokio::sync::RwLock<()>,
    /// The watch over each replica, until nothing is left of it.
    keepers: TaskTracker,
    warned: Once,
    /// Replicas that were used once, left something in their log and are gone.
    pub(super) gone: AtomicU32,
    /// Those that take calls, and those of which a replica is left: its watch holds on to it.
    fleets: Mutex<Vec<Weak<Fleet>>>,
    /// What an earlier daemon left and nobody went on with yet.
    inherited: Mutex<Vec<Inherited>>,
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(host: &Arc<Host>, name: &FunctionName) -> Arc<Self> {
        Arc::new(Self {
            name: name.clone(),
            host: Arc::clone(host),
            counters: Arc::default(),
            secrets: Mutex::default(),
            turn: Arc::default(),
            closed: host.closing.child_token(),
            births: tokio::sync::RwLock::default(),
            keepers: TaskTracker::new(),
            warned: Once::new(),
            gone: AtomicU32::new(0),
            fleets: Mutex::default(),
            inherited: Mutex::default(),
        })
    }

    /// Counts a fleet among those of the function, for as long as it is there.
    pub(super) fn join(&self, fleet: &Arc<Fleet>) {
        let mut fleets = lock(&self.fleets);
        fleets.retain(|fleet| fleet.strong_count() > 0);
        fleets.push(Arc::downgrade(fleet));
    }

    /// Every fleet that is there, also one that is on its way out.
    pub(super) fn fleets(&self) -> Vec<Arc<Fleet>> {
        lock(&self.fleets)
            .iter()
            .filter_map(Weak::upgrade)
            .collect()
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

    /// Keeps a replica of an earlier daemon until it is known what becomes of it.
    pub(super) fn inherit(&self, one: Inherited) {
        lock(&self.inherited).push(one);
    }

    /// Takes out those of an earlier daemon that are `fit`.
    pub(super) fn heirs(&self, fit: impl Fn(&Inherited) -> bool) -> Vec<Inherited> {
        let mut inherited = lock(&self.inherited);
        let (fit, others) = take(&mut *inherited).into_iter().partition(fit);
        *inherited = others;
        fit
    }

    /// Names of the replicas that may still write to their logs.
    pub(super) fn living(&self) -> BTreeSet<String> {
        let inherited = lock(&self.inherited);
        let mut living: BTreeSet<_> = inherited.iter().map(|one| one.id().to_owned()).collect();
        drop(inherited);
        for fleet in self.fleets() {
            let state = fleet.state();
            let ids = state
                .entries
                .iter()
                .map(|entry| entry.replica.id.0.to_string());
            living.extend(ids);
        }
        living
    }

    /// Removes logs of replicas that are long gone, all but so many.
    pub(super) async fn tidy_logs(&self, kept: usize) {
        let _no_birth = self.births.write().await;
        let folder = self.host.places.logs(&self.name);
        let living = self.living();
        let keeper = Arc::clone(&self.host.logs);
        let pruned = spawn_blocking(move || keeper.prune(&folder, &living, kept)).await;
        if let Ok(Err(problem)) = pruned {
            tracing::warn!(function = %self.name, %problem, "old logs could not be removed");
        }
    }

    /// The folder of secrets that cages of this user see; `unusual` says who that is, if it is not
    /// the usual one.
    pub(super) fn secrets_of(&self, owner: Owner, unusual: Owner) -> Arc<SecretFolder> {
        let mut secrets = lock(&self.secrets);
        let folder = secrets.entry(owner).or_insert_with(|| {
            let path = self.host.places.secrets(&self.name, unusual);
            Arc::new(SecretFolder::new(path, &self.name, owner))
        });
        Arc::clone(folder)
    }

    /// Brings a new value to the replicas that may read it. Blocks on files.
    pub(super) fn rewrite_secret(&self, name: &SecretName) -> Result<(), EngineError> {
        let folders: Vec<_> = lock(&self.secrets).values().cloned().collect();
        let mut folders = folders.iter();
        folders.try_for_each(|folder| folder.refresh(name, &*self.host.secrets))
    }

    pub(super) fn warn_of_weak_cage(&self, program: &Program) {
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::future::join_all;
use hob_model::{
    Canary, End, EndReason, FleetName, Function, FunctionName, Track,
    port::{EngineError, Observed, ObservedCanary},
};
use tokio::{sync::OwnedMutexGuard, task::spawn_blocking};

use super::{
    fleet::Fleet,
    host::Host,
    places::remove_tree,
    plan::{Plan, check_replicas},
    scale::stopping,
    shared::Shared,
};

/// All functions of this machine.
pub(super) struct Fleets {
    pub(super) host: Arc<Host>,
    /// A function is taken out by whoever closed it, when nothing is left of it.
    all: Mutex<BTreeMap<FunctionName, Tracks>>,
}

/// The fleets of one function that take calls.
#[derive(Clone)]
struct Tracks {
    stable: Arc<Fleet>,
    canary: Option<Arc<Fleet>>,
}

/// A function in the hands of the one who may change its revisions.
pub(super) struct Turn {
    /// Of the revision that answers.
    pub(super) fleet: Arc<Fleet>,
    _guard: OwnedMutexGuard<()>,
}

impl Fleets {
    pub(super) fn new(host: Host) -> Arc<Self> {
        let host = Arc::new(host);
        let all = Mutex::default();
        Arc::new(Self { host, all })
    }

    /// A fleet of a deployed function.
    pub(super) fn get(&self, name: &FleetName) -> Result<Arc<Fleet>, EngineError> {
        let tracks = self.lock().get(&name.function).cloned();
        let fleet = tracks.and_then(|tracks| match name.track {
            Track::Stable => Some(tracks.stable),
            Track::Canary => tracks.canary,
        });
        fleet
            .filter(|fleet| fleet.is_deployed())
            .ok_or_else(|| EngineError::NotFound(name.function.clone()))
    }

    /// Those of a function, also those on their way out.
    pub(super) fn of(&self, name: &FunctionName) -> Vec<Arc<Fleet>> {
        let tracks = self.lock().get(name).cloned();
        tracks.map_or_else(Vec::new, |tracks| tracks.stable.fleets())
    }

    /// By name, deployed or not, also those on their way out.
    pub(super) fn list(&self) -> Vec<Arc<Fleet>> {
        let functions = self.functions();
        functions
            .iter()
            .flat_map(|stable| stable.fleets())
            .collect()
    }

    /// For each function the fleet of the revision that answers, deployed or not.
    pub(super) fn functions(&self) -> Vec<Arc<Fleet>> {
        let all = self.lock();
        all.values()
            .map(|tracks| Arc::clone(&tracks.stable))
            .collect()
    }

    /// What really runs. Blocks on files.
    pub(super) fn observe(&self) -> Vec<Observed> {
        let all: Vec<Tracks> = self.lock().values().cloned().collect();
        all.iter().filter_map(Tracks::observe).collect()
    }

    pub(super) async fn apply(&self, function: &Function) -> Result<(), EngineError> {
        let (name, host) = (&function.name, &self.host);
        check_replicas(name, function.replicas)?;
        let plan = Plan::new(host, name, &function.revision, None)?;
        let canary = match function.canary.as_deref() {
            Some(canary) => {
                check_replicas(name, canary.replicas)?;
                let plan = Plan::new(host, name, &canary.revision, Some(canary.share))?;
                Some((canary, plan))
            }
            None => None,
        };
        let turn = self.turn(name).await?;
        let outcome = self.change(&turn, plan, function.replicas, canary).await;
        let stable = self.find_or_make(name);
        if !stable.is_deployed() {
            // Its first revision failed: it never was a function.
            stable.closed.cancel();
            self.forget(&stable);
        }
        self.rename().await;
        outcome
    }

    async fn change(
        &self,
        turn: &Turn,
        plan: Arc<Plan>,
        replicas: u32,
        canary: Option<(&Canary, Arc<Plan>)>,
    ) -> Result<(), EngineError> {
        match self.promotable(turn, &plan) {
            Some(canary) => self.promote(turn, &canary, plan, replicas).await?,
            None => turn.fleet.roll_out(plan, replicas).await?,
        }
        match canary {
            Some((wanted, plan)) => self.run_canary(turn, plan, wanted).await,
            None => {
                self.end_canary(turn);
                Ok(())
            }
        }
    }

    /// Tells images which functions there are.
    async fn rename(&self) {
        // A start with thousands of functions must not send a thread off for each.
        if !self.host.networks.is_watched() {
            return;
        }
        let host = Arc::clone(&self.host);
        // A panic in there is shown by the runtime.
        let _ = spawn_blocking(move || host.networks.rename()).await;
    }

    /// Takes the route out and ends every replica; nothing of the function is left on return.
    pub(super) async fn remove(&self, name: &FunctionName) -> Result<(), EngineError> {
        let fleet = self.get(&FleetName::stable(name))?;
        // Calls off a change of revision under way, which would hold the turn.
        fleet.closed.cancel();
        let _turn = fleet.turn.lock().await;
        if !self.holds(&fleet.shared) {
            // Somebody else removed it meanwhile, and the name may be in use again.
            return Err(EngineError::NotFound(name.clone()));
        }
        self.host.routes.remove(name);
        let gone = End::new(EndReason::Cancelled, "the function was removed");
        close(&fleet.shared, gone).await;
        let folder = self.host.places.logs(name);
        let cleared = spawn_blocking(move || remove_tree(&folder)).await;
        self.forget(&fleet);
        self.rename().await;
        match cleared {
            Ok(Err(problem)) => Err(EngineError::Host(format!(
                "function `{name}` is removed, its logs are not: {problem}"
            ))),
            Ok(Ok(())) | Err(_) => Ok(()),
        }
    }

    /// Ends every replica of every function, at the same time.
    pub(super) async fn shutdown(&self) {
        self.host.closing.cancel();
        let ends = self.functions().into_iter().map(|fleet| async move {
            let _turn = fleet.turn.lock().await;
            let end = End::new(EndReason::Cancelled, "hob was stopped");
            close(&fleet.shared, end).await;
        });
        join_all(ends).await;
        let host = Arc::clone(&self.host);
        // A panic in there is shown by the runtime.
        let _ = spawn_blocking(move || host.networks.shutdown()).await;
        if let Err(problem) = self.host.places.clear() {
            tracing::warn!(%problem, "the folder of running replicas could not be cleared");
        }
    }

    /// Waits until nobody else changes the function.
    pub(super) async fn turn(&self, name: &FunctionName) -> Result<Turn, EngineError> {
        loop {
            if self.host.closing.is_cancelled() {
                return Err(stopping());
            }
            let fleet = self.find_or_make(name);
            let guard = Arc::clone(&fleet.turn).lock_owned().await;
            // Else it was removed while we waited, and the name is free.
            if !fleet.closed.is_cancelled() {
                return Ok(Turn {
                    // A canary may have taken over while we waited.
                    fleet: self.find_or_make(name),
                    _guard: guard,
                });
            }
        }
    }

    pub(super) fn find_or_make(&self, name: &FunctionName) -> Arc<Fleet> {
        let mut all = self.lock();
        let entry = all.entry(name.clone());
        let tracks = entry.or_insert_with(|| Tracks {
            stable: Fleet::new(&Shared::new(&self.host, name)),
            canary: None,
        });
        Arc::clone(&tracks.stable)
    }

    /// The canary of the function that `stable` is of.
    pub(super) fn canary(&self, stable: &Fleet) -> Option<Arc<Fleet>> {
        self.lock().get(&stable.name)?.canary.clone()
    }

    /// Puts a canary beside the fleet `stable`, or nothing; returns the former one.
    pub(super) fn set_canary(
        &self,
        stable: &Fleet,
        canary: Option<Arc<Fleet>>,
    ) -> Option<Arc<Fleet>> {
        let mut all = self.lock();
        std::mem::replace(&mut all.get_mut(&stable.name)?.canary, canary)
    }

    /// Puts what was a canary in the place of the fleet of the revision that answers.
    pub(super) fn set_stable(&self, fleet: &Arc<Fleet>) {
        if let Some(tracks) = self.lock().get_mut(&fleet.name) {
            tracks.stable = Arc::clone(fleet);
            tracks.canary = None;
        }
    }

    fn holds(&self, function: &Arc<Shared>) -> bool {
        let all = self.lock();
        all.get(&function.name)
            .is_some_and(|now| Arc::ptr_eq(&now.stable.shared, function))
    }

    /// Only for who holds the function's turn.
    pub(super) fn forget(&self, fleet: &Arc<Fleet>) {
        self.lock().remove(&fleet.name);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<FunctionName, Tracks>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tracks {
    fn observe(&self) -> Option<Observed> {
        let (state, last_end) = self.stable.standing()?;
        let canary = self.canary.as_ref().and_then(|canary| canary.standing());
        let fleets = self.stable.fleets();
        Some(Observed {
            function: self.stable.name.clone(),
            state,
            instances: fleets.iter().flat_map(|fleet| fleet.instances()).collect(),
            last_end,
            canary: canary.map(|(state, last_end)| ObservedCanary { state, last_end }),
        })
    }
}

/// Ends everything of a function for good. The caller holds its turn, so that no rollout is under
/// way.
async fn close(function: &Shared, end: End) {
    function.closed.cancel();
    let fleets = function.fleets();
    join_all(fleets.iter().map(|fleet| fleet.end(end.clone()))).await;
    // Those that ended by themselves a moment ago are on no list and not cleaned up yet.
    function.settled().await;
}

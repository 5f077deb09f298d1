use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures_util::future::join_all;
use hob_model::{End, EndReason, Function, FunctionName, port::EngineError};
use tokio::{sync::OwnedMutexGuard, task::spawn_blocking};

use super::{fleet::Fleet, host::Host, places::remove_tree, plan::Plan, scale::stopping};

/// All functions of this machine.
pub(super) struct Fleets {
    pub(super) host: Arc<Host>,
    /// A fleet is taken out by whoever closed it, when nothing is left of it.
    all: Mutex<BTreeMap<FunctionName, Arc<Fleet>>>,
}

/// A fleet in the hands of the one who may change its revision.
struct Turn {
    fleet: Arc<Fleet>,
    _guard: OwnedMutexGuard<()>,
}

impl Fleets {
    pub(super) fn new(host: Host) -> Arc<Self> {
        let host = Arc::new(host);
        let all = Mutex::default();
        Arc::new(Self { host, all })
    }

    /// The fleet of a deployed function.
    pub(super) fn get(&self, name: &FunctionName) -> Result<Arc<Fleet>, EngineError> {
        let fleet = self.lock().get(name).cloned();
        fleet
            .filter(|fleet| fleet.is_deployed())
            .ok_or_else(|| EngineError::NotFound(name.clone()))
    }

    /// By name, deployed or not.
    pub(super) fn list(&self) -> Vec<Arc<Fleet>> {
        self.lock().values().cloned().collect()
    }

    pub(super) async fn apply(&self, function: &Function) -> Result<(), EngineError> {
        let plan = Arc::new(Plan::new(&self.host, function)?);
        let turn = self.turn(&function.name).await?;
        let fleet = &turn.fleet;
        let outcome = fleet.roll_out(plan, function.replicas).await;
        if !fleet.is_deployed() {
            // Its first revision failed: it never was a function.
            fleet.closed.cancel();
            self.forget(fleet);
        }
        self.rename().await;
        outcome
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
        let fleet = self.get(name)?;
        // Calls off a change of revision under way, which would hold the turn.
        fleet.closed.cancel();
        let _turn = fleet.turn.lock().await;
        if !self.holds(&fleet) {
            // Somebody else removed it meanwhile, and the name may be in use again.
            return Err(EngineError::NotFound(name.clone()));
        }
        self.host.routes.remove(name);
        let gone = End::new(EndReason::Cancelled, "the function was removed");
        fleet.close(gone).await;
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
        let ends = self.list().into_iter().map(|fleet| async move {
            let _turn = fleet.turn.lock().await;
            let end = End::new(EndReason::Cancelled, "hob was stopped");
            fleet.close(end).await;
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
    async fn turn(&self, name: &FunctionName) -> Result<Turn, EngineError> {
        loop {
            if self.host.closing.is_cancelled() {
                return Err(stopping());
            }
            let fleet = self.find_or_make(name);
            let guard = Arc::clone(&fleet.turn).lock_owned().await;
            // Else it was removed while we waited, and the name is free.
            if !fleet.closed.is_cancelled() {
                return Ok(Turn {
                    fleet,
                    _guard: guard,
                });
            }
        }
    }

    pub(super) fn find_or_make(&self, name: &FunctionName) -> Arc<Fleet> {
        let mut all = self.lock();
        let entry = all.entry(name.clone());
        Arc::clone(entry.or_insert_with(|| Fleet::new(&self.host, name)))
    }

    fn holds(&self, fleet: &Arc<Fleet>) -> bool {
        let all = self.lock();
        all.get(&fleet.name)
            .is_some_and(|now| Arc::ptr_eq(now, fleet))
    }

    /// Only for who holds the fleet's turn.
    pub(super) fn forget(&self, fleet: &Arc<Fleet>) {
        self.lock().remove(&fleet.name);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<FunctionName, Arc<Fleet>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

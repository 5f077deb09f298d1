use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, RwLock},
};

use hob_model::{FleetName, Function, FunctionName};

/// The functions of the store, kept in memory. Written only after the store was.
#[derive(Default)]
pub(crate) struct Deployed {
    all: RwLock<BTreeMap<FunctionName, Arc<Function>>>,
    /// Those that always run, apart since somebody looks for them all the time.
    always: RwLock<BTreeSet<FleetName>>,
}

impl Deployed {
    pub(crate) fn get(&self, name: &FunctionName) -> Option<Arc<Function>> {
        let map = self.all.read().unwrap_or_else(PoisonError::into_inner);
        map.get(name).cloned()
    }

    /// Every function, sorted by namespace and name.
    pub(crate) fn all(&self) -> Vec<Arc<Function>> {
        let map = self.all.read().unwrap_or_else(PoisonError::into_inner);
        map.values().cloned().collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.all
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    pub(crate) fn put(&self, function: Arc<Function>) {
        let mut map = self.all.write().unwrap_or_else(PoisonError::into_inner);
        let mut always = self.always.write().unwrap_or_else(PoisonError::into_inner);
        for fleet in FleetName::both(&function.name) {
            match function.always(fleet.track) {
                0 => always.remove(&fleet),
                _ => always.insert(fleet),
            };
        }
        map.insert(function.name.clone(), function);
    }

    pub(crate) fn remove(&self, name: &FunctionName) {
        let mut map = self.all.write().unwrap_or_else(PoisonError::into_inner);
        let mut always = self.always.write().unwrap_or_else(PoisonError::into_inner);
        always.retain(|fleet| fleet.function != *name);
        map.remove(name);
    }

    /// Those of which some replicas always run.
    pub(crate) fn always(&self) -> Vec<FleetName> {
        let always = self.always.read().unwrap_or_else(PoisonError::into_inner);
        always.iter().cloned().collect()
    }
}

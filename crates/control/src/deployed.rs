use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use hob_model::{Function, FunctionName};

/// The functions of the store, kept in memory. Written only after the store was.
#[derive(Default)]
pub(crate) struct Deployed(RwLock<BTreeMap<FunctionName, Arc<Function>>>);

impl Deployed {
    pub(crate) fn get(&self, name: &FunctionName) -> Option<Arc<Function>> {
        let map = self.0.read().unwrap_or_else(PoisonError::into_inner);
        map.get(name).cloned()
    }

    /// Every function, sorted by namespace and name.
    pub(crate) fn all(&self) -> Vec<Arc<Function>> {
        let map = self.0.read().unwrap_or_else(PoisonError::into_inner);
        map.values().cloned().collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub(crate) fn put(&self, function: Arc<Function>) {
        let mut map = self.0.write().unwrap_or_else(PoisonError::into_inner);
        map.insert(function.name.clone(), function);
    }

    pub(crate) fn remove(&self, name: &FunctionName) {
        let mut map = self.0.write().unwrap_or_else(PoisonError::into_inner);
        map.remove(name);
    }
}

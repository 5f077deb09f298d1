//! Functions whose deploy by a client of OpenFaaS is under way: shown already, since such a client
//! may be told that its deploy goes on, and then looks for it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use hob_model::{FunctionName, openfaas::FunctionDeployment};

/// One of them.
pub(crate) struct Coming {
    pub(crate) asked: FunctionDeployment,
    pub(crate) since: SystemTime,
}

type List = Mutex<BTreeMap<FunctionName, Arc<Coming>>>;

/// All of them, by name.
#[derive(Default)]
pub(crate) struct Comings(Arc<List>);

/// On the list until it is dropped.
pub(crate) struct Announced {
    list: Arc<List>,
    name: FunctionName,
    coming: Arc<Coming>,
}

// === impl Comings ===

impl Comings {
    /// Shows `name` while the answer lives. The last one that came is the one shown.
    pub(crate) fn add(&self, name: &FunctionName, asked: &FunctionDeployment) -> Announced {
        let coming = Arc::new(Coming {
            asked: asked.clone(),
            since: SystemTime::now(),
        });
        lock(&self.0).insert(name.clone(), Arc::clone(&coming));
        Announced {
            list: Arc::clone(&self.0),
            name: name.clone(),
            coming,
        }
    }

    pub(crate) fn get(&self, name: &FunctionName) -> Option<Arc<Coming>> {
        lock(&self.0).get(name).cloned()
    }

    pub(crate) fn in_namespace(&self, namespace: &str) -> Vec<(FunctionName, Arc<Coming>)> {
        let list = lock(&self.0);
        let mut all: Vec<_> = list
            .iter()
            .map(|(n, c)| (n.clone(), Arc::clone(c)))
            .collect();
        all.retain(|(name, _)| name.namespace() == namespace);
        all
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        let mut list = lock(&self.list);
        let shown = list.get(&self.name);
        if shown.is_some_and(|shown| Arc::ptr_eq(shown, &self.coming)) {
            list.remove(&self.name);
        }
    }
}

fn lock(list: &List) -> MutexGuard<'_, BTreeMap<FunctionName, Arc<Coming>>> {
    list.lock().unwrap_or_else(PoisonError::into_inner)
}

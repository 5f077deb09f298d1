use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use hob_model::FunctionName;
use tokio::sync::{Mutex as Turnstile, OwnedMutexGuard};

/// One at a time for each function, in the order of asking.
#[derive(Default)]
pub(crate) struct Turns(Mutex<HashMap<FunctionName, Arc<Turnstile<()>>>>);

/// Given back on drop.
pub(crate) type Turn = OwnedMutexGuard<()>;

impl Turns {
    /// Waits for the turn.
    pub(crate) async fn take(&self, name: &FunctionName) -> Turn {
        self.turnstile(name).lock_owned().await
    }

    /// Takes the turn if nobody has it.
    pub(crate) fn try_take(&self, name: &FunctionName) -> Option<Turn> {
        self.turnstile(name).try_lock_owned().ok()
    }

    fn turnstile(&self, name: &FunctionName) -> Arc<Turnstile<()>> {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that only the map holds have neither holder nor waiter.
        map.retain(|_, turnstile| Arc::strong_count(turnstile) > 1);
        Arc::clone(map.entry(name.clone()).or_default())
    }
}

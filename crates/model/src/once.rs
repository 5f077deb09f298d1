//! What a replica that is used once has besides.

use std::{
    sync::{Mutex, OnceLock, PoisonError},
    task::Waker,
};

use crate::EndReason;

/// The only call of a replica.
#[derive(Debug, Default)]
pub(crate) struct Once {
    /// Who waits for it to begin, or to end.
    waiting: Mutex<Option<Waker>>,
    /// What it did that it may not.
    pub(crate) blamed: OnceLock<EndReason>,
}

impl Once {
    /// Wakes `waker`, in place of the one before, when either happens.
    pub(crate) fn wait(&self, waker: &Waker) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *waiting {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }

    /// It has begun or ended.
    pub(crate) fn tell(&self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let waiter = waiting.take();
        // Not under the lock: a waker may do anything.
        drop(waiting);
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }
}

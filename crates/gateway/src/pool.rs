use std::{
    cell::RefCell,
    collections::HashMap,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use hob_model::Backend;

use crate::upstream::Upstream;

/// The idle connections of one thread, by replica.
pub(crate) struct Pool {
    /// By address of the backend; the `Weak` inside keeps the address from being used again.
    shelves: RefCell<HashMap<*const Backend, Shelf>>,
    /// Connections kept per replica.
    bound: usize,
    /// How long one is kept.
    age: Duration,
}

struct Shelf {
    backend: Weak<Backend>,
    /// Oldest first; the youngest is taken, so the surplus of a busy minute grows old.
    idle: Vec<Idle>,
}

struct Idle {
    upstream: Box<Upstream>,
    until: Instant,
}

impl Pool {
    pub(crate) fn new(bound: usize, age: Duration) -> Self {
        Self {
            shelves: RefCell::default(),
            bound,
            age,
        }
    }

    /// A live connection to `backend`, if one is idle.
    pub(crate) fn take(&self, backend: &Arc<Backend>, now: Instant) -> Option<Box<Upstream>> {
        let mut shelves = self.shelves.borrow_mut();
        let shelf = shelves.get_mut(&Arc::as_ptr(backend))?;
        while let Some(mut idle) = shelf.idle.pop() {
            if idle.until > now && idle.upstream.is_kept() && idle.upstream.is_reusable() {
                return Some(idle.upstream);
            }
        }
        None
    }

    /// Keeps `upstream` for the next call. `hint` is how long the replica said it would.
    pub(crate) fn put(
        &self,
        backend: &Arc<Backend>,
        upstream: Box<Upstream>,
        hint: Option<Duration>,
        now: Instant,
    ) {
        if backend.is_draining() {
            return;
        }
        let age = hint.map_or(self.age, |hint| hint.min(self.age));
        let mut shelves = self.shelves.borrow_mut();
        let shelf = shelves
            .entry(Arc::as_ptr(backend))
            .or_insert_with(|| Shelf {
                backend: Arc::downgrade(backend),
                idle: Vec::new(),
            });
        if shelf.idle.len() < self.bound {
            let until = now + age;
            shelf.idle.push(Idle { upstream, until });
        }
    }

    /// Closes what is too old, or leads to a replica on its way out.
    pub(crate) fn sweep(&self, now: Instant) {
        self.shelves.borrow_mut().retain(|_, shelf| {
            let alive = shelf.backend.upgrade().is_some_and(|b| !b.is_draining());
            shelf.idle.retain(|idle| alive && idle.until > now);
            alive && !shelf.idle.is_empty()
        });
    }
}

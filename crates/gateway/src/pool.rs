use std::{
    cell::RefCell,
    collections::HashMap,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use hob_model::Backend;

/// A connection to a replica that can serve one call after another.
pub(crate) trait Reusable {
    /// Whether the next request can go over it. Sees that the replica closed it meanwhile.
    fn is_reusable(&mut self) -> bool;
}

/// The idle connections of one thread, by replica.
pub(crate) struct Pool<C> {
    /// By address of the backend; the `Weak` inside keeps the address from being used again.
    shelves: RefCell<HashMap<*const Backend, Shelf<C>>>,
    /// Connections kept per replica.
    bound: usize,
    /// How long one is kept.
    age: Duration,
}

struct Shelf<C> {
    backend: Weak<Backend>,
    /// Pauses of the backend up to which these connections are good.
    pauses: u32,
    /// Oldest first; the youngest is taken, so the surplus of a busy minute grows old.
    idle: Vec<Idle<C>>,
}

struct Idle<C> {
    connection: C,
    until: Instant,
}

impl<C: Reusable> Pool<C> {
    pub(crate) fn new(bound: usize, age: Duration) -> Self {
        Self {
            shelves: RefCell::default(),
            bound,
            age,
        }
    }

    /// A live connection to `backend`, if one is idle.
    pub(crate) fn take(&self, backend: &Arc<Backend>, now: Instant) -> Option<C> {
        let mut shelves = self.shelves.borrow_mut();
        let shelf = shelves.get_mut(&Arc::as_ptr(backend))?;
        shelf.renew(backend);
        while let Some(mut idle) = shelf.idle.pop() {
            if idle.until > now && idle.connection.is_reusable() {
                return Some(idle.connection);
            }
        }
        None
    }

    /// Keeps `connection` for the next call. `hint` is how long the replica said it would.
    pub(crate) fn put(
        &self,
        backend: &Arc<Backend>,
        connection: C,
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
                pauses: backend.pauses(),
                idle: Vec::new(),
            });
        shelf.renew(backend);
        if shelf.idle.len() < self.bound {
            let until = now + age;
            shelf.idle.push(Idle { connection, until });
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

impl<C> Shelf<C> {
    /// Closes connections from before a pause: the program may be about to close them, since its
    /// timeouts went on while it stood still.
    fn renew(&mut self, backend: &Backend) {
        let pauses = backend.pauses();
        if self.pauses != pauses {
            self.pauses = pauses;
            self.idle.clear();
        }
    }
}

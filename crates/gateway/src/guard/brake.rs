use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// How many calls may be under way at once, over all functions and threads. There is no line:
/// whoever waits takes memory as well. So a number does, and no call takes a lock for it.
pub(crate) struct Brake {
    most: usize,
    taken: AtomicUsize,
}

/// One call's place, until it is dropped.
pub(crate) struct Place(Arc<Brake>);

impl Brake {
    /// Lets `most` in, and one at least.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            taken: AtomicUsize::new(0),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.taken.load(Ordering::Relaxed) >= self.most
    }

    pub(super) fn place(self: &Arc<Self>) -> Option<Place> {
        if self.taken.fetch_add(1, Ordering::Relaxed) < self.most {
            return Some(Place(Arc::clone(self)));
        }
        self.taken.fetch_sub(1, Ordering::Relaxed);
        None
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_places_as_were_asked_for() {
        let brake = Arc::new(Brake::new(2));
        let held = [brake.place(), brake.place()];
        assert!(held.iter().all(Option::is_some) && brake.is_full());
        assert!(brake.place().is_none() && brake.place().is_none());
        drop(held);
        assert!(!brake.is_full() && brake.place().is_some());
        assert_eq!(brake.taken.load(Ordering::Relaxed), 0);
        assert!(Arc::new(Brake::new(0)).place().is_some());
    }
}

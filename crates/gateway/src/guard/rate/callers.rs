use std::{
    array,
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use governor::{
    nanos::Nanos,
    state::{StateStore, keyed::ShrinkableKeyedStateStore},
};

/// Callers of one function that are told apart at a time. A key and a time each: 3 MB or so.
const CALLERS_MAX: usize = 100_000;
/// The same over all functions.
const ALL_MAX: usize = 1_000_000;
/// Parts with a lock each, since all threads count.
const PARTS: usize = 16;

/// When each caller will have spent nothing any more, by the hash of who it is.
///
/// Strangers make up addresses and headers, so the number of those that are remembered is bounded.
/// While it is reached, all new ones count as one caller: what they do cannot make the known ones
/// worse off, nor themselves better off.
pub(super) struct Callers {
    parts: [Mutex<Part>; PARTS],
    all: All,
}

/// How many are remembered over all functions.
#[derive(Clone, Default)]
pub(super) struct All(Arc<AtomicUsize>);

#[derive(Default)]
struct Part {
    known: HashMap<u64, Nanos>,
    /// Of all that found no room.
    rest: Option<Nanos>,
}

impl Callers {
    pub(super) fn new(all: &All) -> Self {
        Self {
            parts: array::from_fn(|_| Mutex::default()),
            all: all.clone(),
        }
    }
}

impl Drop for Callers {
    fn drop(&mut self) {
        self.all.forget(self.len());
    }
}

impl All {
    /// Whether there is room for one more. Threads may pass by each other: a few more do not matter.
    fn has_room(&self) -> bool {
        self.0.load(Ordering::Relaxed) < ALL_MAX
    }

    fn remember(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn forget(&self, callers: usize) {
        self.0.fetch_sub(callers, Ordering::Relaxed);
    }
}

impl StateStore for Callers {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut part = lock(&self.parts[(key % PARTS as u64) as usize]);
        if let Some(known) = part.known.get_mut(key) {
            let (outcome, next) = decide(Some(*known))?;
            *known = next;
            return Ok(outcome);
        }
        if part.known.len() < CALLERS_MAX / PARTS && self.all.has_room() {
            let (outcome, next) = decide(None)?;
            part.known.insert(*key, next);
            self.all.remember();
            return Ok(outcome);
        }
        let (outcome, next) = decide(part.rest)?;
        part.rest = Some(next);
        Ok(outcome)
    }
}

impl ShrinkableKeyedStateStore<u64> for Callers {
    fn retain_recent(&self, drop_below: Nanos) {
        for part in &self.parts {
            let mut part = lock(part);
            let before = part.known.len();
            part.known.retain(|_, until| *until > drop_below);
            self.all.forget(before - part.known.len());
            if part.known.len() < part.known.capacity() / 4 {
                part.known.shrink_to_fit();
            }
        }
    }

    fn len(&self) -> usize {
        self.parts.iter().map(|part| lock(part).known.len()).sum()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn lock(part: &Mutex<Part>) -> MutexGuard<'_, Part> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_are_bounded_and_forgotten() {
        let all = All::default();
        let callers = Callers::new(&all);
        let spend = |key: u64, until: u64| {
            callers.measure_and_replace(&key, |before| Ok::<_, ()>((before, Nanos::new(until))))
        };
        for key in 0..CALLERS_MAX as u64 {
            assert_eq!(spend(key, key + 1), Ok(None));
        }
        // One more is one of the rest, and the known ones are still told apart.
        let more = CALLERS_MAX as u64;
        assert_eq!(spend(more, 5), Ok(None));
        assert_eq!(spend(more + PARTS as u64, 6), Ok(Some(Nanos::new(5))));
        assert_eq!(spend(0, 2), Ok(Some(Nanos::new(1))));
        assert_eq!(callers.len(), CALLERS_MAX);
        assert_eq!(all.0.load(Ordering::Relaxed), CALLERS_MAX);
        callers.retain_recent(Nanos::new(more));
        assert!(callers.is_empty());
        assert_eq!(spend(more, 7), Ok(None));
        drop(callers);
        assert_eq!(all.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn all_functions_together_are_bounded_too() {
        let all = All::default();
        let functions: Vec<_> = (0..=ALL_MAX / CALLERS_MAX)
            .map(|_| Callers::new(&all))
            .collect();
        for callers in &functions {
            for key in 0..CALLERS_MAX as u64 {
                let spent = callers.measure_and_replace(&key, |_| Ok::<_, ()>(((), Nanos::new(1))));
                assert_eq!(spent, Ok(()));
            }
        }
        let remembered: usize = functions.iter().map(|callers| callers.len()).sum();
        assert_eq!(remembered, ALL_MAX);
    }
}

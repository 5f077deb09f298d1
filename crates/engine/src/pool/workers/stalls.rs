use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use crate::pool::{WorkerAddress, WorkerError};

/// How long a worker is left alone that could not be reached, at first; twice as long each
/// further time.
const REST: Duration = Duration::from_millis(500);
const LONGEST_REST: Duration = Duration::from_secs(30);
/// The same for one that is there and has others' runs.
const BREATHER: Duration = Duration::from_millis(100);

/// The workers, and who of them has how many runs.
#[derive(Debug)]
pub(super) struct Stalls {
    state: Mutex<Vec<State>>,
    /// Told when a worker has a run less.
    back: Notify,
}

#[derive(Debug)]
struct State {
    worker: Arc<WorkerAddress>,
    slots: usize,
    taken: usize,
    /// When it was last given a run, by the order of turns.
    turn: u64,
    /// Until when it is left alone.
    rests_until: Option<Instant>,
    /// How long that is the next time.
    rest: Duration,
}

/// A worker's slot, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Stall {
    stalls: Arc<Stalls>,
    worker: Arc<WorkerAddress>,
    number: usize,
}

// === impl Stalls ===

impl Stalls {
    /// With the number of slots of each.
    pub(super) fn new(workers: impl Iterator<Item = (WorkerAddress, usize)>) -> Self {
        let state = workers.map(|(worker, slots)| State {
            worker: Arc::new(worker),
            slots,
            taken: 0,
            turn: 0,
            rests_until: None,
            rest: REST,
        });
        Self {
            state: Mutex::new(state.collect()),
            back: Notify::new(),
        }
    }

    pub(super) fn size(&self) -> usize {
        self.state().iter().map(|state| state.slots).sum()
    }

    /// Slots that could be taken now.
    pub(super) fn free(&self) -> usize {
        let now = Instant::now();
        let state = self.state();
        let awake = state.iter().filter(|state| !state.rests(now));
        awake.map(|state| state.slots - state.taken).sum()
    }

    /// A slot of the least busy worker that is not among those `tried`. Waits where all that are
    /// awake have their hands full; `None` when none is left to be tried.
    ///
    /// One that rests is only taken when all do: its rest may be over earlier than anybody knows.
    pub(super) async fn take(self: &Arc<Self>, tried: &[usize]) -> Option<Stall> {
        loop {
            let mut back = std::pin::pin!(self.back.notified());
            // Before the look, or what comes back meanwhile is missed.
            back.as_mut().enable();
            match self.look(tried) {
                Ok(found) => return found,
                Err(Full) => back.await,
            }
        }
    }

    /// Waits until nobody holds a slot.
    pub(super) async fn all_back(&self) {
        loop {
            let mut back = std::pin::pin!(self.back.notified());
            back.as_mut().enable();
            if self.state().iter().all(|state| state.taken == 0) {
                return;
            }
            back.await;
        }
    }

    fn look(self: &Arc<Self>, tried: &[usize]) -> Result<Option<Stall>, Full> {
        let now = Instant::now();
        let mut state = self.state();
        let untried = |number: &usize| !tried.contains(number);
        let awake = |number: &usize| !state[*number].rests(now);
        let mut open: Vec<usize> = (0..state.len()).filter(untried).filter(awake).collect();
        if open.is_empty() {
            open = (0..state.len()).filter(untried).collect();
        }
        if open.is_empty() {
            return Ok(None);
        }
        let free = open
            .into_iter()
            .filter(|number| state[*number].taken < state[*number].slots);
        let least_busy = free.min_by_key(|number| (state[*number].taken, state[*number].turn));
        let number = least_busy.ok_or(Full)?;
        let turn = state.iter().map(|state| state.turn).max().unwrap_or(0) + 1;
        let chosen = &mut state[number];
        chosen.taken += 1;
        chosen.turn = turn;
        Ok(Some(Stall {
            stalls: Arc::clone(self),
            worker: Arc::clone(&chosen.worker),
            number,
        }))
    }

    fn state(&self) -> MutexGuard<'_, Vec<State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All that are awake have their hands full.
struct Full;

// === impl State ===

impl State {
    fn rests(&self, now: Instant) -> bool {
        self.rests_until.is_some_and(|until| until > now)
    }
}

// === impl Stall ===

impl Stall {
    pub(super) fn worker(&self) -> &WorkerAddress {
        &self.worker
    }

    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// It took an order.
    pub(super) fn is_well(&self) {
        let mut state = self.stalls.state();
        let state = &mut state[self.number];
        state.rests_until = None;
        state.rest = REST;
    }

    /// It did not.
    pub(super) fn rests(&self, error: &WorkerError) {
        let mut state = self.stalls.state();
        let state = &mut state[self.number];
        let rest = if matches!(error, WorkerError::Busy { .. }) {
            BREATHER
        } else {
            let rest = state.rest;
            state.rest = (2 * rest).min(LONGEST_REST);
            rest
        };
        state.rests_until = Some(Instant::now() + rest);
    }
}

impl Drop for Stall {
    fn drop(&mut self) {
        self.stalls.state()[self.number].taken -= 1;
        self.stalls.back.notify_waiters();
    }
}

use std::{
    collections::{BTreeSet, HashMap},
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Instant,
};

use super::run::Run;

/// Ends runs when their time is up, in a thread of its own: whatever keeps the others busy, and
/// however slow a caller reads, nobody lives longer than his deadline.
#[derive(Debug)]
pub(super) struct Watch {
    shared: Arc<Shared>,
}

/// A run that is watched, until it is dropped.
#[derive(Debug)]
pub(super) struct Watched {
    shared: Arc<Shared>,
    number: u64,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// There is an earlier moment to look, or the end.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// When to look at whom; what is due first is first.
    moments: BTreeSet<(Instant, u64)>,
    runs: HashMap<u64, (Instant, Arc<Run>)>,
    next_number: u64,
    is_over: bool,
}

// === impl Watch ===

impl Watch {
    /// # Errors
    /// When the machine has no thread for it.
    pub(super) fn start() -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let watcher = Arc::clone(&shared);
        thread::Builder::new()
            .name("hob-deadlines".into())
            .spawn(move || watcher.work())?;
        Ok(Self { shared })
    }

    /// Looks at `run` at `moment` for the first time.
    pub(super) fn add(&self, run: Arc<Run>, moment: Instant) -> Watched {
        let mut state = self.shared.state();
        let number = state.next_number;
        state.next_number += 1;
        state.moments.insert((moment, number));
        state.runs.insert(number, (moment, run));
        let is_first = state.moments.first() == Some(&(moment, number));
        drop(state);
        if is_first {
            self.shared.changed.notify_one();
        }
        Watched {
            shared: Arc::clone(&self.shared),
            number,
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.state().is_over = true;
        self.shared.changed.notify_one();
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        if let Some((moment, run)) = state.runs.remove(&self.number) {
            state.moments.remove(&(moment, self.number));
            // It may be the last one who holds it.
            drop(state);
            drop(run);
        }
    }
}

// === impl Shared ===

impl Shared {
    fn work(&self) {
        let mut state = self.state();
        // Runs that are under way when the pool is dropped have their deadlines too.
        while !state.is_over || !state.runs.is_empty() {
            let now = Instant::now();
            let Some(&(moment, number)) = state.moments.first() else {
                let waited = self.changed.wait(state);
                state = waited.unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            if let Some(pause) = moment
                .checked_duration_since(now)
                .filter(|pause| !pause.is_zero())
            {
                let waited = self.changed.wait_timeout(state, pause);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            state.moments.remove(&(moment, number));
            let run = state.runs.get(&number).map(|(_, run)| Arc::clone(run));
            drop(state);
            let next = run.and_then(|run| run.look(now));
            state = self.state();
            state.look_again(number, next);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    /// Unless it was taken out meanwhile.
    fn look_again(&mut self, number: u64, next: Option<Instant>) {
        let Some((moment, _)) = self.runs.get_mut(&number) else {
            return;
        };
        if let Some(next) = next {
            *moment = next;
            self.moments.insert((next, number));
        }
    }
}

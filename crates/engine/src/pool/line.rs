use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use hob_model::port::RunError;
use tokio::sync::oneshot;

/// What a full line tells its callers at least and at most to wait.
const LEAST_WAIT: Duration = Duration::from_secs(1);
const MOST_WAIT: Duration = Duration::from_secs(60);
/// How much of the usual time of a stay the last one makes: one part in so many.
const MEMORY: u32 = 8;

/// A number of places, and a line before them with a bound. Callers take turns: whoever sends
/// a hundred orders waits for himself, not the others for him.
#[derive(Debug, Clone)]
pub struct Line {
    size: usize,
    bound: usize,
    state: Arc<Mutex<State>>,
}

/// A place, given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    line: Line,
    since: Instant,
}

#[derive(Debug)]
struct State {
    free: usize,
    /// Those who wait, by caller; the caller whose turn is next is first.
    callers: VecDeque<Caller>,
    waiting: usize,
    next_ticket: u64,
    /// How long a place is usually kept.
    usual: Duration,
}

#[derive(Debug)]
struct Caller {
    name: String,
    waiters: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    place: oneshot::Sender<Place>,
}

/// Takes a waiter out of the line who does not wait any more.
struct Ticket<'a> {
    line: &'a Line,
    number: u64,
}

// === impl Line ===

impl Line {
    /// `size` places, at least one, and room for `bound` callers to wait.
    pub fn new(size: usize, bound: usize) -> Self {
        let size = size.max(1);
        let state = State {
            free: size,
            callers: VecDeque::new(),
            waiting: 0,
            next_ticket: 0,
            usual: LEAST_WAIT,
        };
        Self {
            size,
            bound,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Waits for a place. Dropping the future leaves the line.
    ///
    /// # Errors
    /// At once, when the line is full.
    pub async fn enter(&self, caller: &str) -> Result<Place, RunError> {
        let (number, place) = {
            let mut state = self.state();
            if state.free > 0 {
                state.free -= 1;
                drop(state);
                return Ok(self.place());
            }
            if state.waiting >= self.bound {
                return Err(self.full(&state));
            }
            state.join(caller)
        };
        let ticket = Ticket { line: self, number };
        let place = place.await;
        drop(ticket);
        // The line itself is alive, and drops no waiter.
        place.map_err(|_| RunError::Unavailable("the pool is closed".into()))
    }

    /// How many places are taken, and how many callers wait.
    pub fn standing(&self) -> (usize, usize) {
        let state = self.state();
        (self.size - state.free, state.waiting)
    }

    /// Places, taken or not.
    pub fn size(&self) -> usize {
        self.size
    }

    fn full(&self, state: &State) -> RunError {
        let rounds = u32::try_from(state.waiting / self.size + 1).unwrap_or(u32::MAX);
        RunError::Full {
            size: self.size,
            waiting: state.waiting,
            retry_after: state
                .usual
                .saturating_mul(rounds)
                .clamp(LEAST_WAIT, MOST_WAIT),
        }
    }

    fn place(&self) -> Place {
        Place {
            line: self.clone(),
            since: Instant::now(),
        }
    }

    fn leave(&self, stayed: Duration) {
        let mut state = self.state();
        state.usual = state.usual * (MEMORY - 1) / MEMORY + stayed / MEMORY;
        let Some(waiter) = state.call() else {
            state.free += 1;
            return;
        };
        drop(state);
        // One who has just gone drops it, and so comes back here.
        drop(waiter.place.send(self.place()));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    fn join(&mut self, caller: &str) -> (u64, oneshot::Receiver<Place>) {
        let (place, receiver) = oneshot::channel();
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.waiting += 1;
        let waiter = Waiter { ticket, place };
        match self.callers.iter_mut().find(|other| other.name == caller) {
            Some(known) => known.waiters.push_back(waiter),
            None => self.callers.push_back(Caller {
                name: caller.to_owned(),
                waiters: VecDeque::from([waiter]),
            }),
        }
        (ticket, receiver)
    }

    /// Whose turn it is. The caller's next turn is after all others'.
    fn call(&mut self) -> Option<Waiter> {
        let mut caller = self.callers.pop_front()?;
        let waiter = caller.waiters.pop_front();
        if !caller.waiters.is_empty() {
            self.callers.push_back(caller);
        }
        self.waiting -= usize::from(waiter.is_some());
        waiter
    }

    fn forget(&mut self, ticket: u64) {
        for caller in &mut self.callers {
            let before = caller.waiters.len();
            caller.waiters.retain(|waiter| waiter.ticket != ticket);
            self.waiting -= before - caller.waiters.len();
        }
        self.callers.retain(|caller| !caller.waiters.is_empty());
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.line.state().forget(self.number);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.line.leave(self.since.elapsed());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{future::Future, pin::pin, task::Poll};

    use futures_util::{FutureExt, poll};

    use super::*;

    #[tokio::test]
    async fn callers_take_turns_however_many_orders_one_sends() {
        let line = Line::new(1, 10);
        let first = line.enter("greedy").await.unwrap();
        let enter = |name| Box::pin(line.enter(name));
        let (mut a1, mut a2, mut b) = (enter("greedy"), enter("greedy"), enter("modest"));
        assert!(poll!(&mut a1).is_pending());
        assert!(poll!(&mut a2).is_pending());
        assert!(poll!(&mut b).is_pending());
        drop(first);
        drop(a1.now_or_never().unwrap().unwrap());
        assert!(poll!(&mut a2).is_pending());
        drop(b.now_or_never().unwrap().unwrap());
        drop(a2.now_or_never().unwrap().unwrap());
        assert_eq!(line.standing(), (0, 0));
    }

    #[tokio::test]
    async fn whoever_leaves_the_line_gives_the_place_back() {
        let line = Line::new(1, 1);
        let first = line.enter("a").await.unwrap();
        {
            let mut gone = pin!(line.enter("b"));
            assert!(matches!(poll!(gone.as_mut()), Poll::Pending));
            let full = line.enter("c").await;
            assert!(matches!(full, Err(RunError::Full { waiting: 1, .. })));
        }
        assert_eq!(line.standing(), (1, 0));
        // One who is called and goes before he hears it.
        let mut late = Box::pin(line.enter("d"));
        assert!(poll!(&mut late).is_pending());
        drop(first);
        drop(late);
        assert_eq!(line.standing(), (0, 0));
    }

    #[tokio::test]
    async fn a_full_line_says_when_to_come_again() {
        let line = Line::new(1, 0);
        let _place = line.enter("a").await.unwrap();
        let Err(RunError::Full { retry_after, .. }) = line.enter("b").await else {
            panic!("there was room");
        };
        assert!((LEAST_WAIT..=MOST_WAIT).contains(&retry_after));
    }

    fn _is_send(line: &Line) -> impl Future + Send {
        line.enter("x")
    }
}

//! Calls that wait for a place at a replica, in the order in which they came.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
};

/// Who waits. Only the first of them tries to get a place: whoever gives one back wakes the first,
/// and the first wakes the next when it leaves.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// As many as `turns` has, for those who only look.
    waiting: AtomicU32,
    turns: Mutex<Turns>,
}

#[derive(Debug, Default)]
struct Turns {
    next: u64,
    /// Ascending. Without a waker until they are polled.
    waiting: VecDeque<(u64, Option<Waker>)>,
    /// Who is told of the next one that joins.
    watcher: Option<Waker>,
}

impl Line {
    /// How many wait.
    pub(crate) fn waiting(&self) -> u32 {
        self.waiting.load(SeqCst)
    }

    /// Takes the last place in the line; `None` when `most` wait already.
    pub(crate) fn join(&self, most: u32) -> Option<u64> {
        let mut turns = self.turns();
        if self.waiting() >= most {
            return None;
        }
        turns.next += 1;
        let turn = turns.next;
        turns.waiting.push_back((turn, None));
        self.waiting.fetch_add(1, SeqCst);
        let watcher = turns.watcher.take();
        drop(turns);
        if let Some(watcher) = watcher {
            watcher.wake();
        }
        Some(turn)
    }

    /// How many have ever joined.
    pub(crate) fn joins(&self) -> u64 {
        self.turns().next
    }

    /// Ready when more than `known` have joined. One task at a time may wait.
    pub(crate) fn poll_joined(&self, known: u64, cx: &Context<'_>) -> Poll<()> {
        let mut turns = self.turns();
        if turns.next > known {
            return Poll::Ready(());
        }
        turns.watcher = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Whether `turn` is the first. `waker` is woken when it may be, or may get a place.
    pub(crate) fn is_first(&self, turn: u64, waker: &Waker) -> bool {
        let mut turns = self.turns();
        let Ok(at) = turns.find(turn) else {
            return false;
        };
        let known = &mut turns.waiting[at].1;
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
        at == 0
    }

    /// `turn` does not wait any more; the next may be first now.
    pub(crate) fn leave(&self, turn: u64) {
        let mut turns = self.turns();
        let Ok(at) = turns.find(turn) else {
            return;
        };
        turns.waiting.remove(at);
        self.waiting.fetch_sub(1, SeqCst);
        drop(turns);
        if at == 0 {
            self.wake_first();
        }
    }

    /// There may be a place.
    pub(crate) fn wake_first(&self) {
        if self.waiting() == 0 {
            return;
        }
        let first = self.turns().waiting.front().and_then(|(_, w)| w.clone());
        // Not under the lock: a waker may do anything.
        if let Some(waker) = first {
            waker.wake();
        }
    }

    fn turns(&self) -> MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turns {
    fn find(&self, turn: u64) -> Result<usize, usize> {
        self.waiting.binary_search_by_key(&turn, |(turn, _)| *turn)
    }
}

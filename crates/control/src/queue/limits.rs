use std::time::Duration;

use thiserror::Error;

/// How long the result of a call that went well is kept, in milliseconds.
pub(super) const RESULT_AGE: u64 = 60 * 60 * 1000;
/// Most results of calls that went well that are kept.
pub(super) const RESULTS_KEPT: usize = 10_000;
/// Results take at most this part of the bytes of the queue.
pub(super) const RESULTS_PART: u64 = 4;

/// Calls of one function, its dead letters among them, take at most this part of the calls and of
/// the bytes of the queue: the rest is for the others.
const FUNCTION_PART: u64 = 2;
/// Dead letters take at most this part of the calls and of the bytes of the queue.
pub(super) const DEAD_PART: u64 = 4;
/// This part of the queue is for calls by schedules.
const SCHEDULED_PART: u64 = 100;
/// How long calls wait for a function that was removed: a deploy may be about to put another in
/// its place.
const ORPHAN_GRACE: Duration = Duration::from_secs(60);

/// What the queue may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// Largest body of a call, and largest part of its answer that is kept, in bytes.
    pub body: u64,
    /// Most calls that wait or run, and dead letters, together.
    pub calls: u64,
    /// Most bytes of these on the disk; results of calls that went well take a quarter on top.
    pub bytes: u64,
    /// How long calls wait for a function that was removed, before they are dead letters.
    pub orphan_grace: Duration,
}

/// Who has a call made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Anybody.
    Anybody,
    /// A schedule, for which a little of the queue is kept free.
    Schedule,
}

/// Calls and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Used {
    pub(super) calls: u64,
    pub(super) bytes: u64,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self {
            body: 1 << 20,
            calls: 100_000,
            bytes: 1 << 30,
            orphan_grace: ORPHAN_GRACE,
        }
    }
}

impl QueueLimits {
    /// Most of all functions together.
    pub(super) fn whole(&self, caller: Caller) -> Used {
        let reserve = match caller {
            Caller::Anybody => SCHEDULED_PART,
            Caller::Schedule => u64::MAX,
        };
        Used {
            calls: self.calls - self.calls / reserve,
            bytes: self.bytes - self.bytes / reserve,
        }
    }

    /// Most of one function.
    pub(super) fn of_function(&self, caller: Caller) -> Used {
        let reserve = match caller {
            Caller::Anybody => u64::MAX,
            Caller::Schedule => SCHEDULED_PART,
        };
        Used {
            calls: self.calls.div_ceil(FUNCTION_PART) + self.calls / reserve,
            bytes: self.bytes.div_ceil(FUNCTION_PART) + self.bytes / reserve,
        }
    }

    /// Most of dead letters.
    pub(super) fn dead(&self) -> Used {
        Used {
            calls: self.calls.div_ceil(DEAD_PART),
            bytes: self.bytes.div_ceil(DEAD_PART),
        }
    }
}

impl Used {
    pub(super) fn add(&mut self, bytes: u64) {
        self.calls += 1;
        self.bytes += bytes;
    }

    pub(super) fn remove(&mut self, bytes: u64) {
        self.calls = self.calls.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Whether a call of so many bytes is too much; one alone never is.
    pub(super) fn is_full(&self, bytes: u64, most: Used) -> bool {
        self.calls > 0 && (self.calls >= most.calls || self.bytes + bytes > most.bytes)
    }
}

/// The queue takes no more calls. For the owner: strangers are told less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "the queue is full{}: {waiting} calls wait and {dead} are dead letters; try again later, see to them with `hob queue list` and `hob queue drop`, or raise `{}`",
    if *of_function { " for this function, which has half of it" } else { "" },
    if *by_bytes { "queue_bytes" } else { "queue_calls" }
)]
pub(crate) struct Full {
    /// Calls that wait or run.
    pub(crate) waiting: u64,
    /// Dead letters.
    pub(crate) dead: u64,
    /// Whether it is bytes that are short, and not calls.
    pub(crate) by_bytes: bool,
    /// Whether these are the numbers of one function, which may have no more of the queue.
    pub(crate) of_function: bool,
}

use thiserror::Error;

/// How long the result of a call that went well is kept, in milliseconds.
pub(super) const RESULT_AGE: i64 = 60 * 60 * 1000;
/// Most results of calls that went well that are kept.
pub(super) const RESULTS_KEPT: usize = 10_000;
/// Results take at most this part of the bytes of the queue.
pub(super) const RESULTS_PART: u64 = 4;

/// What the queue may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// Largest body of a call, and largest part of its answer that is kept, in bytes.
    pub body: u64,
    /// Most calls that wait or run, and dead letters, together.
    pub calls: u64,
    /// Most bytes of these on the disk; results of calls that went well take a quarter on top.
    pub bytes: u64,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self {
            body: 1 << 20,
            calls: 100_000,
            bytes: 1 << 30,
        }
    }
}

/// The queue takes no more calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "the queue is full: {waiting} calls wait and {dead} are dead letters; try again later, see to them with `hob queue list` and `hob queue drop --dead`, or raise `{}`",
    if *by_bytes { "queue_bytes" } else { "queue_calls" }
)]
pub(crate) struct Full {
    /// Calls that wait or run.
    pub(crate) waiting: u64,
    /// Dead letters.
    pub(crate) dead: u64,
    /// Whether it is bytes that are short, and not calls.
    pub(crate) by_bytes: bool,
}

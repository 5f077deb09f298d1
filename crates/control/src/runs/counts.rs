//! What is counted of runs.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use hob_model::{EndReason, port::RunError, sandbox::RunEnd};
use prometheus::{Histogram, HistogramOpts};

use super::Runs;

/// Upper bounds, in seconds. Finer than those of calls: a run from the pool takes milliseconds.
const BUCKETS: [f64; 14] = [
    0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0,
];

/// Why a pool took no order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turned {
    /// It made no sense.
    Refused,
    /// There was no place in line.
    Full,
    /// No sandbox could be had.
    Unavailable,
}

/// The runs since hob started.
pub(crate) struct RunCounts {
    ended: [AtomicU64; EndReason::ALL.len()],
    turned: [AtomicU64; Turned::ALL.len()],
    /// How long they waited for a sandbox.
    pub(crate) queue: Histogram,
    /// How long they took from the lease to the end.
    pub(crate) run: Histogram,
}

/// Counts one run, however it ends.
pub(crate) struct Tally(Option<Runs>);

impl Turned {
    /// Every reason.
    pub(crate) const ALL: [Self; 3] = [Self::Refused, Self::Full, Self::Unavailable];

    /// As metrics have it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Full => "full",
            Self::Unavailable => "unavailable",
        }
    }
}

impl Default for RunCounts {
    fn default() -> Self {
        Self {
            ended: Default::default(),
            turned: Default::default(),
            queue: histogram(
                "hob_run_queue_seconds",
                "Time that runs waited for a sandbox.",
            ),
            run: histogram(
                "hob_run_seconds",
                "Time of runs from the lease of their sandbox to their end.",
            ),
        }
    }
}

fn histogram(name: &str, help: &str) -> Histogram {
    let options = HistogramOpts::new(name, help).buckets(BUCKETS.to_vec());
    // Fails only for names that are not valid, and these are written here.
    Histogram::with_opts(options).expect("a valid name")
}

impl RunCounts {
    /// Nothing was run.
    pub(super) fn refused(&self, error: &RunError) {
        let turned = match error {
            RunError::Refused(_) => Turned::Refused,
            RunError::Full { .. } => Turned::Full,
            RunError::Unavailable(_) => Turned::Unavailable,
        };
        self.turned[turned as usize].fetch_add(1, Relaxed);
    }

    /// How many ended so.
    pub(crate) fn ended(&self, reason: EndReason) -> u64 {
        self.ended[reason as usize].load(Relaxed)
    }

    /// How many were not begun, for this reason.
    pub(crate) fn turned(&self, turned: Turned) -> u64 {
        self.turned[turned as usize].load(Relaxed)
    }

    fn end(&self, reason: EndReason) {
        self.ended[reason as usize].fetch_add(1, Relaxed);
    }
}

// === impl Tally ===

impl Tally {
    /// One has begun.
    pub(super) fn begin(runs: &Runs) -> Self {
        Self(Some(runs.clone()))
    }

    /// It is over.
    pub(super) fn ended(&mut self, end: &RunEnd) {
        if let Some(runs) = self.0.take() {
            let counts = runs.counts();
            counts.end(end.end.reason);
            counts.queue.observe(end.times.queue.as_secs_f64());
            let took = end.times.start + end.times.run;
            counts.run.observe(took.as_secs_f64());
        }
    }
}

impl Drop for Tally {
    /// Its caller left.
    fn drop(&mut self) {
        if let Some(runs) = self.0.take() {
            runs.counts().end(EndReason::Cancelled);
        }
    }
}

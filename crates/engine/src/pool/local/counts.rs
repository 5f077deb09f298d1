use std::sync::atomic::{AtomicU64, Ordering};

use hob_model::{EndReason, sandbox::RunCounts};

/// How many runs ended how.
#[derive(Debug, Default)]
pub(super) struct Counts([AtomicU64; EndReason::ALL.len()]);

impl Counts {
    pub(super) fn count(&self, reason: EndReason) {
        self.0[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn now(&self) -> RunCounts {
        let mut counts = RunCounts::default();
        for (reason, count) in EndReason::ALL.into_iter().zip(&self.0) {
            counts.set(reason, count.load(Ordering::Relaxed));
        }
        counts
    }
}

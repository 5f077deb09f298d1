//! Pauses between the starts of a program that keeps ending.

use std::time::{Duration, Instant};

/// Pause before the start that follows a first failure; doubles with each further one.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// Longest pause between two starts.
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// A replica that lived so long did not fail at its start: the pauses begin anew.
const BACKOFF_RESET: Duration = Duration::from_secs(10);

/// How patient to be with a function whose replicas keep ending.
#[derive(Debug, Default)]
pub(super) enum Backoff {
    #[default]
    Calm,
    Failing {
        /// In a row; at least 1.
        failures: u32,
        /// The next start waits until then.
        not_before: Instant,
    },
}

// === impl Backoff ===

impl Backoff {
    /// A start failed, or a replica ended early.
    pub(super) fn failed(&mut self) {
        let before = match self {
            Self::Calm => 0,
            Self::Failing { failures, .. } => *failures,
        };
        let doubled = BACKOFF_FIRST.saturating_mul(1 << before.min(16));
        *self = Self::Failing {
            failures: before.saturating_add(1),
            not_before: Instant::now() + doubled.min(BACKOFF_MAX),
        };
    }

    /// A replica that took calls ended by itself after `age`.
    pub(super) fn ended(&mut self, age: Duration) {
        if age >= BACKOFF_RESET {
            *self = Self::Calm;
        }
        // Replicas that were started together and end together failed once.
        if !self.is_pending() {
            self.failed();
        }
    }

    /// How long the next start has to wait.
    pub(super) fn pause(&self) -> Duration {
        match self {
            Self::Calm => Duration::ZERO,
            Self::Failing { not_before, .. } => {
                not_before.saturating_duration_since(Instant::now())
            }
        }
    }

    /// Whether the next start has to wait.
    pub(super) fn is_pending(&self) -> bool {
        !self.pause().is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_begin_anew_after_a_long_life() {
        let mut backoff = Backoff::default();
        assert!(!backoff.is_pending());
        let mut last = Duration::ZERO;
        for _ in 0..8 {
            backoff.failed();
            assert!(backoff.pause() > last, "{backoff:?}");
            last = backoff.pause();
        }
        for _ in 0..40 {
            backoff.failed();
        }
        assert!(backoff.pause() <= BACKOFF_MAX);
        backoff.ended(BACKOFF_RESET);
        assert!(backoff.pause() <= BACKOFF_FIRST);
    }

    #[test]
    fn replicas_that_end_together_are_one_failure() {
        let mut backoff = Backoff::default();
        for _ in 0..3 {
            backoff.ended(Duration::ZERO);
        }
        assert!(backoff.pause() <= BACKOFF_FIRST, "{backoff:?}");
    }
}

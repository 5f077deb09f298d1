use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// Retries that each call earns, in thousandths.
const PER_CALL: u64 = 200;
/// Retries that each second earns, in thousandths, also where there are few calls.
const PER_SECOND: u64 = 10_000;
/// What was earned longer ago than this is lost: the most that can be saved up.
const WINDOW: Duration = Duration::from_secs(10);
/// How often at most is added up what was earned.
const STEP: Duration = Duration::from_secs(1);
/// One retry.
const TOKEN: u64 = 1_000;

/// How many retries a function may have, so that they cannot become a storm: where all calls
/// fail, they are at most a fifth more.
///
/// The token bucket of Finagle and linkerd, with their numbers
/// (<https://finagle.github.io/blog/2016/02/08/retry-budgets/>). Calls pay nothing in, since they
/// are counted anyway: whoever wants a retry adds up what they have earned meanwhile.
#[derive(Debug)]
pub(crate) struct RetryBudget {
    born: Instant,
    /// When it was last added up, in milliseconds after `born`.
    at: AtomicU64,
    /// Calls by then.
    calls: AtomicU64,
    /// What is left, in thousandths.
    tokens: AtomicU64,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self {
            born: Instant::now(),
            at: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            tokens: AtomicU64::new(PER_SECOND * WINDOW.as_secs()),
        }
    }
}

impl RetryBudget {
    /// Takes a retry out, if one is left. `calls` are those so far, first tries only.
    pub(crate) fn take(&self, calls: u64) -> bool {
        self.take_at(calls, self.born.elapsed())
    }

    fn take_at(&self, calls: u64, now: Duration) -> bool {
        self.add_up(calls, u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
        let take = |tokens: u64| tokens.checked_sub(TOKEN);
        let taken = self.tokens.fetch_update(Relaxed, Relaxed, take);
        taken.is_ok()
    }

    fn add_up(&self, calls: u64, now: u64) {
        let at = self.at.load(Relaxed);
        let passed = now.saturating_sub(at);
        // One of those who come together does it for all.
        if u128::from(passed) < STEP.as_millis()
            || self.at.compare_exchange(at, now, Relaxed, Relaxed).is_err()
        {
            return;
        }
        let before = self.calls.swap(calls, Relaxed);
        let by_calls = calls.saturating_sub(before).saturating_mul(PER_CALL);
        let by_time = passed.saturating_mul(PER_SECOND) / 1_000;
        let earned = by_calls.saturating_add(by_time);
        // As much as a window earns at the present rate.
        let window = u64::try_from(WINDOW.as_millis()).unwrap_or(u64::MAX);
        let most = u128::from(earned) * u128::from(window) / u128::from(passed);
        let most = u64::try_from(most).unwrap_or(u64::MAX);
        let add = |tokens: u64| Some(tokens.saturating_add(earned).min(most));
        let _ = self.tokens.fetch_update(Relaxed, Relaxed, add);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take_all(budget: &RetryBudget, calls: u64, seconds: u64) -> u64 {
        let mut taken = 0;
        while budget.take_at(calls, Duration::from_secs(seconds)) {
            taken += 1;
        }
        taken
    }

    #[test]
    fn a_fifth_of_the_calls_and_ten_a_second_are_tried_again() {
        let budget = RetryBudget::default();
        assert_eq!(take_all(&budget, 0, 0), 100);
        assert_eq!(take_all(&budget, 0, 1), 10);
        assert_eq!(take_all(&budget, 1_000, 2), 210);
        assert_eq!(take_all(&budget, 2_000, 3), 210);
        // Nothing is earned twice.
        assert_eq!(take_all(&budget, 2_000, 3), 0);
    }

    #[test]
    fn what_was_earned_long_ago_is_lost() {
        let budget = RetryBudget::default();
        // 100 calls a second for 1,000 s: a window of them earns 200 retries, and 100 by time.
        assert_eq!(take_all(&budget, 100_000, 1_000), 300);
        assert_eq!(take_all(&budget, 100_000, 9_000), 100);
    }
}

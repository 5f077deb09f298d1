use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// How long a replica is left out after it failed a call; doubles with each further time.
const FIRST: Duration = Duration::from_millis(100);
/// Longest that it is left out at once.
const LONGEST: Duration = Duration::from_secs(5);
/// So long after the last time it counts as never left out.
const FORGOTTEN: Duration = Duration::from_secs(10);

/// Whether a replica is left out for now, as it has failed a call.
///
/// Times are since some moment before the first of them. Relaxed: nothing else is read by it, and
/// a call too many or too few that a replica gets does no harm.
#[derive(Debug, Default)]
pub(crate) struct Ejection {
    /// In milliseconds; 0 when nothing is remembered, so that nearly nobody needs to know the time.
    until: AtomicU64,
    times: AtomicU32,
}

impl Ejection {
    /// It failed a call. Calls that fail together count once.
    pub(crate) fn eject(&self, now: Duration) {
        if self.is_out(|| now) {
            return;
        }
        let times = self.times.fetch_add(1, Relaxed);
        let pause = FIRST.saturating_mul(1 << times.min(16)).min(LONGEST);
        self.until.store(millis(now + pause).max(1), Relaxed);
    }

    /// Whether it is to get no call now.
    pub(crate) fn is_out(&self, now: impl FnOnce() -> Duration) -> bool {
        let until = self.until();
        if until == 0 {
            return false;
        }
        let now = millis(now());
        if now > until.saturating_add(millis(FORGOTTEN)) {
            let forgotten = self.until.compare_exchange(until, 0, Relaxed, Relaxed);
            if forgotten.is_ok() {
                self.times.store(0, Relaxed);
            }
        }
        now < until
    }

    /// When its time is over, or was, in milliseconds.
    pub(crate) fn until(&self) -> u64 {
        self.until.load(Relaxed)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_out_for_longer_each_time_and_all_is_forgotten_in_the_end() {
        let ejection = Ejection::default();
        let is_out = |at: Duration| ejection.is_out(|| at);
        let millisecond = Duration::from_millis(1);
        let mut now = Duration::ZERO;
        assert!(!is_out(now));
        for pause in [FIRST, FIRST * 2, FIRST * 4] {
            ejection.eject(now);
            // The same failure, seen by another call.
            ejection.eject(now);
            assert!(is_out(now + pause - millisecond));
            now += pause;
            assert!(!is_out(now));
        }
        for _ in 0..40 {
            ejection.eject(now);
            now += LONGEST;
            assert!(!is_out(now));
        }
        assert!(!is_out(now + FORGOTTEN + millisecond));
        now += FORGOTTEN;
        ejection.eject(now);
        assert!(!is_out(now + FIRST));
    }
}

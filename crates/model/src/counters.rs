use std::{
    array, fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::{EndReason, retry_budget::RetryBudget};

/// Upper bounds of [`CodeCounts::buckets`]; the last bucket has none. Those that Prometheus uses
/// by default, since the dashboards for OpenFaaS expect them.
pub const CALL_BUCKETS: [Duration; 11] = [
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_millis(1_000),
    Duration::from_millis(2_500),
    Duration::from_millis(5_000),
    Duration::from_millis(10_000),
];

/// Outcomes of one function, a status code and an end reason, that are counted each by itself.
/// Functions choose their codes, so that something must keep one from filling the memory: with
/// all further outcomes, the code's class stands for the code.
const OUTCOMES_MAX: usize = 16;
/// The largest status code that HTTP/1.1 can write.
const CODE_MAX: u16 = 999;

/// Calls of one function since hob started. Counting takes no lock, and memory only at the first
/// call with an outcome: 130 bytes or so.
#[derive(Debug, Default)]
pub struct Counters {
    started: AtomicU64,
    failed: AtomicU64,
    retried: AtomicU64,
    budget: RetryBudget,
    /// Of which these are a part: what is counted here is counted there too.
    whole: Option<Arc<Counters>>,
    /// A list that only grows: the first outcome is nearly always the most frequent one.
    ended: OnceLock<Box<Tally>>,
}

/// The calls with one outcome.
#[derive(Debug)]
struct Tally {
    code: StatusLabel,
    reason: EndReason,
    buckets: [AtomicU64; CALL_BUCKETS.len() + 1],
    /// In nanoseconds; enough for 584 years.
    sum: AtomicU64,
    next: OnceLock<Box<Tally>>,
}

/// The status code that calls are counted under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusLabel {
    /// A status code: `200`.
    Code(u16),
    /// A class of codes, by its first digit: `2xx`.
    Class(u16),
}

/// The calls of one function at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallCounts {
    /// Calls let in.
    pub started: u64,
    /// Tries of these calls after the first.
    pub retried: u64,
    /// Calls that are over, by status code, each code once.
    pub codes: Vec<CodeCounts>,
    /// The same by how they ended, every reason once.
    pub ends: [(EndReason, u64); EndReason::ALL.len()],
}

/// The calls of one function that ended with one status code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeCounts {
    /// The code.
    pub code: StatusLabel,
    /// Calls by how long they took. Not cumulative; see [`CALL_BUCKETS`].
    pub buckets: [u64; CALL_BUCKETS.len() + 1],
    /// How long they took together.
    pub sum: Duration,
}

// === impl Counters ===

impl Counters {
    /// Those of a part of the calls that `whole` counts.
    pub fn within(whole: &Arc<Self>) -> Self {
        Self {
            whole: Some(Arc::clone(whole)),
            ..Self::default()
        }
    }

    /// Counts a call that was let in.
    pub fn start(&self) {
        self.started.fetch_add(1, Relaxed);
        if let Some(whole) = &self.whole {
            whole.start();
        }
    }

    /// Counts a call that is over, and was let in `took` ago. `code` is what its caller got.
    pub fn end(&self, code: u16, took: Duration, reason: EndReason) {
        let tally = self.tally(code, reason);
        let bucket = CALL_BUCKETS.iter().position(|bound| took <= *bound);
        tally.buckets[bucket.unwrap_or(CALL_BUCKETS.len())].fetch_add(1, Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        tally.sum.fetch_add(nanos, Relaxed);
        if let Some(whole) = &self.whole {
            whole.end(code, took, reason);
        }
    }

    /// Counts a call that hob, not the function, had to answer with an error.
    pub fn failure(&self) {
        self.failed.fetch_add(1, Relaxed);
        if let Some(whole) = &self.whole {
            whole.failure();
        }
    }

    /// Counts a further try of a call, of which the replica before has got nothing.
    pub fn retry(&self) {
        self.retried.fetch_add(1, Relaxed);
        if let Some(whole) = &self.whole {
            whole.retry();
        }
    }

    /// The same for a call that the replica before may have worked on: as long as so few calls
    /// need it that the replicas can bear them. False, and not counted, when not.
    pub fn may_repeat(&self) -> bool {
        let may = self.budget.take(self.started.load(Relaxed));
        if may {
            self.retry();
        }
        may
    }

    /// How long calls took in the mean, without those that ended with `code`; zero if none has.
    pub fn mean_without(&self, code: u16) -> Duration {
        let (mut count, mut sum) = (0_u64, 0_u64);
        let mut place = &self.ended;
        while let Some(tally) = place.get() {
            if tally.code != StatusLabel::Code(code) {
                let buckets = tally.buckets.iter();
                count += buckets.map(|bucket| bucket.load(Relaxed)).sum::<u64>();
                sum = sum.saturating_add(tally.sum.load(Relaxed));
            }
            place = &tally.next;
        }
        Duration::from_nanos(sum.checked_div(count).unwrap_or(0))
    }

    /// Calls let in, and those of them that hob had to answer with an error.
    pub fn totals(&self) -> (u64, u64) {
        (self.started.load(Relaxed), self.failed.load(Relaxed))
    }

    /// Everything that was counted.
    pub fn counts(&self) -> CallCounts {
        let mut codes: Vec<CodeCounts> = Vec::new();
        let mut ends = EndReason::ALL.map(|reason| (reason, 0));
        let mut place = &self.ended;
        while let Some(tally) = place.get() {
            let counts = tally.counts();
            if let Some((_, count)) = ends.iter_mut().find(|(reason, _)| *reason == tally.reason) {
                *count += counts.count();
            }
            match codes.iter_mut().find(|one| one.code == counts.code) {
                Some(one) => one.add(&counts),
                None => codes.push(counts),
            }
            place = &tally.next;
        }
        CallCounts {
            // After the ends: a call in between must not look as if it had ended only.
            started: self.started.load(Relaxed),
            retried: self.retried.load(Relaxed),
            codes,
            ends,
        }
    }

    fn tally(&self, code: u16, reason: EndReason) -> &Tally {
        let code = code.min(CODE_MAX);
        let mut place = &self.ended;
        let mut passed = 0;
        // Ends: beyond the first outcomes there are but ten classes and nine reasons.
        loop {
            let label = if passed < OUTCOMES_MAX {
                StatusLabel::Code(code)
            } else {
                StatusLabel::Class(code / 100)
            };
            let tally = place.get_or_init(|| Box::new(Tally::new(label, reason)));
            if tally.code == label && tally.reason == reason {
                return tally;
            }
            place = &tally.next;
            passed += 1;
        }
    }
}

// === impl Tally ===

impl Tally {
    fn new(code: StatusLabel, reason: EndReason) -> Self {
        Self {
            code,
            reason,
            buckets: Default::default(),
            sum: AtomicU64::new(0),
            next: OnceLock::new(),
        }
    }

    fn counts(&self) -> CodeCounts {
        CodeCounts {
            code: self.code,
            buckets: array::from_fn(|bucket| self.buckets[bucket].load(Relaxed)),
            sum: Duration::from_nanos(self.sum.load(Relaxed)),
        }
    }
}

// === impl CallCounts ===

impl CallCounts {
    /// Calls under way.
    pub fn under_way(&self) -> u64 {
        let ended = self.codes.iter().map(CodeCounts::count).sum();
        self.started.saturating_sub(ended)
    }
}

// === impl CodeCounts ===

impl CodeCounts {
    /// Calls that ended with the code.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    fn add(&mut self, other: &Self) {
        for (bucket, more) in self.buckets.iter_mut().zip(other.buckets) {
            *bucket += more;
        }
        self.sum += other.sum;
    }
}

// === impl StatusLabel ===

impl fmt::Display for StatusLabel {
    /// `code=~"5.."`, as dashboards ask, fits codes and classes alike.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "{code}"),
            Self::Class(class) => write!(f, "{class}xx"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_millis(1);

    #[test]
    fn a_call_is_in_the_bucket_whose_bound_it_does_not_pass() {
        let counters = Counters::default();
        for took in [
            Duration::ZERO,
            Duration::from_millis(5),
            Duration::from_nanos(5_000_001),
            Duration::from_secs(10),
            Duration::from_secs(11),
        ] {
            counters.start();
            counters.end(200, took, EndReason::Ok);
        }
        let counts = counters.counts();
        assert_eq!(
            counts.codes[0].buckets,
            [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]
        );
        assert_eq!(counts.codes[0].sum, Duration::from_nanos(21_010_000_001));
        assert_eq!((counts.started, counts.under_way()), (5, 0));
        assert_eq!(counts.ends[0], (EndReason::Ok, 5));
    }

    #[test]
    fn a_part_counts_in_the_whole_as_well() {
        let whole = Arc::new(Counters::default());
        let part = Counters::within(&whole);
        whole.start();
        part.start();
        part.failure();
        part.end(502, QUICK, EndReason::Exit);
        assert_eq!((part.totals(), whole.totals()), ((1, 1), (2, 1)));
        assert_eq!(whole.counts().codes, part.counts().codes);
        assert_eq!(whole.counts().under_way(), 1);
    }

    #[test]
    fn a_call_has_one_end() {
        let counters = Counters::default();
        for _ in 0..4 {
            counters.start();
        }
        counters.end(200, QUICK, EndReason::Ok);
        counters.end(504, QUICK, EndReason::Timeout);
        counters.end(200, QUICK, EndReason::Timeout);
        let counts = counters.counts();
        let codes: Vec<_> = counts
            .codes
            .iter()
            .map(|one| one.code.to_string())
            .collect();
        assert_eq!(codes, ["200", "504"]);
        assert_eq!(counts.codes[0].count(), 2);
        let ends = counts.ends.iter().filter(|(_, count)| *count > 0);
        let ends: Vec<_> = ends.copied().collect();
        assert_eq!(ends, [(EndReason::Ok, 1), (EndReason::Timeout, 2)]);
        assert_eq!(counts.under_way(), 1);
    }

    #[test]
    fn the_mean_leaves_one_code_out() {
        let counters = Counters::default();
        assert_eq!(counters.mean_without(429), Duration::ZERO);
        counters.end(200, QUICK, EndReason::Ok);
        counters.end(502, QUICK * 3, EndReason::Exit);
        counters.end(429, Duration::ZERO, EndReason::Ok);
        assert_eq!(counters.mean_without(429), QUICK * 2);
    }

    #[test]
    fn tries_are_counted_and_those_that_repeat_work_are_few() {
        let counters = Counters::default();
        counters.retry();
        let mut repeats = 0;
        while counters.may_repeat() {
            repeats += 1;
        }
        assert!((100..200).contains(&repeats), "{repeats}");
        assert_eq!(counters.counts().retried, repeats + 1);
    }

    #[test]
    fn a_function_that_answers_with_every_code_takes_bounded_memory() {
        let counters = Counters::default();
        for code in 100..=u16::MAX {
            counters.end(code, QUICK, EndReason::Ok);
        }
        let counts = counters.counts();
        assert_eq!(counts.codes.len(), OUTCOMES_MAX + 9);
        assert_eq!(counts.codes[0].code.to_string(), "100");
        assert_eq!(counts.codes[OUTCOMES_MAX].code.to_string(), "1xx");
        let ended: u64 = counts.codes.iter().map(CodeCounts::count).sum();
        assert_eq!(ended, u64::from(u16::MAX) - 99);
    }
}

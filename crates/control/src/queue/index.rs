//! What is known of every asynchronous call without asking the disk: which is due when, how many
//! of each function run, and how much room is left. About 150 bytes a call.

mod lanes;
mod stale;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use hob_model::{FunctionName, wire::QueueDepth};
use hob_store::{CallRow, CallState};

use super::limits::{Caller, Full, QueueLimits, Used};
use lanes::Lane;
pub(super) use stale::Stale;

/// What is done with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    /// The function is called.
    Call,
    /// Somebody is told of its answer.
    Callback,
}

/// Work of one function, of which so much at a time is done.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct LaneKey {
    pub(super) function: FunctionName,
    pub(super) kind: Kind,
}

/// A call that is to be worked on now.
#[derive(Debug, Clone)]
pub(super) struct Job {
    pub(super) seq: i64,
    pub(super) lane: LaneKey,
}

/// All times are milliseconds of a clock that never goes back, and begins with this process.
#[derive(Default)]
pub(super) struct Index {
    lanes: HashMap<LaneKey, Lane>,
    /// Lanes that may have work, in turn, so that no function waits for another's backlog.
    turn: VecDeque<LaneKey>,
    /// When lanes that have work later are to be looked at.
    timers: BTreeSet<(u64, LaneKey)>,
    /// What is worked on now, and its bytes.
    running: HashMap<i64, u64>,
    /// With the room for answers.
    running_bytes: u64,
    running_callbacks: usize,
    /// Room for the answer of one call, in bytes.
    answer_room: u64,
    /// When each call that waits is due.
    places: HashMap<i64, u64>,
    /// Dead letters by the time at which they died, then by their number.
    dead: BTreeMap<(i64, i64), CallRow>,
    dead_used: Used,
    tallies: HashMap<FunctionName, Tally>,
    /// Ended calls whose results are kept, the oldest first: number, until when, bytes.
    results: VecDeque<(i64, u64, u64)>,
    result_bytes: u64,
    used: Used,
}

/// Counts of one function.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    dead: u64,
    taken: u64,
    done: u64,
    retried: u64,
    died: u64,
    used: Used,
}

/// When a call is due; one that is over is due to be forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// At once, behind those of its function that came before.
    InOrder(u64),
    /// Then, whatever else is due.
    At(u64),
}

// === impl Index ===

impl Index {
    /// Empty, for a queue that keeps so many bytes of each answer.
    pub(super) fn new(answer_room: u64) -> Self {
        Self {
            answer_room,
            ..Self::default()
        }
    }

    /// Sets room aside for a call that is about to be written.
    pub(super) fn reserve(
        &mut self,
        function: &FunctionName,
        bytes: u64,
        limits: &QueueLimits,
        caller: Caller,
    ) -> Result<(), Full> {
        let whole = limits.whole(caller);
        if self.used.is_full(bytes, whole) {
            return Err(Full {
                waiting: self.used.calls.saturating_sub(self.dead_used.calls),
                dead: self.dead_used.calls,
                by_bytes: self.used.calls < whole.calls,
                of_function: false,
            });
        }
        let share = limits.of_function(caller);
        let tally = self.tally(function);
        if tally.used.is_full(bytes, share) {
            return Err(Full {
                waiting: tally.used.calls.saturating_sub(tally.dead),
                dead: tally.dead,
                by_bytes: tally.used.calls < share.calls,
                of_function: true,
            });
        }
        self.hold(function, bytes);
        Ok(())
    }

    /// Gives back what [`Index::reserve`] set aside; the call itself counts if there is one now.
    pub(super) fn admit(
        &mut self,
        function: &FunctionName,
        reserved: u64,
        row: Option<&CallRow>,
        now: u64,
    ) {
        self.release(function, reserved);
        if let Some(row) = row {
            self.tally(&row.function).taken += 1;
            self.add(row, Due::InOrder(now));
        }
    }

    /// Takes in a call, wherever it stands.
    pub(super) fn add(&mut self, row: &CallRow, due: Due) {
        let kind = match row.state {
            CallState::Done => {
                let (Due::InOrder(until) | Due::At(until)) = due;
                return self.keep(row, until);
            }
            CallState::Dead => {
                self.tally(&row.function).dead += 1;
                self.hold(&row.function, row.bytes);
                self.dead_used.add(row.bytes);
                self.dead.insert((row.ended_at, row.seq), row.clone());
                return;
            }
            CallState::Waiting => Kind::Call,
            CallState::Callback => Kind::Callback,
        };
        self.hold(&row.function, row.bytes);
        let key = LaneKey {
            function: row.function.clone(),
            kind,
        };
        self.wait(key, row.seq, row.bytes, due);
    }

    /// How many bytes of an answer there is room for, beside all that is there and `freed`.
    pub(super) fn room(&self, limits: &QueueLimits, freed: u64) -> u64 {
        limits.bytes.saturating_sub(self.used.bytes) + freed
    }

    /// Ends the work on a call, which stands like `row` now, or is gone.
    pub(super) fn finish(&mut self, job: &Job, row: Option<&CallRow>, due: Due) {
        let Some(bytes) = self.leave(job) else { return };
        self.release(&job.lane.function, bytes);
        if let Some(row) = row {
            let tally = self.tally(&row.function);
            match (job.lane.kind, row.state) {
                (Kind::Call, CallState::Waiting) => tally.retried += 1,
                (Kind::Call, CallState::Callback | CallState::Done) => tally.done += 1,
                (_, CallState::Dead) => tally.died += 1,
                (Kind::Callback, _) => {}
            }
            self.add(row, due);
        }
    }

    /// Gives up the work on a call; it is due again at `due`.
    pub(super) fn put_back(&mut self, job: &Job, due: u64) {
        if let Some(bytes) = self.leave(job) {
            self.wait(job.lane.clone(), job.seq, bytes, Due::At(due));
        }
    }

    /// Forgets a call that was dropped, as it stood. One that is worked on goes when that ends.
    pub(super) fn remove(&mut self, row: &CallRow) {
        let kind = match row.state {
            CallState::Dead => {
                self.bury((row.ended_at, row.seq));
                return;
            }
            CallState::Done => {
                if let Some(at) = self.results.iter().position(|(seq, ..)| *seq == row.seq) {
                    self.results.remove(at);
                    self.result_bytes = self.result_bytes.saturating_sub(row.bytes);
                }
                return;
            }
            CallState::Waiting => Kind::Call,
            CallState::Callback => Kind::Callback,
        };
        let key = LaneKey {
            function: row.function.clone(),
            kind,
        };
        let Some(due) = self.places.remove(&row.seq) else {
            return;
        };
        if let Some(lane) = self.lanes.get_mut(&key)
            && lane.waiting.remove(&(due, row.seq)).is_some()
        {
            self.release(&row.function, row.bytes);
            self.tidy(&key);
        }
    }

    /// Forgets the counts of functions that are `gone` and have nothing here.
    pub(super) fn forget_counts(&mut self, gone: impl Fn(&FunctionName) -> bool) {
        let lanes = &self.lanes;
        let busy = |name: &FunctionName| lanes.keys().any(|key| key.function == *name);
        self.tallies
            .retain(|name, tally| tally.used.calls > 0 || !gone(name) || busy(name));
    }

    /// What is here, function by function.
    pub(super) fn depths(&self) -> Vec<QueueDepth> {
        let mut depths: BTreeMap<&FunctionName, QueueDepth> = BTreeMap::new();
        for (name, tally) in &self.tallies {
            let depth = depths.entry(name).or_insert_with(|| empty(name));
            depth.dead = tally.dead;
            depth.taken = tally.taken;
            depth.done = tally.done;
            depth.retried = tally.retried;
            depth.died = tally.died;
        }
        for (key, lane) in &self.lanes {
            let name = &key.function;
            let depth = depths.entry(name).or_insert_with(|| empty(name));
            let (waiting, running) = (lane.waiting.len() as u64, lane.running as u64);
            match key.kind {
                Kind::Call => (depth.waiting, depth.running) = (waiting, running),
                Kind::Callback => depth.callbacks = waiting + running,
            }
        }
        depths.into_values().collect()
    }

    fn hold(&mut self, function: &FunctionName, bytes: u64) {
        self.used.add(bytes);
        self.tally(function).used.add(bytes);
    }

    fn release(&mut self, function: &FunctionName, bytes: u64) {
        self.used.remove(bytes);
        self.tally(function).used.remove(bytes);
    }

    fn tally(&mut self, name: &FunctionName) -> &mut Tally {
        self.tallies.entry(name.clone()).or_default()
    }
}

fn empty(name: &FunctionName) -> QueueDepth {
    QueueDepth {
        function: name.clone(),
        waiting: 0,
        running: 0,
        callbacks: 0,
        dead: 0,
        taken: 0,
        done: 0,
        retried: 0,
        died: 0,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{
        lanes::{BYTES_AT_ONCE, MOST_AT_ONCE, MOST_CALLBACKS, SHARE},
        *,
    };
    use crate::queue::limits::RESULT_AGE;

    const LIMITS: QueueLimits = QueueLimits {
        body: 1 << 20,
        calls: 3,
        bytes: 1000,
        orphan_grace: Duration::ZERO,
    };

    fn row(seq: i64, function: &str, state: CallState) -> CallRow {
        CallRow {
            seq,
            function: function.parse().expect("valid"),
            state,
            due_at: 0,
            ended_at: 0,
            bytes: 100,
            attempts: 0,
        }
    }

    fn waiting(seq: i64, function: &str) -> CallRow {
        row(seq, function, CallState::Waiting)
    }

    fn name(text: &str) -> FunctionName {
        text.parse().expect("valid")
    }

    fn admit(index: &mut Index, row: &CallRow, now: u64) {
        index.hold(&row.function, 0);
        index.admit(&row.function, 0, Some(row), now);
    }

    fn take(index: &mut Index, now: u64) -> Vec<i64> {
        let mut seqs = Vec::new();
        while let Some(job) = index.next(now, |_| 1) {
            seqs.push(job.seq);
        }
        seqs
    }

    #[test]
    fn calls_of_a_function_run_in_their_order_and_functions_in_turn() {
        let mut index = Index::default();
        for (seq, function, now) in [(1, "a", 5), (2, "a", 4), (3, "a", 5), (4, "b", 9)] {
            admit(&mut index, &waiting(seq, function), now);
        }
        assert_eq!(take(&mut index, 10), [1, 4]);
        let job = Job {
            seq: 1,
            lane: LaneKey {
                function: "a".parse().expect("valid"),
                kind: Kind::Call,
            },
        };
        index.finish(&job, Some(&row(1, "a", CallState::Done)), Due::InOrder(10));
        assert_eq!(take(&mut index, 10), [2]);
    }

    #[test]
    fn a_retry_waits_for_its_time_and_lets_others_pass() {
        let mut index = Index::default();
        admit(&mut index, &waiting(1, "a"), 0);
        let job = index.next(0, |_| 1).expect("due");
        index.finish(&job, Some(&waiting(1, "a")), Due::At(50));
        assert!(index.next(0, |_| 1).is_none());
        assert_eq!(index.next_due(), Some(50));
        admit(&mut index, &waiting(2, "a"), 10);
        let other = index.next(10, |_| 1).expect("due");
        assert_eq!(other.seq, 2);
        index.finish(&other, None, Due::At(0));
        assert!(take(&mut index, 49).is_empty());
        assert_eq!(take(&mut index, 50), [1]);
    }

    #[test]
    fn the_limits_hold_for_what_waits_and_for_dead_letters() {
        let mut index = Index::default();
        let reserve = |index: &mut Index, function: &str, bytes| {
            index.reserve(&name(function), bytes, &LIMITS, Caller::Anybody)
        };
        index.add(&row(1, "a", CallState::Dead), Due::At(0));
        index.add(&row(2, "a", CallState::Done), Due::At(0));
        index.add(&waiting(3, "b"), Due::InOrder(0));
        assert!(reserve(&mut index, "c", 900).expect_err("bytes").by_bytes);
        reserve(&mut index, "c", 100).expect("room");
        let full = reserve(&mut index, "c", 1).expect_err("calls");
        assert_eq!((full.waiting, full.dead, full.by_bytes), (2, 1, false));
        index.admit(&name("c"), 100, None, 0);
        reserve(&mut index, "c", 100).expect("given back");
        index.admit(&name("c"), 100, None, 0);
        index.remove(&row(1, "a", CallState::Dead));
        index.remove(&waiting(3, "b"));
        assert_eq!(index.used, Used::default());
        assert!(take(&mut index, 100).is_empty() && index.lanes.is_empty());
        assert!(index.places.is_empty() && index.dead.is_empty());
    }

    #[test]
    fn a_function_has_at_most_half_and_schedules_a_little_more_than_all() {
        let limits = QueueLimits {
            calls: 200,
            ..LIMITS
        };
        let limits = QueueLimits {
            bytes: 1 << 20,
            ..limits
        };
        let mut index = Index::default();
        let mut fill = |function: &str, caller| {
            let function = name(function);
            let reserve = |_: &u64| index.reserve(&function, 1, &limits, caller).is_ok();
            (0..1000).take_while(reserve).count()
        };
        assert_eq!(fill("a", Caller::Anybody), 100);
        assert_eq!(fill("b", Caller::Anybody), 98);
        assert_eq!(fill("c", Caller::Anybody), 0);
        assert_eq!(fill("a", Caller::Schedule), 2);
        assert_eq!(fill("c", Caller::Schedule), 0);
        let full = index.reserve(&name("a"), 1, &limits, Caller::Anybody);
        assert!(!full.expect_err("full").of_function);
    }

    #[test]
    fn the_oldest_dead_letters_go_beyond_their_part() {
        let mut index = Index::default();
        for seq in 1..=4 {
            let mut row = row(seq, "a", CallState::Dead);
            row.ended_at = 10 - seq;
            index.add(&row, Due::At(0));
        }
        let most = Used {
            calls: 2,
            bytes: 1000,
        };
        let stale = index.stale(5, 1000, most);
        assert_eq!(stale.seqs(), [4, 3]);
        assert_eq!((index.used.calls, index.depths()[0].dead), (2, 2));
        index.keep_stale(stale);
        assert_eq!((index.used.calls, index.depths()[0].dead), (4, 4));
        let most = Used { calls: 9, bytes: 0 };
        // The last one is kept, however large.
        assert_eq!(index.stale(5, 1000, most).seqs(), [4, 3, 2]);
    }

    #[test]
    fn one_function_leaves_places_to_others_and_callbacks_to_calls() {
        let mut index = Index::default();
        for seq in 0..2000 {
            index.add(&waiting(seq, "a"), Due::InOrder(0));
            let told = row(3000 + seq, &format!("t{}", seq % 500), CallState::Callback);
            index.add(&told, Due::At(0));
        }
        let all = |index: &mut Index| {
            let jobs = std::iter::from_fn(|| index.next(0, |_| 1000));
            jobs.map(|job| job.lane.kind).collect::<Vec<_>>()
        };
        let begun = all(&mut index);
        let callbacks = begun.iter().filter(|kind| **kind == Kind::Callback);
        assert_eq!(callbacks.count(), MOST_CALLBACKS);
        assert_eq!(begun.len(), MOST_AT_ONCE - SHARE);
        for seq in 0..2000 {
            index.add(&waiting(6000 + seq, "b"), Due::InOrder(0));
        }
        assert_eq!(all(&mut index).len(), SHARE);
    }

    #[test]
    fn bytes_at_once_are_bounded_and_one_always_runs() {
        let mut index = Index::new(BYTES_AT_ONCE);
        for (seq, function) in [(1, "a"), (2, "b")] {
            index.add(&waiting(seq, function), Due::InOrder(0));
        }
        let job = index.next(0, |_| 1).expect("one");
        assert!(index.next(0, |_| 1).is_none());
        index.finish(&job, None, Due::At(0));
        assert_eq!(index.next(0, |_| 1).map(|job| job.seq), Some(2));
    }

    #[test]
    fn a_call_dropped_while_it_runs_leaves_nothing() {
        let mut index = Index::default();
        index.add(&waiting(1, "a"), Due::InOrder(0));
        let job = index.next(0, |_| 1).expect("due");
        index.remove(&waiting(1, "a"));
        assert!(index.is_running(1));
        index.finish(&job, None, Due::At(0));
        assert_eq!(index.used, Used::default());
        assert!(take(&mut index, 100).is_empty() && index.lanes.is_empty());
    }

    #[test]
    fn results_go_by_age_and_by_size() {
        let mut index = Index::default();
        for seq in 1..=4_i64 {
            let until = RESULT_AGE + seq.unsigned_abs();
            index.add(&row(seq, "a", CallState::Done), Due::At(until));
        }
        let mut stale = |now, most| index.stale(now, most, Used::default()).seqs();
        assert_eq!(stale(RESULT_AGE + 2, 1000), [1]);
        assert_eq!(stale(5, 200), [2]);
        assert!(stale(5, 200).is_empty());
    }
}

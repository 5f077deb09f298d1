//! What is known of every asynchronous call without asking the disk: which is due when, how many
//! of each function run, and how much room is left. About a hundred bytes a call.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use hob_model::{FunctionName, wire::QueueDepth};
use hob_store::{CallRow, CallState};

use super::limits::{Full, QueueLimits, RESULT_AGE, RESULTS_KEPT};

/// Most attempts at once, of all functions and callbacks together: each holds a body and an answer.
const MOST_AT_ONCE: usize = 1024;

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
    tallies: HashMap<FunctionName, Tally>,
    /// Ended calls whose results are kept, the oldest first: number, end, bytes.
    results: VecDeque<(i64, i64, u64)>,
    result_bytes: u64,
    used: Used,
}

/// What the limits are about: calls that have not ended, and dead letters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Used {
    calls: u64,
    bytes: u64,
}

#[derive(Default)]
struct Lane {
    /// By the time at which they are due, then by their number; with their bytes.
    waiting: BTreeMap<(u64, i64), u64>,
    running: usize,
    /// Whether it has a place in `Index::turn`.
    in_turn: bool,
    timer: Option<u64>,
    /// When the last of those that were not tried yet was due: the next one is due no sooner.
    newest: u64,
}

/// Counts of one function.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    dead: u64,
    taken: u64,
    done: u64,
    retried: u64,
    died: u64,
}

/// When a call is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// At once, behind those of its function that came before.
    InOrder(u64),
    /// Then, whatever else is due.
    At(u64),
}

// === impl Index ===

impl Index {
    /// Sets room aside for a call that is about to be written.
    pub(super) fn reserve(&mut self, bytes: u64, limits: &QueueLimits) -> Result<(), Full> {
        if self.used.calls >= limits.calls || self.used.bytes + bytes > limits.bytes {
            let dead = self.tallies.values().map(|tally| tally.dead).sum();
            return Err(Full {
                waiting: self.used.calls.saturating_sub(dead),
                dead,
                by_bytes: self.used.calls < limits.calls,
            });
        }
        self.used.add(bytes);
        Ok(())
    }

    /// Gives back what [`Index::reserve`] set aside; the call itself counts if there is one now.
    pub(super) fn admit(&mut self, reserved: u64, row: Option<&CallRow>, now: u64) {
        self.used.remove(reserved);
        if let Some(row) = row {
            self.tally(&row.function).taken += 1;
            self.add(row, Due::InOrder(now));
        }
    }

    /// Takes in a call, wherever it stands.
    pub(super) fn add(&mut self, row: &CallRow, due: Due) {
        let kind = match row.state {
            CallState::Done => return self.keep(row),
            CallState::Dead => {
                self.tally(&row.function).dead += 1;
                return self.used.add(row.bytes);
            }
            CallState::Waiting => Kind::Call,
            CallState::Callback => Kind::Callback,
        };
        self.used.add(row.bytes);
        let key = LaneKey {
            function: row.function.clone(),
            kind,
        };
        self.wait(key, row.seq, row.bytes, due);
    }

    /// The next call to work on, if one is due and its lane has room: `limit` says how much.
    pub(super) fn next(&mut self, now: u64, limit: impl Fn(&LaneKey) -> usize) -> Option<Job> {
        while let Some((due, _)) = self.timers.first()
            && *due <= now
            && let Some((_, key)) = self.timers.pop_first()
        {
            if let Some(lane) = self.lanes.get_mut(&key) {
                lane.timer = None;
            }
            self.touch(&key);
        }
        if self.running.len() >= MOST_AT_ONCE {
            return None;
        }
        while let Some(key) = self.turn.pop_front() {
            let Some(lane) = self.lanes.get_mut(&key) else {
                continue;
            };
            lane.in_turn = false;
            // One that ends, or comes, has the lane looked at again.
            if lane.running >= limit(&key) {
                continue;
            }
            let Some(first) = lane.waiting.first_entry() else {
                self.tidy(&key);
                continue;
            };
            let (due, seq) = *first.key();
            if due > now {
                self.set_timer(&key, due);
                continue;
            }
            let bytes = first.remove();
            lane.running += 1;
            self.running.insert(seq, bytes);
            self.touch(&key);
            return Some(Job { seq, lane: key });
        }
        None
    }

    /// When [`Index::next`] is worth asking again, should nothing else happen.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// Ends the work on a call, which stands like `row` now, or is gone.
    pub(super) fn finish(&mut self, job: &Job, row: Option<&CallRow>, due: Due) {
        let Some(bytes) = self.leave(job) else { return };
        self.used.remove(bytes);
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
                let tally = self.tally(&row.function);
                tally.dead = tally.dead.saturating_sub(1);
                return self.used.remove(row.bytes);
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
        let Some(lane) = self.lanes.get_mut(&key) else {
            return;
        };
        let place = lane.waiting.keys().find(|(_, seq)| *seq == row.seq);
        if let Some(place) = place.copied() {
            lane.waiting.remove(&place);
            self.used.remove(row.bytes);
            self.tidy(&key);
        }
    }

    /// The calls that are worked on now.
    pub(super) fn running(&self) -> Vec<i64> {
        self.running.keys().copied().collect()
    }

    /// Whether a call is worked on now.
    pub(super) fn is_running(&self, seq: i64) -> bool {
        self.running.contains_key(&seq)
    }

    /// The calls whose results are kept no longer; they are forgotten here. `now` is in
    /// milliseconds since 1970.
    pub(super) fn stale(&mut self, now: i64, most_bytes: u64) -> Vec<i64> {
        let mut stale = Vec::new();
        while let Some((seq, ended_at, bytes)) = self.results.front().copied() {
            let kept = self.results.len() <= RESULTS_KEPT
                && self.result_bytes <= most_bytes
                && now.saturating_sub(ended_at) <= RESULT_AGE;
            if kept {
                break;
            }
            self.results.pop_front();
            self.result_bytes = self.result_bytes.saturating_sub(bytes);
            stale.push(seq);
        }
        stale
    }

    /// Forgets the counts of functions that are `gone` and have nothing here.
    pub(super) fn forget_counts(&mut self, gone: impl Fn(&FunctionName) -> bool) {
        let lanes = &self.lanes;
        let busy = |name: &FunctionName| lanes.keys().any(|key| key.function == *name);
        self.tallies
            .retain(|name, tally| tally.dead > 0 || !gone(name) || busy(name));
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

    fn keep(&mut self, row: &CallRow) {
        self.results.push_back((row.seq, row.ended_at, row.bytes));
        self.result_bytes += row.bytes;
    }

    fn wait(&mut self, key: LaneKey, seq: i64, bytes: u64, due: Due) {
        let lane = self.lanes.entry(key.clone()).or_default();
        let due = match due {
            Due::At(due) => due,
            Due::InOrder(due) => {
                lane.newest = lane.newest.max(due);
                lane.newest
            }
        };
        lane.waiting.insert((due, seq), bytes);
        self.touch(&key);
    }

    /// Takes a call out of what is worked on.
    fn leave(&mut self, job: &Job) -> Option<u64> {
        let bytes = self.running.remove(&job.seq)?;
        if let Some(lane) = self.lanes.get_mut(&job.lane) {
            lane.running = lane.running.saturating_sub(1);
        }
        self.touch(&job.lane);
        Some(bytes)
    }

    /// Has a lane looked at in its turn.
    fn touch(&mut self, key: &LaneKey) {
        if let Some(lane) = self.lanes.get_mut(key)
            && !lane.in_turn
        {
            lane.in_turn = true;
            self.turn.push_back(key.clone());
        }
    }

    fn set_timer(&mut self, key: &LaneKey, due: u64) {
        let Some(lane) = self.lanes.get_mut(key) else {
            return;
        };
        match lane.timer {
            Some(timer) if timer <= due => return,
            Some(timer) => self.timers.remove(&(timer, key.clone())),
            None => true,
        };
        lane.timer = Some(due);
        self.timers.insert((due, key.clone()));
    }

    /// Lets go of a lane with nothing in it.
    fn tidy(&mut self, key: &LaneKey) {
        if let Some(lane) = self.lanes.get(key)
            && lane.waiting.is_empty()
            && lane.running == 0
        {
            if let Some(timer) = lane.timer {
                self.timers.remove(&(timer, key.clone()));
            }
            self.lanes.remove(key);
        }
    }

    fn tally(&mut self, name: &FunctionName) -> &mut Tally {
        self.tallies.entry(name.clone()).or_default()
    }
}

impl Used {
    fn add(&mut self, bytes: u64) {
        self.calls += 1;
        self.bytes += bytes;
    }

    fn remove(&mut self, bytes: u64) {
        self.calls = self.calls.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
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
    use super::*;

    const LIMITS: QueueLimits = QueueLimits {
        body: 1 << 20,
        calls: 3,
        bytes: 1000,
    };

    fn row(seq: i64, function: &str, state: CallState) -> CallRow {
        CallRow {
            seq,
            function: function.parse().expect("valid"),
            state,
            due_at: 0,
            ended_at: 0,
            bytes: 100,
        }
    }

    fn waiting(seq: i64, function: &str) -> CallRow {
        row(seq, function, CallState::Waiting)
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
            index.admit(0, Some(&waiting(seq, function)), now);
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
        index.admit(0, Some(&waiting(1, "a")), 0);
        let job = index.next(0, |_| 1).expect("due");
        index.finish(&job, Some(&waiting(1, "a")), Due::At(50));
        assert!(index.next(0, |_| 1).is_none());
        assert_eq!(index.next_due(), Some(50));
        index.admit(0, Some(&waiting(2, "a")), 10);
        let other = index.next(10, |_| 1).expect("due");
        assert_eq!(other.seq, 2);
        index.finish(&other, None, Due::At(0));
        assert!(take(&mut index, 49).is_empty());
        assert_eq!(take(&mut index, 50), [1]);
    }

    #[test]
    fn the_limits_hold_for_what_waits_and_for_dead_letters() {
        let mut index = Index::default();
        index.add(&row(1, "a", CallState::Dead), Due::At(0));
        index.add(&row(2, "a", CallState::Done), Due::At(0));
        index.add(&waiting(3, "a"), Due::InOrder(0));
        assert!(index.reserve(900, &LIMITS).expect_err("bytes").by_bytes);
        index.reserve(100, &LIMITS).expect("room");
        let full = index.reserve(1, &LIMITS).expect_err("calls");
        assert_eq!((full.waiting, full.dead, full.by_bytes), (2, 1, false));
        index.admit(100, None, 0);
        index.reserve(100, &LIMITS).expect("given back");
        index.admit(100, None, 0);
        index.remove(&row(1, "a", CallState::Dead));
        index.remove(&waiting(3, "a"));
        assert_eq!(index.used, Used::default());
        assert!(take(&mut index, 100).is_empty() && index.lanes.is_empty());
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
        for seq in 1..=4 {
            let mut row = row(seq, "a", CallState::Done);
            row.ended_at = seq;
            index.add(&row, Due::At(0));
        }
        assert_eq!(index.stale(RESULT_AGE + 2, 1000), [1]);
        assert_eq!(index.stale(5, 200), [2]);
        assert!(index.stale(5, 200).is_empty());
    }
}

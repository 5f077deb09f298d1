use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hob_model::{FunctionName, Schedule};
use tokio::sync::Notify;

use super::timing::Timing;

/// Every schedule and when it is due next. Times are milliseconds since 1970.
#[derive(Default)]
pub(crate) struct Timetable {
    state: Mutex<State>,
    /// Something may be due earlier than was thought.
    changed: Notify,
}

#[derive(Default)]
struct State {
    entries: BTreeMap<Key, Entry>,
    /// The same, those first that are due first; without those that never are.
    order: BTreeSet<(i64, Key)>,
}

/// A schedule by its function and its text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) function: FunctionName,
    pub(super) text: String,
}

/// A schedule and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) schedule: Schedule,
    /// Runs up to here are settled.
    pub(super) since: i64,
    /// The same by a clock that was ahead of the one now, perhaps because that one lags.
    pub(super) ahead: Option<i64>,
    /// When it is looked at next: its next run, or the next try after a failure.
    pub(super) next: Option<i64>,
    /// The time that its last run was for, and the id of its call.
    pub(super) last: Option<(i64, String)>,
    /// Why it cannot run.
    pub(super) problem: Option<String>,
}

// === impl Timetable ===

impl Timetable {
    /// Puts these in place of all schedules of `function`.
    pub(super) fn set(&self, function: &FunctionName, entries: Vec<Entry>) {
        let mut state = self.state();
        for key in state.keys_of(function) {
            state.remove(&key);
        }
        for entry in entries {
            let key = Key {
                function: function.clone(),
                text: entry.schedule.to_string(),
            };
            state.put(key, entry);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// The schedules of `function`, or all, sorted by function and text.
    pub(super) fn list(&self, function: Option<&FunctionName>) -> Vec<(Key, Entry)> {
        let state = self.state();
        let copy = |(key, entry): (&Key, &Entry)| (key.clone(), entry.clone());
        match function {
            Some(function) => state.of(function).map(copy).collect(),
            None => state.entries.iter().map(copy).collect(),
        }
    }

    /// Whether the next run of a schedule of `function` is at most `ahead` away.
    pub(crate) fn is_near(&self, function: &FunctionName, now: i64, ahead: Duration) -> bool {
        let until = now.saturating_add(i64::try_from(ahead.as_millis()).unwrap_or(i64::MAX));
        let state = self.state();
        let mut runs = state
            .of(function)
            .filter(|(_, entry)| entry.problem.is_none());
        runs.any(|(_, entry)| entry.next.is_some_and(|next| next <= until))
    }

    /// At most `most` schedules that are due, the most overdue first.
    pub(super) fn due(&self, now: i64, most: usize) -> Vec<(Key, Entry)> {
        let state = self.state();
        let due = state.order.iter().take_while(|(next, _)| *next <= now);
        due.take(most)
            .filter_map(|(_, key)| Some((key.clone(), state.entries.get(key)?.clone())))
            .collect()
    }

    /// Notes that all runs up to `since` are settled, and perhaps the newest of them. A schedule
    /// that was taken away meanwhile stays away.
    pub(super) fn settle(&self, key: &Key, since: i64, last: Option<(i64, String)>) {
        let mut state = self.state();
        if let Some(entry) = state.remove(key) {
            let last = last.or(entry.last);
            let ahead = entry.ahead.filter(|ahead| *ahead > since);
            let entry = Entry::new(entry.schedule, since, last);
            state.put(key.clone(), Entry { ahead, ..entry });
        }
    }

    /// Has the schedule looked at again at `next` and not earlier.
    pub(super) fn postpone(&self, key: &Key, next: i64) {
        let mut state = self.state();
        if let Some(mut entry) = state.remove(key) {
            entry.next = Some(next);
            state.put(key.clone(), entry);
        }
    }

    /// Has all go by `now`: somebody has set the clock back.
    pub(super) fn set_back(&self, now: i64) {
        let mut state = self.state();
        let keys: Vec<Key> = state.entries.keys().cloned().collect();
        for key in keys {
            if let Some(entry) = state.remove(&key) {
                state.put(key, entry.set_back(now));
            }
        }
    }

    /// Waits until something is due, something has changed, or `pace` is over.
    pub(super) async fn wait(&self, now: i64, pace: Duration) {
        let next = self.state().order.first().map(|(next, _)| *next);
        let left = next.map_or(u64::MAX, |next| u64::try_from(next - now).unwrap_or(0));
        let left = Duration::from_millis(left).min(pace);
        // A late tick is no error, so the outcome says nothing.
        let _ = tokio::time::timeout(left, self.changed.notified()).await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    fn of(&self, function: &FunctionName) -> impl Iterator<Item = (&Key, &Entry)> {
        let first = Key {
            function: function.clone(),
            text: String::new(),
        };
        let function = function.clone();
        let from = self.entries.range(first..);
        from.take_while(move |(key, _)| key.function == function)
    }

    fn keys_of(&self, function: &FunctionName) -> Vec<Key> {
        self.of(function).map(|(key, _)| key.clone()).collect()
    }

    fn put(&mut self, key: Key, entry: Entry) {
        if let Some(next) = entry.next {
            self.order.insert((next, key.clone()));
        }
        self.entries.insert(key, entry);
    }

    fn remove(&mut self, key: &Key) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        if let Some(next) = entry.next {
            self.order.remove(&(next, key.clone()));
        }
        Some(entry)
    }
}

// === impl Entry ===

impl Entry {
    /// A schedule whose runs up to `since` are settled. It is read anew each time, since what was
    /// read takes far more memory than its text.
    pub(super) fn new(schedule: Schedule, since: i64, last: Option<(i64, String)>) -> Self {
        let (next, problem) = match Timing::of(&schedule) {
            Ok(timing) => (timing.next(since), None),
            // Its zone may be back at the next look.
            Err(error) => (Some(since), Some(error.to_string())),
        };
        Self {
            schedule,
            since,
            ahead: None,
            next,
            last,
            problem,
        }
    }

    /// The same by a clock that says `now`. What is settled beyond that is not waited for.
    pub(super) fn set_back(self, now: i64) -> Self {
        let ahead = self.ahead.max(Some(self.since));
        Self {
            ahead: ahead.filter(|ahead| *ahead > now),
            ..Self::new(self.schedule, self.since.min(now), self.last)
        }
    }

    /// Up to where runs are settled at `now`. Where a run comes over `late` milliseconds late, the
    /// clock may have lagged and be right again: what was settled before that counts once more.
    pub(super) fn settled(&self, timing: &Timing, now: i64, late: i64) -> i64 {
        let next = timing.next(self.since);
        let is_late = next.is_some_and(|next| next < now - late);
        let ahead = self.ahead.filter(|ahead| is_late && *ahead <= now);
        ahead.map_or(self.since, |ahead| ahead.max(self.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> FunctionName {
        text.parse().expect("valid")
    }

    fn hourly(since: i64) -> Entry {
        Entry::new("@every 1h".into(), since, None)
    }

    const HOUR: i64 = 3_600_000;

    #[test]
    fn what_is_due_first_comes_first_and_what_is_settled_waits() {
        let table = Timetable::default();
        table.set(&name("late"), vec![hourly(HOUR)]);
        table.set(&name("early"), vec![hourly(0)]);
        assert!(table.due(HOUR - 1, 9).is_empty());
        let due = table.due(2 * HOUR, 9);
        let names: Vec<_> = due.iter().map(|(key, _)| key.function.name()).collect();
        assert_eq!(names, ["early", "late"]);
        assert_eq!(table.due(2 * HOUR, 1).len(), 1);
        table.settle(&due[0].0, 2 * HOUR, Some((2 * HOUR, "call".into())));
        table.postpone(&due[1].0, 2 * HOUR + 5);
        assert!(table.due(2 * HOUR + 4, 9).is_empty());
        let early = &table.list(Some(&name("early")))[0].1;
        assert_eq!(early.next, Some(3 * HOUR));
        assert_eq!(early.last, Some((2 * HOUR, "call".into())));
    }

    #[test]
    fn a_run_is_near_from_so_long_ahead_until_it_is_settled() {
        let table = Timetable::default();
        let hello = name("hello");
        table.set(&hello, vec![hourly(0)]);
        let near = |now| table.is_near(&hello, now, Duration::from_secs(60));
        assert!(!near(HOUR - 60_001) && near(HOUR - 60_000) && near(HOUR + 5));
        let (key, _) = table.list(None).remove(0);
        table.settle(&key, HOUR, None);
        assert!(!near(HOUR + 5) && near(2 * HOUR));
        assert!(!table.is_near(&name("other"), HOUR, Duration::MAX));
    }

    #[test]
    fn what_was_taken_away_is_not_brought_back() {
        let table = Timetable::default();
        table.set(&name("hello"), vec![hourly(0)]);
        let (key, _) = table.due(HOUR, 1).remove(0);
        table.set(&name("hello"), Vec::new());
        table.settle(&key, HOUR, None);
        assert!(table.list(None).is_empty() && table.due(9 * HOUR, 9).is_empty());
    }

    #[test]
    fn a_clock_that_is_set_back_starts_afresh() {
        let table = Timetable::default();
        table.set(&name("hello"), vec![hourly(100 * HOUR)]);
        table.set_back(HOUR);
        assert_eq!(table.list(None)[0].1.next, Some(2 * HOUR));
        // Not put off by the time that it was, either.
        let (key, _) = table.list(None).remove(0);
        table.postpone(&key, 100 * HOUR);
        table.set_back(HOUR);
        // What was settled before stays known until the clock is there again.
        let (key, _) = table.due(2 * HOUR, 1).remove(0);
        table.settle(&key, 2 * HOUR, None);
        assert_eq!(table.list(None)[0].1.ahead, Some(100 * HOUR));
        table.settle(&key, 100 * HOUR, None);
        assert_eq!(table.list(None)[0].1.ahead, None);
    }

    #[test]
    fn ten_thousand_schedules_are_found_in_no_time() {
        let table = Timetable::default();
        for number in 0..10_000 {
            table.set(&name(&format!("f{number}")), vec![hourly(number)]);
        }
        assert_eq!(table.due(HOUR + 99, 1000).len(), 100);
        assert_eq!(table.list(Some(&name("f7"))).len(), 1);
    }
}

//! The task that makes the runs that are due.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use hob_model::{FunctionName, Missed, Schedule, openfaas::CRON_TOPIC};
use hob_store::{NewCall, ScheduleRow, clock::unix_now};
use tokio_util::sync::CancellationToken;

use super::{
    timetable::{Entry, Key},
    timing::{Timing, rfc3339},
};
use crate::{Control, control::blocking, queue::EnqueueError};

/// Most missed runs that are made up for where all are wanted; older ones are left out.
const MOST_MISSED: usize = 100;
/// A run that is made at most this much late is not a missed one, in milliseconds.
const LATE: i64 = 60_000;
/// Longest time between two looks at the clock, which somebody may set.
const PACE: Duration = Duration::from_secs(30);
/// A clock that goes back by more than this was set, and schedules go by its new time. In
/// milliseconds.
pub(super) const SET_BACK: i64 = 5 * 60_000;
/// Schedules whose runs are put into the queue side by side and settled in one write.
const BATCH: usize = 256;
/// After a failure of the disk a run is tried again so much later, in milliseconds.
const RETRY: i64 = 10_000;
/// A schedule that cannot be read, as when the system's time zones are being renewed, is looked at
/// again so much later, in milliseconds.
const REREAD: i64 = 60_000;

/// What becomes of a schedule that is due.
struct Plan {
    key: Key,
    schedule: Schedule,
    /// Runs up to here were settled before.
    since: i64,
    /// The times of the runs to make, the oldest first.
    runs: Vec<i64>,
    /// Runs up to here are settled then.
    until: i64,
    /// It could not be read.
    unreadable: bool,
}

/// What came of a plan.
struct Made {
    key: Key,
    settled: ScheduleRow,
    /// How much later the rest has to be tried again, in milliseconds.
    again: Option<i64>,
}

// === impl Control ===

impl Control {
    /// Calls functions by the clock until `stop`.
    pub(crate) async fn keep_time(self: Arc<Self>, stop: CancellationToken) {
        let mut before = unix_now();
        while !stop.is_cancelled() {
            let time = unix_now();
            if time + SET_BACK < before {
                tracing::warn!("the clock was set back: schedules go by its new time");
                self.timetable.set_back(time);
            }
            before = time;
            if self.run_due(time).await < BATCH {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = self.timetable.wait(unix_now(), PACE) => {}
                }
            }
        }
    }

    /// Makes one run of a schedule at once, besides those by the clock; returns its call id.
    pub(crate) async fn run_now(
        &self,
        function: FunctionName,
        schedule: &Schedule,
    ) -> Result<String, EnqueueError> {
        let id = self.queue.new_id();
        let call = call(id.clone(), function, schedule, unix_now());
        self.enqueue_scheduled(call).await.map(|()| id)
    }

    /// Makes the runs of one batch of schedules that are due; returns how many these were.
    async fn run_due(&self, now: i64) -> usize {
        let due = self.timetable.due(now, BATCH);
        if due.is_empty() {
            return 0;
        }
        let count = due.len();
        // Looking for missed runs may take some milliseconds for each schedule.
        let plans = blocking(&self.config.runtime, move || -> Vec<Plan> {
            due.into_iter().map(|due| Plan::of(due, now)).collect()
        });
        let made = plans.await.into_iter().map(|plan| self.make(plan));
        let made: Vec<Made> = join_all(made).await;
        let rows: Vec<_> = made.iter().map(|made| made.settled.clone()).collect();
        // A crash before this makes the runs come again: at least once, as all calls of the queue.
        let written = self.stored(move |store| store.settle_schedules(&rows));
        if let Err(error) = written.await {
            tracing::error!("runs of schedules could not be settled and may come again: {error}");
        }
        for made in made {
            let last = made.settled.last_run.zip(made.settled.last_call);
            self.timetable.settle(&made.key, made.settled.since, last);
            if let Some(later) = made.again {
                self.timetable.postpone(&made.key, now + later);
            }
        }
        count
    }

    /// Puts the runs into the queue, one after the other.
    async fn make(&self, plan: Plan) -> Made {
        let mut made = Made {
            settled: ScheduleRow {
                function: plan.key.function.clone(),
                schedule: plan.key.text.clone(),
                since: plan.since,
                last_run: None,
                last_call: None,
            },
            key: plan.key,
            again: plan.unreadable.then_some(REREAD),
        };
        for run in plan.runs {
            let function = &made.key.function;
            let id = self.queue.new_id();
            let call = call(id.clone(), function.clone(), &plan.schedule, run);
            if let Err(error) = self.enqueue_scheduled(call).await {
                tracing::error!("`{function}` could not be called by its schedule: {error}");
                made.again = Some(RETRY);
                return made;
            }
            let settled = &mut made.settled;
            (settled.since, settled.last_run, settled.last_call) = (run, Some(run), Some(id));
        }
        made.settled.since = plan.until;
        made
    }
}

// === impl Plan ===

impl Plan {
    /// What the schedule's policy makes of the runs that are due at `now`.
    fn of((key, entry): (Key, Entry), now: i64) -> Self {
        let most = match entry.schedule.missed {
            Missed::Skip | Missed::Once => 1,
            Missed::All => MOST_MISSED,
        };
        let Ok(timing) = Timing::of(&entry.schedule) else {
            return Self {
                key,
                schedule: entry.schedule,
                since: entry.since,
                runs: Vec::new(),
                until: entry.since,
                unreadable: true,
            };
        };
        let since = entry.settled(&timing, now, LATE);
        // One more, to see whether any is left out.
        let mut runs = timing.due(since, now, most + 1);
        // Without any, those that were due were settled before.
        let none = if since > entry.since { since } else { now };
        let until = runs.last().copied().unwrap_or(none);
        let schedule = entry.schedule;
        let left_out = if schedule.missed == Missed::Skip && until < now - LATE {
            runs.drain(..).next_back()
        } else if runs.len() > most {
            Some(runs.remove(0))
        } else {
            None
        };
        if let Some(left_out) = left_out {
            let (function, left_out) = (&key.function, rfc3339(left_out));
            tracing::info!(
                "schedule `{schedule}` of `{function}`: runs up to {left_out} are left out"
            );
        }
        Self {
            key,
            schedule,
            since,
            runs,
            until,
            unreadable: false,
        }
    }
}

/// A run as OpenFaaS's cron connector makes it, and what it is for.
fn call(id: String, function: FunctionName, schedule: &Schedule, run: i64) -> NewCall {
    let headers = [
        ("Content-Type", "text/plain".to_owned()),
        ("X-Connector", "cron-connector".to_owned()),
        ("X-Topic", CRON_TOPIC.to_owned()),
        ("X-Hob-Schedule", schedule.to_string()),
        ("X-Hob-Scheduled-For", rfc3339(run)),
    ];
    NewCall {
        id,
        function,
        target: String::new(),
        headers: headers
            .map(|(name, value)| (name.to_owned(), value.into_bytes()))
            .into(),
        body: Vec::new(),
        callback: None,
        taken_at: unix_now(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn plan(entry: Entry, now: i64) -> Plan {
        let key = Key {
            function: "hello".parse().expect("valid"),
            text: entry.schedule.to_string(),
        };
        Plan::of((key, entry), now)
    }

    fn all(schedule: &str) -> Schedule {
        Schedule {
            missed: Missed::All,
            ..schedule.into()
        }
    }

    #[test]
    fn a_clock_that_lagged_brings_no_run_again() {
        for schedule in ["@every 1h", "0 * * * *"] {
            let lagging = || Entry::new(all(schedule), 1000 * HOUR, None).set_back(5);
            // While it lags, its time is the one that counts.
            let made = plan(lagging(), HOUR + 5);
            assert_eq!(made.runs.len(), 1, "{schedule}");
            // When it is right again, only what was missed is made up for.
            let right = plan(lagging(), 1000 * HOUR + 9);
            assert_eq!((right.runs, right.until), (vec![], 1000 * HOUR));
            let late = plan(lagging(), 1002 * HOUR + 9);
            assert_eq!(late.runs, [1001 * HOUR, 1002 * HOUR]);
        }
    }

    #[test]
    fn a_clock_that_was_ahead_costs_no_run() {
        let ahead = Entry::new(all("0 * * * *"), 3 * HOUR, None);
        let mut entry = ahead.set_back(5);
        for hour in 1..5 {
            let made = plan(entry.clone(), hour * HOUR + 9);
            assert_eq!(made.runs, [hour * HOUR]);
            entry.since = made.until;
        }
    }

    #[test]
    fn what_cannot_be_read_is_tried_again_and_not_settled() {
        let entry = Entry::new(all("TZ=Mars/Olympus 0 * * * *"), HOUR, None);
        assert!(entry.next <= Some(HOUR) && entry.problem.is_some());
        let plan = plan(entry, 9 * HOUR);
        assert_eq!((plan.unreadable, plan.until), (true, HOUR));
    }
}

//! Calls by the clock: each run of a schedule is an asynchronous call of the function.

mod runs;
mod timetable;
mod timing;

use std::collections::{BTreeMap, BTreeSet};

use hob_model::{
    FunctionName, Run, Schedule,
    wire::{Fault, ScheduleSummary},
};
use hob_store::{
    ScheduleRow, Store, StoreError,
    clock::{system_time, unix_now},
};
use thiserror::Error;

use crate::Control;
use timetable::Entry;
pub(crate) use timetable::Timetable;
use timing::Timing;

/// Most schedules of one function.
const MOST_SCHEDULES: usize = 100;

/// Why a function's schedules are refused.
#[derive(Debug, Error)]
pub(crate) enum ScheduleError {
    /// Not in the notation.
    #[error("schedule `{schedule}`: {problem}")]
    Unreadable {
        /// As it was written.
        schedule: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// No such time zone.
    #[error(
        "schedule `{schedule}`: there is no time zone `{zone}`: write one such as Europe/Berlin"
    )]
    Zone {
        /// As it was written.
        schedule: String,
        /// The zone.
        zone: String,
    },
    /// The machine lacks what every time zone needs.
    #[error(
        "schedule `{schedule}`: this machine knows no time zones: install tzdata, or leave the zone out for UTC"
    )]
    NoZones {
        /// As it was written.
        schedule: String,
    },
    /// It has no run.
    #[error("schedule `{0}` never comes: there is no such day")]
    Never(String),
    /// The same one again.
    #[error("schedule `{0}` is there twice: leave one out")]
    Twice(String),
    /// Too many.
    #[error("{0} schedules are too many: a function has at most {MOST_SCHEDULES}")]
    Many(usize),
    /// Nobody would answer.
    #[error("a folder of files runs nothing and can have no schedule: leave it out")]
    Files,
}

impl ScheduleError {
    pub(crate) fn fault(&self) -> Fault {
        match self {
            Self::NoZones { .. } => Fault::Host,
            _ => Fault::Caller,
        }
    }
}

/// Refuses what could not be run.
pub(crate) fn check(run: &Run, schedules: &[Schedule]) -> Result<(), ScheduleError> {
    if schedules.is_empty() {
        return Ok(());
    }
    if matches!(run, Run::Static { .. }) {
        return Err(ScheduleError::Files);
    }
    if schedules.len() > MOST_SCHEDULES {
        return Err(ScheduleError::Many(schedules.len()));
    }
    let mut texts = BTreeSet::new();
    for schedule in schedules {
        let text = schedule.to_string();
        if Timing::of(schedule)?.next(unix_now()).is_none() {
            return Err(ScheduleError::Never(text));
        }
        if !texts.insert(text.clone()) {
            return Err(ScheduleError::Twice(text));
        }
    }
    Ok(())
}

// === impl Control ===

impl Control {
    /// Takes up the schedules of every function where the server before left them.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn restore_schedules(&self) -> Result<(), StoreError> {
        let mut kept: BTreeMap<FunctionName, Vec<ScheduleRow>> = BTreeMap::new();
        for row in self.stored(Store::schedules).await? {
            kept.entry(row.function.clone()).or_default().push(row);
        }
        for function in self.deployed.all() {
            let rows = kept.remove(&function.name).unwrap_or_default();
            let schedules = &function.revision.settings.schedule;
            let texts: BTreeSet<String> = schedules.iter().map(Schedule::to_string).collect();
            // They differ where a server died between two writes.
            if texts.iter().eq(rows.iter().map(|row| &row.schedule)) {
                self.take_up(&function.name, schedules, rows, unix_now());
            } else {
                self.reschedule(&function.name, schedules).await;
            }
        }
        for name in kept.keys() {
            self.reschedule(name, &[]).await;
        }
        Ok(())
    }

    /// Makes `schedules` those of the function: new ones start from now, others go on.
    pub(crate) async fn reschedule(&self, name: &FunctionName, schedules: &[Schedule]) {
        let texts: Vec<String> = schedules.iter().map(Schedule::to_string).collect();
        let (owner, since) = (name.clone(), unix_now());
        let kept = self.stored(move |store| store.set_schedules(&owner, &texts, since));
        let rows = kept.await.unwrap_or_else(|error| {
            // They run all the same, and the next start finds the difference.
            tracing::error!("schedules of `{name}` could not be kept: {error}");
            Vec::new()
        });
        self.take_up(name, schedules, rows, since);
    }

    fn take_up(
        &self,
        name: &FunctionName,
        schedules: &[Schedule],
        rows: Vec<ScheduleRow>,
        since: i64,
    ) {
        let mut rows: BTreeMap<String, ScheduleRow> = rows
            .into_iter()
            .map(|row| (row.schedule.clone(), row))
            .collect();
        let entries = schedules.iter().map(|schedule| {
            let row = rows.remove(&schedule.to_string());
            let Some(row) = row else {
                return Entry::new(schedule.clone(), since, None);
            };
            let last = row.last_run.zip(row.last_call);
            let entry = Entry::new(schedule.clone(), row.since, last);
            // The clock was wrong then or is wrong now: nobody knows which.
            let ahead = row.since > since + runs::SET_BACK;
            if ahead { entry.set_back(since) } else { entry }
        });
        self.timetable.set(name, entries.collect());
    }

    /// The schedules of `function`, or of all, as clients see them.
    pub(crate) fn schedules(&self, function: Option<&FunctionName>) -> Vec<ScheduleSummary> {
        let entries = self.timetable.list(function).into_iter();
        let summaries = entries.map(|(key, entry)| {
            let (last, last_call) = entry.last.unzip();
            let next = entry.next.filter(|_| entry.problem.is_none());
            ScheduleSummary {
                function: key.function,
                schedule: entry.schedule.cron,
                zone: entry.schedule.zone.unwrap_or_else(|| "UTC".into()),
                missed: entry.schedule.missed,
                next: next.map(system_time),
                last: last.map(system_time),
                last_call,
                problem: entry.problem,
            }
        });
        summaries.collect()
    }
}

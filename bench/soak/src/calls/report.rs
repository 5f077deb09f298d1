use std::{
    cmp::Reverse,
    fmt::Write,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{
    chronicle::Chronicle,
    fault::Fault,
    functions::Habit,
    judge::Class,
    sample::{Reply, Sample},
};
use crate::run::Run;

/// Failures that are told one by one.
const TOLD_MAX: usize = 20;
/// The slowest calls of each phase, told as well.
const SLOWEST: usize = 3;
/// The most that the logs of a function may take, in bytes: a log and its former part, which a
/// flood may have made longer than its limit between two looks.
const LOG_MAX: u64 = 128 << 20;

/// What a run has shown.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    form: &'static str,
    seed: u64,
    seconds: f64,
    redeploys: usize,
    replica_kills: usize,
    hob_kills: usize,
    /// What the flooded log takes on the disk.
    log_bytes: u64,
    phases: Vec<Row>,
    /// The calls that waited for a replica to wake, in the phase that is about them.
    woken: Row,
    causes: Vec<Cause>,
    /// The first that count, one line each.
    failures: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Row {
    phase: &'static str,
    sent: usize,
    answered: usize,
    /// Of these, those that were sent once more.
    again: usize,
    replica_killed: usize,
    /// Failed without a fault of their own replica.
    failed: usize,
    /// Of those that were answered, from when they were due.
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    slowest: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Cause {
    class: Class,
    calls: usize,
    counts: bool,
}

type Judged = (Sample, Class);

impl Report {
    /// `began` is when the first call was due.
    pub(super) fn new(
        run: &Run,
        chronicle: &Chronicle,
        calls: &[Judged],
        began: Instant,
        log_bytes: u64,
    ) -> Self {
        let phases = Fault::ALL.map(|fault| {
            let calls = calls.iter();
            let calls = calls.filter(|call| phase(call, chronicle) == fault);
            Row::of(fault.name(), calls, began)
        });
        let woken = calls.iter().filter(|call| {
            phase(call, chronicle) == Fault::Sleep && call.0.function.habit == Habit::Sleepy
        });
        let woken =
            woken.filter(|call| matches!(call.0.last().reply, Reply::Right { woken, .. } if woken));
        let causes = Class::ALL.map(|class| Cause {
            class,
            calls: calls.iter().filter(|call| call.1 == class).count(),
            counts: class.counts(),
        });
        let failures = calls.iter().filter(|call| call.1.counts());
        let last = calls.iter().map(|call| call.0.due).max().unwrap_or(began);
        Self {
            form: run.form.name,
            seed: run.seed,
            seconds: (last - began).as_secs_f64(),
            redeploys: chronicle.redeploys(),
            replica_kills: chronicle.replica_kills.len(),
            hob_kills: chronicle.hob_kills.len(),
            log_bytes,
            phases: phases.into(),
            woken: Row::of("of these, woken", woken, began),
            causes: causes.into(),
            failures: failures
                .take(TOLD_MAX)
                .map(|call| line(call, began))
                .collect(),
        }
    }

    /// The bars that were missed, and what the run failed to try.
    pub(super) fn missed(&self) -> Vec<String> {
        let mut missed = Vec::new();
        let failed: usize = self.phases.iter().map(|row| row.failed).sum();
        if failed > 0 {
            missed.push(format!(
                "{failed} calls failed without a fault of their own replica (bar: 0)"
            ));
        }
        if self.woken.answered == 0 {
            missed.push("no function went to sleep, so nothing was woken".to_owned());
        }
        if self.log_bytes > LOG_MAX {
            let (log, most) = (self.log_bytes >> 20, LOG_MAX >> 20);
            missed.push(format!("the flooded log takes {log} MiB (bar: {most} MiB)"));
        }
        missed
    }

    /// For people.
    pub(super) fn table(&self) -> String {
        let mut text = format!(
            "calls: {} form, seed {}, {:.0} s; {} redeploys, {} replicas and {} times hob killed, {} MiB of flooded log\n\n",
            self.form,
            self.seed,
            self.seconds,
            self.redeploys,
            self.replica_kills,
            self.hob_kills,
            self.log_bytes >> 20
        );
        let mut line = |cells: [String; 9]| {
            let [phase, cells @ ..] = cells;
            let _ = write!(text, "{phase:<16}");
            for cell in cells {
                let _ = write!(text, "{cell:>10}");
            }
            text.push('\n');
        };
        let head = [
            "phase", "sent", "answered", "again", "own", "failed", "p50 ms", "p99 ms", "max ms",
        ];
        line(head.map(str::to_owned));
        for row in &self.phases {
            line(row.cells());
            if row.phase == Fault::Sleep.name() {
                line(self.woken.cells());
            }
        }
        text.push('\n');
        for cause in &self.causes {
            let name = cause.class.name();
            let bar = if cause.counts { "  (bar: 0)" } else { "" };
            let _ = writeln!(text, "{:>8}  {name}{bar}", cause.calls);
        }
        for row in &self.phases {
            for slow in &row.slowest {
                let _ = writeln!(text, "slowest in {}: {slow}", row.phase);
            }
        }
        for failure in &self.failures {
            let _ = writeln!(text, "failed: {failure}");
        }
        text
    }
}

impl Row {
    fn of<'c>(
        phase: &'static str,
        calls: impl Iterator<Item = &'c Judged>,
        began: Instant,
    ) -> Self {
        let mut calls: Vec<_> = calls.collect();
        calls.sort_by_key(|call| Reverse(call.0.latency()));
        let count = |what: fn(Class) -> bool| calls.iter().filter(|call| what(call.1)).count();
        let answered = calls.iter().filter(|call| call.1.is_answered());
        let mut latency: Vec<_> = answered.map(|call| call.0.latency()).collect();
        latency.sort_unstable();
        Self {
            phase,
            sent: calls.len(),
            answered: latency.len(),
            again: count(|class| class == Class::AnsweredAgain),
            replica_killed: count(|class| class == Class::ReplicaKilled),
            failed: count(Class::counts),
            p50_ms: millis(percentile(&latency, 0.5)),
            p99_ms: millis(percentile(&latency, 0.99)),
            max_ms: millis(percentile(&latency, 1.0)),
            slowest: calls
                .iter()
                .take(SLOWEST)
                .map(|call| line(call, began))
                .collect(),
        }
    }

    fn cells(&self) -> [String; 9] {
        let counts = [
            self.sent,
            self.answered,
            self.again,
            self.replica_killed,
            self.failed,
        ];
        let [sent, answered, again, own, failed] = counts.map(|count| count.to_string());
        let times = [self.p50_ms, self.p99_ms, self.max_ms];
        let [p50, p99, max] = times.map(|time| format!("{time:.1}"));
        [
            self.phase.to_owned(),
            sent,
            answered,
            again,
            own,
            failed,
            p50,
            p99,
            max,
        ]
    }
}

/// In which phase a call was due. What came right before the first belongs to it.
fn phase(call: &Judged, chronicle: &Chronicle) -> Fault {
    let begun = chronicle.phases.iter().rev();
    let found = begun.clone().find(|(_, span)| span.start <= call.0.due);
    found.map_or(Fault::Quiet, |(fault, _)| *fault)
}

fn line((call, class): &Judged, began: Instant) -> String {
    let since = |at: Instant| at.saturating_duration_since(began).as_secs_f64();
    let mut line = format!(
        "{} {}, due at {:.3} s: {}",
        call.method,
        call.function.name,
        since(call.due),
        class.name()
    );
    for attempt in [Some(&call.first), call.again.as_ref()]
        .into_iter()
        .flatten()
    {
        let (start, end) = (since(attempt.span.start), since(attempt.span.end));
        let opened = attempt.opened.map_or(0.0, since);
        let reply = &attempt.reply;
        let _ = write!(
            line,
            "; from {start:.3} to {end:.3} s on a connection of {opened:.3} s: {reply:?}"
        );
    }
    line
}

/// The smallest of the sorted samples that at least `share` of them do not exceed; 0 without any.
pub(super) fn percentile(sorted: &[Duration], share: f64) -> Duration {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    let sample = sorted.get(rank.max(1) - 1);
    sample.copied().unwrap_or_default()
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples() {
        let sorted: Vec<_> = (1..=100).map(Duration::from_micros).collect();
        let shares = [0.0, 0.5, 0.99, 1.0].map(|share| percentile(&sorted, share));
        assert_eq!(shares, [1, 50, 99, 100].map(Duration::from_micros));
        assert_eq!(percentile(&[], 0.5), Duration::ZERO);
    }
}

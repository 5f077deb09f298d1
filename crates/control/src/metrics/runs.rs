//! Runs in sandboxes. Nothing of it is there while that is off.

use hob_model::EndReason;
use prometheus::{Error, core::Collector};

use super::family::{Family, Text, float};
use crate::runs::{Runs, Turned};

/// Writes all that there is on runs.
pub(super) fn write(runs: &Runs, text: &mut Text) -> Result<(), Error> {
    let Some(pool) = runs.pool() else {
        return Ok(());
    };
    let counts = runs.counts();
    let mut ended = Family::counters("hob_runs_total", "Runs that are over, by how they ended.");
    for reason in EndReason::ALL {
        let labels = [("reason", reason.as_str())];
        ended.count(&labels, float(counts.ended(reason)));
    }
    text.add(ended)?;
    let mut turned = Family::counters(
        "hob_runs_refused_total",
        "Orders that no sandbox was given for.",
    );
    for reason in Turned::ALL {
        let labels = [("reason", reason.as_str())];
        turned.count(&labels, float(counts.turned(reason)));
    }
    text.add(turned)?;
    let standing = pool.standing();
    let mut sandboxes = Family::gauges(
        "hob_sandboxes",
        "Sandboxes that wait for a run, that have one, and that there may be.",
    );
    for (state, count) in [
        ("ready", standing.ready),
        ("leased", standing.leased),
        ("size", standing.size),
    ] {
        sandboxes.gauge(&[("state", state)], float(count as u64));
    }
    text.add(sandboxes)?;
    let mut waiting = Family::gauges("hob_runs_waiting", "Callers in line for a sandbox.");
    waiting.gauge(&[], float(standing.waiting as u64));
    text.add(waiting)?;
    text.add_collected(&counts.queue.collect())?;
    text.add_collected(&counts.run.collect())
}

//! Calls, as the gateway has counted them. Only functions that were called have values.

use hob_model::{CALL_BUCKETS, CallCounts, Routes, Track};
use prometheus::Error;

use super::family::{Family, Text, float};

/// The calls of a function.
struct Called {
    /// Always with its namespace.
    name: String,
    counts: CallCounts,
}

/// Writes all that there is on calls. Each function is looked at once: its values fit together.
pub(super) fn write(routes: &Routes, text: &mut Text) -> Result<(), Error> {
    let routes = routes.all();
    let called = |track| {
        let routes = routes.iter().filter(|route| route.track == track);
        let called = routes.filter_map(|route| {
            let counts = route.counters.counts();
            let name = route.function.qualified();
            (counts.started > 0).then_some(Called { name, counts })
        });
        let mut called: Vec<_> = called.collect();
        called.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        called
    };
    let canaries = called(Track::Canary);
    let called = called(Track::Stable);
    text.add(started(&called))?;
    text.add(under_way(&called))?;
    let name = "gateway_function_invocation_total";
    let help = "Calls that are over, by status code.";
    text.add(ended(name, help, &called))?;
    let help = "Calls of canaries that are over, by status code; they count as the function's too.";
    text.add(ended("hob_canary_calls_total", help, &canaries))?;
    text.add(took(&called))?;
    text.add(reasons(&called))?;
    text.add(retried(&called))
}

fn started(called: &[Called]) -> Family {
    let name = "gateway_function_invocation_started";
    let mut family = Family::counters(name, "Calls let in.");
    for Called { name, counts } in called {
        family.count(&[("function_name", name)], float(counts.started));
    }
    family
}

fn under_way(called: &[Called]) -> Family {
    let name = "gateway_function_invocation_inflight";
    let mut family = Family::gauges(name, "Calls under way.");
    for Called { name, counts } in called {
        family.gauge(&[("function_name", name)], float(counts.under_way()));
    }
    family
}

fn ended(name: &str, help: &str, called: &[Called]) -> Family {
    let mut family = Family::counters(name, help);
    for Called { name, counts } in called {
        for one in &counts.codes {
            let labels = [("function_name", &**name), ("code", &one.code.to_string())];
            family.count(&labels, float(one.count()));
        }
    }
    family
}

fn took(called: &[Called]) -> Family {
    let name = "gateway_functions_seconds";
    let help = "Time from a call's arrival to the end of its answer.";
    let mut family = Family::histograms(name, help);
    for Called { name, counts } in called {
        for one in &counts.codes {
            let labels = [("function_name", &**name), ("code", &one.code.to_string())];
            let bounds = CALL_BUCKETS.iter().map(|bound| bound.as_secs_f64());
            let buckets = bounds.zip(one.buckets);
            let beyond = one.buckets[CALL_BUCKETS.len()];
            family.histogram(&labels, buckets, one.sum.as_secs_f64(), beyond);
        }
    }
    family
}

fn reasons(called: &[Called]) -> Family {
    let help = "Calls that are over, by how they ended.";
    let mut family = Family::counters("hob_calls_ended_total", help);
    for Called { name, counts } in called {
        let ends = counts.ends.iter().filter(|(_, count)| *count > 0);
        for (reason, count) in ends {
            let labels = [("function_name", &**name), ("reason", reason.as_str())];
            family.count(&labels, float(*count));
        }
    }
    family
}

fn retried(called: &[Called]) -> Family {
    let help = "Tries of calls after the first, at another replica.";
    let mut family = Family::counters("hob_retries_total", help);
    for Called { name, counts } in called {
        family.count(&[("function_name", name)], float(counts.retried));
    }
    family
}

//! Asynchronous calls, as the queue has counted them: in OpenFaaS's names what its queue worker
//! tells, in names of our own the rest. Only functions that had such calls have values.

use hob_model::wire::QueueDepth;
use prometheus::Error;

use super::family::{Family, Text, float};

/// The only queue there is, by the name that OpenFaaS's own has.
const QUEUE: &str = "faas-request";

/// What is read off the queue for one function.
type Read = fn(&QueueDepth) -> u64;

/// Gauges: name, meaning, value.
const NOW: [(&str, &str, Read); 4] = [
    (
        "queue_worker_pending_messages",
        "Asynchronous calls to be made, at once or later.",
        |depth| depth.waiting,
    ),
    (
        "queue_worker_function_invocation_inflight",
        "Asynchronous calls being made.",
        |depth| depth.running,
    ),
    (
        "hob_queue_callbacks",
        "Answers to be sent to their callbacks.",
        |depth| depth.callbacks,
    ),
    ("hob_queue_dead", "Dead letters.", |depth| depth.dead),
];

/// Counters: name, meaning, value.
const EVER: [(&str, &str, Read); 4] = [
    (
        "queue_worker_messages_submitted_total",
        "Asynchronous calls taken.",
        |depth| depth.taken,
    ),
    (
        "queue_worker_messages_processed_total",
        "Asynchronous calls made, or given up as dead letters.",
        |depth| depth.done + depth.died,
    ),
    (
        "hob_queue_retries_total",
        "Attempts after which another one was due.",
        |depth| depth.retried,
    ),
    (
        "hob_queue_died_total",
        "Calls that became dead letters.",
        |depth| depth.died,
    ),
];

/// Writes all that there is on asynchronous calls.
pub(super) fn write(depths: &[QueueDepth], text: &mut Text) -> Result<(), Error> {
    let functions = depths.iter().map(|depth| depth.function.qualified());
    let functions: Vec<_> = functions.collect();
    let labels = |function| [("queue_name", QUEUE), ("function_name", function)];
    for (name, help, read) in NOW {
        let mut family = Family::gauges(name, help);
        for (function, depth) in functions.iter().zip(depths) {
            family.gauge(&labels(function), float(read(depth)));
        }
        text.add(family)?;
    }
    for (name, help, read) in EVER {
        let mut family = Family::counters(name, help);
        for (function, depth) in functions.iter().zip(depths) {
            family.count(&labels(function), float(read(depth)));
        }
        text.add(family)?;
    }
    Ok(())
}

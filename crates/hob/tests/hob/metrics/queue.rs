//! The queue as Prometheus sees it.

use hob_testkit::{assert_eventually, has_programs};

use super::value;
use crate::bench::{Bench, write};

#[test]
fn asynchronous_calls_are_seen_where_they_stand() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    let hob = &bench.hob;
    let body = "import os, time\nwhile req == 'held' and not os.path.exists('/tmp/go'): time.sleep(0.01)\nif req == 'go': open('/tmp/go', 'w')\nreturn ('no', 503) if req == 'bad' else 'ok'";
    let folder = bench.python("hello", body);
    let policy =
        "[async]\nconcurrency = 1\nattempts = 2\nmin_wait = \"10ms\"\nmax_wait = \"10ms\"\n";
    write(&folder.join("hob.toml"), policy);
    bench.deploy(&folder);
    let seen = |names: &[&str]| -> Vec<f64> {
        let text = hob.metrics();
        let labels = "{queue_name=\"faas-request\",function_name=\"hello.openfaas-fn\"}";
        let names = names.iter().map(|name| format!("{name}{labels}"));
        names.map(|series| value(&text, &series)).collect()
    };
    let depth = || {
        seen(&[
            "queue_worker_pending_messages",
            "queue_worker_function_invocation_inflight",
            "hob_queue_dead",
            "hob_queue_callbacks",
        ])
    };
    let counts = || {
        seen(&[
            "queue_worker_messages_submitted_total",
            "queue_worker_messages_processed_total",
            "hob_queue_retries_total",
            "hob_queue_died_total",
        ])
    };
    for body in ["held", "good", "bad"] {
        hob.post("/async-function/hello", body).expect(202);
    }
    assert_eventually!(depth() == [2.0, 1.0, 0.0, 0.0], "{:?}", depth());
    assert_eq!(counts(), [3.0, 0.0, 0.0, 0.0]);
    hob.post("/function/hello", "go").expect(200);
    assert_eventually!(depth() == [0.0, 0.0, 1.0, 0.0], "{:?}", depth());
    assert_eq!(counts(), [3.0, 3.0, 1.0, 1.0]);
    hob.cli(["queue", "drop", "--dead"]).ok();
    assert_eq!(depth(), [0.0; 4]);
    assert_eq!(counts(), [3.0, 3.0, 1.0, 1.0]);
}

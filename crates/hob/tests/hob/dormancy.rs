//! Functions that nobody calls: frozen, then stopped, each with the price of its wake.

use std::{path::PathBuf, thread};

use hob_testkit::{Hob, assert_eventually, has_programs};
use serde_json::Value;

use crate::{
    bench::{Bench, write},
    restart::{COUNT, call, kill, lives},
};

/// A server and a function that is frozen after a second. `None` where nothing can be frozen.
fn bench() -> Option<Bench> {
    if !has_programs(&["python3"]) {
        return None;
    }
    let bench = Bench::new();
    let doctor = bench.hob.cli(["doctor", "-o", "json"]).json();
    let checks = doctor.as_array().unwrap();
    let freezing = checks.iter().find(|one| one["check"] == "freezing");
    if freezing.unwrap()["state"] != "ok" {
        eprintln!("NOT TESTED: this machine has no freezer that hob may use");
        return None;
    }
    bench.deploy(&quick(&bench, "hello", COUNT));
    Some(bench)
}

fn quick(bench: &Bench, name: &str, body: &str) -> PathBuf {
    let folder = bench.python(name, body);
    write(&folder.join("hob.toml"), "freeze = \"1s\"\n");
    folder
}

fn describe(hob: &Hob, name: &str) -> Value {
    hob.cli(["describe", name, "-o", "json"]).json()
}

/// Process of the only replica.
fn pid(hob: &Hob, name: &str) -> u64 {
    let detail = describe(hob, name);
    assert_eq!(detail["instances"].as_array().unwrap().len(), 1, "{detail}");
    detail["instances"][0]["pid"].as_u64().unwrap()
}

#[track_caller]
fn await_frozen(hob: &Hob, name: &str) {
    assert_eventually!(describe(hob, name)["state"] == "frozen");
}

#[test]
fn a_quiet_function_is_frozen_and_its_next_call_has_it_go_on() {
    let Some(bench) = bench() else { return };
    let hob = &bench.hob;
    let before = pid(hob, "hello");
    assert_eq!(call(hob, "hello"), "1");
    await_frozen(hob, "hello");
    let detail = describe(hob, "hello");
    assert_eq!(detail["instances"][0]["state"], "frozen");
    assert_eq!(
        (&detail["ready"], &detail["frozen"]),
        (&0.into(), &1.into())
    );
    assert!(detail["memory"].as_u64().unwrap() > 1 << 20, "{detail}");
    assert_eq!(detail["wakes"]["frozen"], Value::Null);
    let metrics = hob.metrics();
    for line in [
        "hob_replicas{state=\"frozen\"} 1",
        "hob_wake_seconds_count{tier=\"frozen\"} 0",
        "gateway_service_count{function_name=\"hello.openfaas-fn\"} 1",
        "gateway_service_ready_count{function_name=\"hello.openfaas-fn\"} 1",
    ] {
        assert!(metrics.contains(line), "no {line} in {metrics}");
    }
    let text = hob.cli(["describe", "hello"]).ok();
    assert!(text.contains("0 ready and 1 frozen of 1 wanted"), "{text}");
    assert!(text.contains("from frozen   not measured yet"), "{text}");

    assert_eq!(call(hob, "hello"), "2");
    assert_eq!(pid(hob, "hello"), before);
    let price = describe(hob, "hello")["wakes"]["frozen"].clone();
    assert_eq!(price["count"], 1);
    assert!(price["typical_millis"].as_f64().unwrap() > 0.0, "{price}");
    let metrics = hob.metrics();
    assert!(metrics.contains("hob_wake_seconds_count{tier=\"frozen\"} 1"));
    let text = hob.cli(["describe", "hello"]).ok();
    assert!(text.contains("from frozen   woke in "), "{text}");
    let status = hob.cli(["status"]).ok();
    let row = status.lines().find(|line| line.starts_with("hello "));
    assert!(
        row.is_some_and(|row| row.contains(" ms ") && row.ends_with(" 2")),
        "{status}"
    );
}

#[test]
fn calls_that_come_together_all_find_it_awake() {
    let Some(bench) = bench() else { return };
    let hob = &bench.hob;
    let before = pid(hob, "hello");
    for _ in 0..3 {
        await_frozen(hob, "hello");
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| call(hob, "hello"));
            }
        });
    }
    assert_eq!(pid(hob, "hello"), before);
}

#[test]
fn a_frozen_replica_of_a_killed_server_stays_frozen_with_the_next() {
    let Some(mut bench) = bench() else { return };
    let before = pid(&bench.hob, "hello");
    assert_eq!(call(&bench.hob, "hello"), "1");
    await_frozen(&bench.hob, "hello");
    bench.hob.kill();
    bench.hob.restart();
    let detail = describe(&bench.hob, "hello");
    assert_eq!(detail["state"], "frozen", "{detail}");
    assert_eq!(pid(&bench.hob, "hello"), before);
    assert_eq!(call(&bench.hob, "hello"), "2");
    assert_eq!(pid(&bench.hob, "hello"), before);

    // Handed over, and with the server after that it ends as it should.
    await_frozen(&bench.hob, "hello");
    bench.hob.hand_over();
    bench.hob.restart();
    assert_eq!(call(&bench.hob, "hello"), "3");
    await_frozen(&bench.hob, "hello");
    bench.hob.stop();
    assert!(!lives(before));
}

#[test]
fn nothing_is_left_of_a_frozen_replica_that_makes_way() {
    let Some(bench) = bench() else { return };
    let hob = &bench.hob;
    let first = pid(hob, "hello");
    await_frozen(hob, "hello");
    bench.deploy(&quick(&bench, "hello", "return 'new'"));
    assert_eq!(call(hob, "hello"), "new");
    assert_eventually!(!lives(first));
    let second = pid(hob, "hello");
    await_frozen(hob, "hello");
    hob.cli(["scale", "hello", "0"]).ok();
    assert_eventually!(!lives(second));
    assert_eq!(call(hob, "hello"), "new");
    let third = pid(hob, "hello");
    await_frozen(hob, "hello");
    hob.cli(["remove", "hello"]).ok();
    assert!(!lives(third));
}

#[test]
fn one_that_is_killed_while_frozen_is_replaced_by_the_next_call() {
    let Some(bench) = bench() else { return };
    let hob = &bench.hob;
    let before = pid(hob, "hello");
    assert_eq!(call(hob, "hello"), "1");
    await_frozen(hob, "hello");
    kill(before);
    assert_eq!(call(hob, "hello"), "1");
    assert_ne!(pid(hob, "hello"), before);
}

#[test]
fn a_schedule_finds_its_function_awake() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    let folder = bench.python("hourly", COUNT);
    let manifest = "schedule = \"@every 1h\"\nprewake = \"1h\"\n";
    write(&folder.join("hob.toml"), manifest);
    bench.deploy(&folder);
    bench.hob.cli(["scale", "hourly", "0"]).ok();
    assert_eventually!(describe(&bench.hob, "hourly")["state"] == "hot");
    let detail = describe(&bench.hob, "hourly");
    assert_eq!(detail["calls"], 0, "{detail}");
    assert_eq!(detail["wakes"]["stopped"]["count"], 1, "{detail}");
}

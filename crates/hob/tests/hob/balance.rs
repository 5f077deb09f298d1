//! Calls among several replicas, when one of them dies, and how many each has at the same time.

use std::{
    collections::BTreeSet,
    net::TcpListener,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    thread,
};

use hob_testkit::{Hob, assert_eventually, has_programs};
use rustix::process::{Pid, Signal, kill_process};

use crate::bench::{Bench, write};

/// Answers with a name of its process and how many calls that has at the moment.
const BUSY: &str = "\
import os, threading, time
lock = handle.__dict__.setdefault('lock', threading.Lock())
name = handle.__dict__.setdefault('name', os.urandom(8).hex())
with lock: handle.calls = seen = getattr(handle, 'calls', 0) + 1
time.sleep(0.3)
with lock: handle.calls -= 1
return f'{name} {seen}'";

fn pids(hob: &Hob, function: &str) -> Vec<i32> {
    let detail = hob.cli(["describe", function, "-o", "json"]).json();
    let instances = detail["instances"].as_array().unwrap().iter();
    let ready = instances.filter(|one| one["state"] == "ready");
    let pids = ready.map(|one| one["pid"].as_i64().unwrap());
    pids.map(|pid| i32::try_from(pid).unwrap()).collect()
}

fn with_scale(bench: &Bench, name: &str, body: &str, scale: &str) {
    let folder = bench.python(name, body);
    write(&folder.join("hob.toml"), &format!("[scale]\n{scale}\n"));
    bench.deploy(&folder);
}

/// Answers to so many calls that are made at the same time.
fn together(hob: &Hob, function: &str, count: usize) -> Vec<String> {
    let path = format!("/function/{function}");
    thread::scope(|scope| {
        let call = || hob.post(&path, "").expect(200).text().to_owned();
        let calls: Vec<_> = (0..count).map(|_| scope.spawn(call)).collect();
        let calls = calls.into_iter().map(|call| call.join().unwrap());
        calls.collect()
    })
}

/// The most calls that a process had at the same time.
fn most(answers: &[String]) -> u32 {
    let seen = answers.iter().map(|one| one.split(' ').nth(1).unwrap());
    seen.map(|seen| seen.parse().unwrap()).max().unwrap()
}

fn value(hob: &Hob, series: &str) -> f64 {
    let text = hob.metrics();
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(series));
    let value = lines.find_map(|rest| rest.strip_prefix(' '));
    value.map_or(0.0, |value| value.parse().unwrap())
}

#[test]
fn a_replica_that_is_killed_costs_no_call_that_can_be_made_twice() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    let hob = &bench.hob;
    bench.deploy(&bench.python("hello", "import time\ntime.sleep(0.002)\nreturn 'ok'"));
    hob.cli(["scale", "hello", "3"]).ok();
    let before = pids(hob, "hello");
    assert_eq!(before.len(), 3);
    let (done, stop) = (AtomicU32::new(0), AtomicBool::new(false));
    let calls = || done.load(Ordering::SeqCst);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    assert_eq!(hob.get("/function/hello").expect(200).text(), "ok");
                    done.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        assert_eventually!(calls() > 20);
        kill_process(Pid::from_raw(before[0]).unwrap(), Signal::KILL).unwrap();
        let killed = calls();
        assert_eventually!(calls() > killed + 100);
        assert_eventually!(pids(hob, "hello").len() == 3);
        stop.store(true, Ordering::SeqCst);
    });
    assert!(!pids(hob, "hello").contains(&before[0]));
    let text = hob.metrics();
    assert!(text.contains("hob_retries_total{function_name=\"hello.openfaas-fn\"}"));
}

#[test]
fn the_limit_of_calls_is_hard_and_changes_with_a_deploy() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    let hob = &bench.hob;
    bench.deploy(&bench.python("busy", BUSY));
    assert!(most(&together(hob, "busy", 6)) > 1, "the handler can");

    with_scale(&bench, "busy", BUSY, "concurrency = 1\nmax = 1");
    assert_eq!(most(&together(hob, "busy", 6)), 1);
    with_scale(&bench, "busy", BUSY, "concurrency = 2\nmax = 1");
    assert_eq!(most(&together(hob, "busy", 6)), 2);

    // With two replicas there are twice as many places, and none has more than it may.
    with_scale(&bench, "busy", BUSY, "concurrency = 1\nmax = 2");
    hob.cli(["scale", "busy", "2"]).ok();
    let answers = together(hob, "busy", 6);
    assert_eq!(most(&answers), 1);
    let process = |answer: &String| answer.split(' ').next().unwrap().to_owned();
    let processes: BTreeSet<_> = answers.iter().map(process).collect();
    assert_eq!(processes.len(), 2);
}

#[test]
fn a_limit_holds_for_a_function_that_sleeps_and_after_a_restart_of_hob() {
    if !has_programs(&["python3"]) {
        return;
    }
    let mut bench = Bench::new();
    with_scale(&bench, "busy", BUSY, "concurrency = 1");
    bench.hob.cli(["scale", "busy", "0"]).ok();
    assert!(pids(&bench.hob, "busy").is_empty());
    assert_eq!(most(&together(&bench.hob, "busy", 6)), 1);
    bench.hob.kill();
    bench.hob.restart();
    assert_eq!(most(&together(&bench.hob, "busy", 6)), 1);
}

#[test]
fn beyond_the_queue_hob_says_when_to_come_again() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    let hob = &bench.hob;
    // A call with a body hangs on a connection to the test, until that ends.
    let door = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = door.local_addr().unwrap().port();
    let body = format!(
        "import socket\nif req: socket.create_connection(('127.0.0.1', {port})).recv(1)\nreturn 'ok'"
    );
    with_scale(&bench, "held", &body, "concurrency = 2\nqueue = 1\nmax = 1");
    let inflight = "gateway_function_invocation_inflight{function_name=\"held.openfaas-fn\"}";
    let post = |body: &'static str| hob.post("/function/held", body);
    thread::scope(|scope| {
        let held = [(); 2].map(|()| scope.spawn(|| post("hold").expect(200)));
        let connections = [(); 2].map(|()| door.accept().unwrap());
        let waits = scope.spawn(|| post("").expect(200));
        assert_eventually!(value(hob, inflight) == 3.0);
        let refused = post("").expect(429);
        assert!(refused.text().contains("`scale.queue`"));
        assert_eq!(refused.header("retry-after"), "1");
        assert_eq!(refused.header("x-hob-end"), "");
        assert!(!waits.is_finished());
        drop(connections);
        waits.join().unwrap();
        for call in held {
            call.join().unwrap();
        }
    });
}

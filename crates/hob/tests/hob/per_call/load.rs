//! Many calls at once, and what becomes of them while something changes.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
};

use hob_testkit::{Hob, assert_eventually};
use http::{Method, Request};
use serde_json::Value;

use super::{UNTIDY, bench, call, count, deploy, describe, folder, left_behind};

/// Answers to `calls` calls of as many callers as `callers`; each is fresh.
fn all_fresh(hob: &Hob, name: &str, callers: u32, calls: u32) -> BTreeSet<String> {
    let (begun, names) = (AtomicU32::new(0), Mutex::new(BTreeSet::new()));
    thread::scope(|scope| {
        for _ in 0..callers {
            scope.spawn(|| {
                while begun.fetch_add(1, Ordering::SeqCst) < calls {
                    let name = fresh(&call(hob, name));
                    assert!(names.lock().unwrap().insert(name), "used twice");
                }
            });
        }
    });
    names.into_inner().unwrap()
}

/// The name of the program that answered, which had no call before.
fn fresh(answer: &str) -> String {
    let words: Vec<_> = answer.splitn(3, ' ').collect();
    assert_eq!((words[0], words[2]), ("1", "['http.sock']"), "{answer}");
    words[1].to_owned()
}

/// What a server has of the machine.
#[derive(Debug, PartialEq)]
struct Holdings {
    cgroups: usize,
    files: usize,
    records: usize,
    folders: usize,
}

impl Holdings {
    fn of(hob: &Hob) -> Self {
        let inside = |path: &Path| fs::read_dir(path).map_or(0, Iterator::count);
        let run = hob.data().join("run");
        let id = |path: &PathBuf| fs::read(path).ok();
        let records = fs::read_dir(run.join("replicas")).unwrap().flatten();
        let paths: Vec<_> = records.map(|one| one.path()).collect();
        let text = paths.iter().find_map(id).unwrap_or_default();
        let record: Value = serde_json::from_slice(&text).unwrap_or_default();
        let groups = record["cage"]["cgroups"].as_array().into_iter().flatten();
        let groups = groups.filter_map(|path| Path::new(path.as_str()?).parent());
        Self {
            cgroups: groups.map(inside).sum(),
            files: inside(Path::new(&format!("/proc/{}/fd", hob.pid()))),
            records: paths.len(),
            folders: inside(&run.join("r")),
        }
    }
}

#[test]
fn many_calls_at_once_are_all_fresh_and_leave_nothing() {
    let Some(bench) = bench() else { return };
    let hob = &bench.hob;
    deploy(
        &bench,
        "untidy",
        UNTIDY,
        "freeze = \"never\"\nscale.window = \"1s\"",
    );
    let rests = || {
        count(hob, "untidy", "ready") == 1
            && describe(hob, "untidy")["instances"]
                .as_array()
                .unwrap()
                .len()
                == 1
    };
    assert_eq!(all_fresh(hob, "untidy", 10, 50).len(), 50);
    assert_eventually!(rests());
    assert_eventually!(left_behind(hob, "untidy") == 0);
    let before = Holdings::of(hob);

    assert_eq!(all_fresh(hob, "untidy", 10, 300).len(), 300);
    assert_eventually!(rests());
    assert_eventually!(left_behind(hob, "untidy") == 0);
    assert_eventually!(
        {
            let now = Holdings::of(hob);
            now.files <= before.files + 10
                && Holdings {
                    files: before.files,
                    ..now
                } == before
        },
        "{before:?}, then {:?}",
        Holdings::of(hob)
    );
    // Every call wrote something.
    let logs = fs::read_dir(hob.data().join("logs/openfaas-fn/untidy")).unwrap();
    let logs = logs.count();
    assert!((100..300).contains(&logs), "{logs}");
    // Who asks for one of them gets it.
    let lines = hob.cli(["logs", "untidy", "--tail", "50"]).ok();
    assert_eq!(lines.lines().count(), 50);
    // Names of replicas come and go; metrics do not grow by them.
    assert!(!hob.metrics().contains("untidy-"), "{}", hob.metrics());
    assert_eq!(describe(hob, "untidy")["last_end"], Value::Null);
}

#[test]
fn quiet_calls_leave_no_log_at_all() {
    let Some(bench) = bench() else { return };
    let hob = &bench.hob;
    deploy(&bench, "quiet", "return 'ok'", "");
    for _ in 0..10 {
        assert_eq!(call(hob, "quiet"), "ok");
    }
    let logs = || fs::read_dir(hob.data().join("logs/openfaas-fn/quiet")).unwrap();
    // Of those that live, beside which is perhaps when they grew.
    assert_eventually!(logs().count() <= 2, "{}", logs().count());
}

#[test]
fn a_deploy_and_a_canary_cost_no_call() {
    let Some(bench) = bench() else { return };
    let hob = &bench.hob;
    let version =
        |number: u32| UNTIDY.replace("{sorted(found)}", &format!("{{sorted(found)}} v{number}"));
    deploy(&bench, "untidy", &version(1), "");
    let (stop, last) = (AtomicBool::new(false), Mutex::new(String::new()));
    let (stop, last) = (&stop, &last);
    let (calls, names) = (&AtomicU32::new(0), &Mutex::new(BTreeSet::new()));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(move || {
                while !stop.load(Ordering::SeqCst) {
                    let answer = call(hob, "untidy");
                    let (rest, version) = answer.rsplit_once(' ').unwrap();
                    assert!(names.lock().unwrap().insert(fresh(rest)), "used twice");
                    *last.lock().unwrap() = version.to_owned();
                    calls.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let some_more = |version: &str| {
            let before = calls.load(Ordering::SeqCst);
            assert_eventually!(calls.load(Ordering::SeqCst) > before + 5);
            assert_eventually!(*last.lock().unwrap() == version);
        };
        some_more("v1");
        bench.deploy(&folder(&bench, "untidy", &version(2), ""));
        some_more("v2");
        let canary = folder(&bench, "untidy", &version(3), "");
        hob.cli(["deploy", canary.to_str().unwrap(), "--canary", "50%"])
            .ok();
        some_more("v2");
        some_more("v3");
        hob.cli(["promote", "untidy"]).ok();
        some_more("v3");
        hob.cli(["rollback", "untidy"]).ok();
        some_more("v2");
        stop.store(true, Ordering::SeqCst);
    });
    assert_eventually!(left_behind(hob, "untidy") == 0);
}

#[test]
fn a_server_that_is_killed_leaves_no_call_to_the_next() {
    let Some(mut bench) = bench() else { return };
    deploy(&bench, "untidy", UNTIDY, "");
    deploy(&bench, "endless", super::ENDLESS, "");
    for round in 0..3 {
        let hob = &bench.hob;
        let mut calls: Vec<_> = (0..3).map(|_| super::begin(hob, "endless", "")).collect();
        calls.extend((0..5).map(|_| super::begin(hob, "untidy", "")));
        assert_eventually!(left_behind(hob, "endless") == 3);
        let before = pids(hob, "untidy");
        match round {
            0 => bench.hob.hand_over(),
            _ => bench.hob.kill(),
        }
        bench.hob.restart();
        let hob = &bench.hob;
        assert_eventually!(left_behind(hob, "endless") == 0);
        assert_eventually!(left_behind(hob, "untidy") == 0);
        // What was ready before may have had a call that nobody knows of.
        assert!(pids(hob, "untidy").is_disjoint(&before));
        assert_eq!(all_fresh(hob, "untidy", 2, 6).len(), 6);
    }
}

fn pids(hob: &Hob, name: &str) -> BTreeSet<u64> {
    let detail = describe(hob, name);
    let instances = detail["instances"].as_array().unwrap().iter();
    instances.map(|one| one["pid"].as_u64().unwrap()).collect()
}

#[test]
fn calls_for_later_are_fresh_as_well() {
    let Some(bench) = bench() else { return };
    let hob = &bench.hob;
    deploy(&bench, "untidy", UNTIDY, "");
    for number in 0..8 {
        let request = Request::builder().method(Method::POST);
        let request = request.uri("/async-function/untidy");
        let request = request.header("x-call-id", format!("later-{number}"));
        hob.send(request.body(Default::default()).unwrap())
            .expect(202);
    }
    let answer = |number: u32| {
        let call = hob
            .cli(["queue", "show", &format!("later-{number}"), "-o", "json"])
            .json();
        call["answer"]["text"].as_str().map(str::to_owned)
    };
    assert_eventually!((0..8).all(|number| answer(number).is_some()));
    let names: BTreeSet<_> = (0..8)
        .map(|number| fresh(&answer(number).unwrap()))
        .collect();
    assert_eq!(names.len(), 8);
}

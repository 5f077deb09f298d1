//! A revision that has a share of the calls, until it has all or none.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use hob_testkit::{Hob, Outcome, assert_eventually, has_programs};
use serde_json::Value;

use crate::{
    backup::{back_up, empty, restore},
    bench::{Bench, HOB, write},
    images::desk::{self, Recipe},
};

/// Calls that are made at most while a revision changes.
const LOAD: usize = 4_000;

/// Writes the function `hello`, whose handler answers this word.
fn hello(bench: &Bench, word: &str) -> String {
    let folder = bench.python("hello", &format!("return '{word}'"));
    folder.to_str().unwrap().to_owned()
}

/// Deploys `hello` with this word as a canary.
fn canary(bench: &Bench, word: &str, share: &str) -> Outcome {
    let folder = hello(bench, word);
    bench.hob.cli(["deploy", &folder, "--canary", share])
}

/// `hello` answers `old`, and a canary `new` has this share of the calls.
fn both(share: &str) -> Bench {
    let bench = Bench::new();
    hello(&bench, "old");
    bench.deploy(&bench.folder.path().join("hello"));
    canary(&bench, "new", share).ok();
    bench
}

fn answer(hob: &Hob) -> String {
    let answer = hob.post("/function/hello", "");
    answer.expect(200).text().to_owned()
}

/// How many of so many calls have which answer.
fn answers(hob: &Hob, calls: usize) -> BTreeMap<String, usize> {
    let mut answers = BTreeMap::new();
    for _ in 0..calls {
        *answers.entry(answer(hob)).or_default() += 1;
    }
    answers
}

fn detail(hob: &Hob) -> Value {
    hob.cli(["describe", "hello", "-o", "json"]).json()
}

/// Processes of the replicas that take calls, by the revision that they run.
fn ready(hob: &Hob) -> BTreeSet<(String, u64)> {
    let detail = detail(hob);
    let instances = detail["instances"].as_array().unwrap().iter();
    let ready = instances.filter(|one| one["state"] == "ready");
    let of = |one: &Value| one["revision"].as_str().unwrap().to_owned();
    ready
        .map(|one| (of(one), one["pid"].as_u64().unwrap()))
        .collect()
}

/// Calls all the time while `work` goes on; every call has to be answered.
fn under_load(hob: &Hob, work: impl FnOnce()) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let caller = || {
            for _ in 0..LOAD {
                let word = answer(hob);
                assert!(["old", "new"].contains(&word.as_str()), "{word}");
                if done.load(Ordering::Relaxed) {
                    return;
                }
            }
        };
        let callers = [scope.spawn(caller), scope.spawn(caller)];
        work();
        done.store(true, Ordering::Relaxed);
        for caller in callers {
            caller.join().unwrap();
        }
    });
}

/// Of 400 calls 100 are expected at the canary: with 40 to 180 one run in many billions fails.
#[test]
fn it_gets_its_share_and_is_seen_by_itself() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = both("25%");
    let hob = &bench.hob;
    let seen = answers(hob, 400);
    assert!((40..=180).contains(&seen["new"]), "{seen:?}");
    assert_eq!(seen["old"] + seen["new"], 400);

    let summary = detail(hob);
    let shown = &summary["canary"];
    assert_eq!(
        (&summary["revision_number"], &summary["calls"]),
        (&1.into(), &400.into())
    );
    assert_eq!(
        (&shown["revision_number"], &shown["share"]),
        (&2.into(), &"25%".into())
    );
    assert_eq!(shown["calls"], seen["new"]);
    assert_eq!(
        (&shown["state"], &shown["failed"]),
        (&"hot".into(), &0.into())
    );
    assert_eq!((&summary["ready"], &shown["ready"]), (&1.into(), &1.into()));
    let said = hob.cli(["describe", "hello"]).ok();
    let line = format!("25% of the calls, {} calls, 0 failed", seen["new"]);
    assert!(said.contains(&line), "{said}");
    assert!(hob.cli(["list"]).ok().contains("25% 2 ("));
    assert!(hob.cli(["revisions", "hello"]).ok().contains("canary, 25%"));
    let metrics = hob.metrics();
    let name = "hob_canary_calls_total{function_name=\"hello.openfaas-fn\",code=\"200\"}";
    let line = format!("{name} {}", seen["new"]);
    assert!(metrics.contains(&line), "{metrics}");

    // Another share changes nothing else; the same one nothing at all.
    let before = ready(hob);
    canary(&bench, "new", "99.99%").ok();
    let said = canary(&bench, "new", "99.99%").ok();
    assert!(said.contains("unchanged"), "{said}");
    assert_eq!(ready(hob), before);
    assert_eq!(detail(hob)["canary"]["calls"], seen["new"]);
    assert!(answers(hob, 100)["new"] > 90);
}

#[test]
fn it_takes_over_with_its_replicas_and_no_call_fails() {
    if !has_programs(&["python3"]) {
        return;
    }
    let mut bench = both("50%");
    let hob = &bench.hob;
    let before = ready(hob);
    let revision = detail(hob)["canary"]["revision"]
        .as_str()
        .unwrap()
        .to_owned();
    under_load(hob, || {
        let said = hob.cli(["promote", "hello"]).ok();
        assert!(
            said.contains("hello is live at") && said.contains("(revision 2, "),
            "{said}"
        );
    });
    assert_eq!(answers(hob, 20)["new"], 20);
    let detail = detail(hob);
    assert_eq!(
        (&detail["revision_number"], &detail["canary"]),
        (&2.into(), &Value::Null)
    );
    // No restart: the process that tried it goes on.
    let mut after = before;
    after.retain(|(of, _)| *of == revision);
    assert_eventually!(ready(hob) == after, "{:?}", ready(hob));
    hob.cli(["promote", "hello"]).fails(1);

    bench.hob.kill();
    bench.hob.restart();
    assert_eq!(ready(&bench.hob), after);
    assert_eq!(answer(&bench.hob), "new");
    bench.hob.cli(["rollback", "hello"]).ok();
    assert_eq!(answer(&bench.hob), "old");
}

#[test]
fn a_rollback_ends_it_and_no_call_fails() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = both("50%");
    let hob = &bench.hob;
    let mut before = ready(hob);
    let detail = detail(hob);
    before.retain(|(of, _)| *of == detail["revision"]);
    under_load(hob, || {
        hob.cli(["rollback", "hello"]).ok();
    });
    assert_eq!(answers(hob, 20)["old"], 20);
    assert_eventually!(ready(hob) == before, "what answered has never stopped");
    let list = hob.cli(["revisions", "hello", "-o", "json"]).json();
    assert_eq!(
        (&list[1]["state"], &list[0]["canary"]),
        (&"current".into(), &Value::Null)
    );
    // There is nothing before it.
    hob.cli(["rollback", "hello"]).fails(1);
    hob.cli(["rollback", "hello", "2"]).ok();
    assert_eq!(answer(hob), "new");
}

#[test]
fn what_cannot_be_tried_is_refused_and_the_former_answers_all() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    let hob = &bench.hob;
    let line = canary(&bench, "old", "10%").fails(1);
    assert!(line.contains("without --canary first"), "{line}");
    canary(&bench, "old", "100%").fails(64);
    bench.deploy(&bench.folder.path().join("hello"));
    let line = canary(&bench, "old", "10%").fails(1);
    assert!(line.contains("nothing to try"), "{line}");
    hob.cli(["promote", "hello"]).fails(1);
    hob.cli(["promote", "nobody"]).fails(3);

    let folder = hello(&bench, "new");
    write(
        &bench.folder.path().join("hello/handler.py"),
        "print('last words', flush=True)\nraise SystemExit(3)\n",
    );
    let said = hob.cli(["deploy", &folder, "--canary", "99%"]);
    assert!(
        said.code == 1 && said.stderr.contains("last words"),
        "{said:?}"
    );
    assert_eq!(answers(hob, 20)["old"], 20);
    assert_eq!(detail(hob)["canary"], Value::Null);

    bench.deploy(&bench.site("page", "<p>one</p>"));
    let page = bench.site("page", "<p>two</p>");
    let line = hob
        .cli(["deploy", page.to_str().unwrap(), "--canary", "10%"])
        .fails(1);
    assert!(line.contains("folder of files"), "{line}");
}

/// It goes on with the next server, sleeps and wakes by its own calls, and comes back.
#[test]
fn it_outlives_its_server_and_is_in_a_backup() {
    if !has_programs(&["python3"]) {
        return;
    }
    let mut bench = both("50%");
    let before = ready(&bench.hob);
    assert_eq!(before.len(), 2);
    bench.hob.kill();
    bench.hob.restart();
    assert_eq!(ready(&bench.hob), before);
    assert_eq!(detail(&bench.hob)["canary"]["share"], "50%");
    let seen = answers(&bench.hob, 100);
    assert!(seen["old"] > 10 && seen["new"] > 10, "{seen:?}");

    let file = back_up(&bench.hob, bench.folder.path(), &[]);
    let data = empty();
    restore(&file, data.path()).ok();
    let new = Hob::builder(HOB).data(data).start();
    assert_eq!(ready(&new).len(), 0);
    let seen = answers(&new, 100);
    assert!(seen["old"] > 10 && seen["new"] > 10, "{seen:?}");
    new.cli(["promote", "hello"]).ok();
    assert_eq!(answers(&new, 20)["new"], 20);
}

#[test]
fn a_plain_deploy_ends_it_and_another_canary_takes_its_place() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = both("50%");
    let hob = &bench.hob;
    let said = canary(&bench, "newer", "50%");
    assert!(
        said.stderr.contains("the canary, revision 2, has ended"),
        "{said:?}"
    );
    let seen = answers(hob, 100);
    assert!(
        seen["old"] > 10 && seen["newer"] > 10 && seen.len() == 2,
        "{seen:?}"
    );
    assert_eq!(detail(hob)["canary"]["revision_number"], 3);

    // Even one that changes nothing else.
    let folder = hello(&bench, "old");
    let said = hob.cli(["deploy", &folder]);
    assert!(
        said.stderr.contains("the canary, revision 3, has ended"),
        "{said:?}"
    );
    said.ok();
    assert_eq!(answers(hob, 20)["old"], 20);
    assert_eq!(detail(hob)["revision_number"], 1);

    canary(&bench, "new", "50%").ok();
    hello(&bench, "last");
    bench.deploy(&bench.folder.path().join("hello"));
    assert_eq!(answers(hob, 20)["last"], 20);
    assert_eventually!(ready(hob).len() == 1);

    // A removal takes both, and the log of both with it.
    canary(&bench, "new", "50%").ok();
    assert_eq!(ready(hob).len(), 2);
    hob.cli(["remove", "hello"]).ok();
    assert!(!hob.data().join("logs/openfaas-fn/hello").exists());
    let records = hob.data().join("run/replicas");
    assert_eq!(std::fs::read_dir(records).unwrap().count(), 0);
    hob.post("/function/hello", "").expect(404);
}

/// Each of the two sleeps for itself.
#[test]
fn it_sleeps_and_wakes_like_a_function_of_its_own() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    let hob = &bench.hob;
    hello(&bench, "old");
    bench.deploy(&bench.folder.path().join("hello"));
    write(
        &bench.folder.path().join("hello/hob.toml"),
        "idle = \"1s\"\n",
    );
    canary(&bench, "new", "50%").ok();
    assert_eventually!(detail(hob)["canary"]["state"] == "stopped", "it sleeps");
    assert_eq!(detail(hob)["state"], "hot");
    let seen = answers(hob, 60);
    assert!(seen["old"] > 5 && seen["new"] > 5, "{seen:?}");
}

#[test]
fn an_image_can_be_one() {
    if !has_programs(&["busybox"]) {
        return;
    }
    let recipes = ["old", "new"].map(|word| (format!("local.test/{word}:1"), [("www/word", word)]));
    let recipes = recipes.each_ref().map(|(name, files)| Recipe {
        name,
        files,
        ..Recipe::default()
    });
    let hob = desk::hob(&recipes).start();
    desk::deploy(&hob, "hello", "local.test/old:1", "");
    let arguments = ["deploy", "--name", "hello", "--image", "local.test/new:1"];
    hob.cli(arguments.iter().chain(&["--canary", "50%"])).ok();
    let word = || {
        hob.get("/function/hello/word")
            .expect(200)
            .text()
            .to_owned()
    };
    let words: BTreeSet<_> = (0..100).map(|_| word()).collect();
    assert_eq!(words.len(), 2, "{words:?}");
    hob.cli(["promote", "hello"]).ok();
    assert_eq!(word(), "new");
}

//! Revisions of a function, and the way back to them.

use std::fs;

use hob_testkit::{Hob, assert_eventually, has_programs};
use serde_json::Value;

use crate::{
    bench::{Bench, HOB, write},
    images::desk::{self, Recipe},
};

/// Number of each revision that is kept, newest first, the current one negative.
fn numbers(hob: &Hob, name: &str) -> Vec<i64> {
    let list = hob.cli(["revisions", name, "-o", "json"]).json();
    let number = |one: &Value| match one["current"].as_bool().unwrap() {
        true => -one["number"].as_i64().unwrap(),
        false => one["number"].as_i64().unwrap(),
    };
    list.as_array().unwrap().iter().map(number).collect()
}

/// Deploys `hello` with handlers that answer these words, one after the other.
fn deployed(bench: &Bench, words: &[&str]) {
    for word in words {
        bench.deploy(&bench.python("hello", &format!("return '{word}'")));
    }
}

fn answer(hob: &Hob) -> String {
    hob.post("/function/hello", "").expect(200).text().to_owned()
}

#[test]
fn every_deploy_makes_one_and_each_can_be_brought_back() {
    if !has_programs(&["python3"]) {
        return;
    }
    let mut bench = Bench::new();
    deployed(&bench, &["one", "two", "three"]);
    let said = bench.deploy(&bench.python("hello", "return 'three'"));
    assert!(
        said.contains("unchanged") && said.contains("(revision 3, "),
        "{said}"
    );
    assert_eq!(numbers(&bench.hob, "hello"), [-3, 2, 1]);

    // Nothing of a build is needed for it.
    fs::remove_dir_all(bench.hob.data().join("cache")).unwrap();
    let said = bench.hob.cli(["rollback", "hello"]).ok();
    assert!(
        said.starts_with("hello is back at http") && said.contains("(revision 2, "),
        "{said}"
    );
    assert_eq!(answer(&bench.hob), "two");
    let list = bench.hob.cli(["list"]).ok();
    assert!(list.lines().nth(1).unwrap().contains(" 2 ("), "{list}");
    let said = bench.hob.cli(["rollback", "hello", "2"]).ok();
    assert!(said.starts_with("hello is there already"), "{said}");

    let list = bench.hob.cli(["revisions", "hello", "-o", "json"]).json();
    let digest = list[2]["digest"].as_str().unwrap();
    let said = bench
        .hob
        .cli(["rollback", "hello", &digest[..8], "-o", "json"])
        .json();
    assert_eq!(
        (&said["revision_number"], &said["revision"]),
        (&1.into(), &list[2]["digest"])
    );
    assert_eq!(answer(&bench.hob), "one");
    assert_eq!(numbers(&bench.hob, "hello"), [3, 2, -1]);

    // It is the current one for good, and the next deploy is one more than the highest.
    bench.hob.kill();
    bench.hob.restart();
    assert_eq!(answer(&bench.hob), "one");
    let table = bench.hob.cli(["revisions", "hello"]).ok();
    assert!(table.lines().nth(3).unwrap().contains("current"), "{table}");
    let said = bench.deploy(&bench.python("hello", "return 'four'"));
    assert!(said.contains("(revision 4, "), "{said}");
    assert_eq!(numbers(&bench.hob, "hello"), [-4, 3, 2, 1]);
}

#[test]
fn the_way_back_has_an_end_and_says_so() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench {
        hob: Hob::builder(HOB).args(["--keep-revisions", "2"]).start(),
        folder: tempfile::tempdir().unwrap(),
    };
    let hob = &bench.hob;
    hob.cli(["revisions", "hello"]).fails(3);
    hob.cli(["rollback", "hello"]).fails(3);
    deployed(&bench, &["one"]);
    let line = hob.cli(["rollback", "hello"]).fails(1);
    assert!(line.contains("no earlier revision"), "{line}");
    deployed(&bench, &["two", "three"]);
    assert_eq!(numbers(hob, "hello"), [-3, 2]);
    for gone in ["1", "abcdef"] {
        let line = hob.cli(["rollback", "hello", gone]).fails(1);
        assert!(line.contains("`hob revisions hello`"), "{line}");
    }
    assert_eq!(answer(hob), "three");
    hob.cli(["remove", "hello"]).ok();
    deployed(&bench, &["anew"]);
    assert_eq!(numbers(hob, "hello"), [-1]);
}

#[test]
fn a_revision_that_never_gets_ready_is_none() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    deployed(&bench, &["one"]);
    let folder = bench.python("hello", "return 'two'");
    write(
        &folder.join("handler.py"),
        "print('last words', flush=True)\nraise SystemExit(3)\n",
    );
    let said = bench.hob.cli(["deploy", folder.to_str().unwrap()]);
    assert!(
        said.code == 1 && said.stderr.contains("last words"),
        "{said:?}"
    );
    assert_eq!(
        (answer(&bench.hob).as_str(), numbers(&bench.hob, "hello")),
        ("one", vec![-1])
    );
}

#[test]
fn settings_come_back_with_their_revision_and_the_number_of_replicas_stays() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    let hob = &bench.hob;
    let folder = bench.python("hello", "import os\nreturn os.environ['WORD']");
    for (word, cron) in [("one", "0 3 * * *"), ("two", "0 4 * * *")] {
        let manifest = format!("schedule = \"{cron}\"\n[env]\nWORD = \"{word}\"\n");
        write(&folder.join("hob.toml"), &manifest);
        bench.deploy(&folder);
    }
    hob.cli(["scale", "hello", "2"]).ok();
    hob.cli(["rollback", "hello"]).ok();
    assert_eq!(answer(hob), "one");
    let detail = hob.cli(["describe", "hello", "-o", "json"]).json();
    assert_eq!(detail["schedules"][0]["schedule"], "0 3 * * *");
    assert_eq!(
        (&detail["replicas"], &detail["ready"]),
        (&2.into(), &2.into())
    );
    assert_eq!(detail["revision_number"], 1);
}

/// The old one answers until the other is ready: no call fails.
#[test]
fn calls_go_on_while_revisions_change() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    deployed(&bench, &["one", "two"]);
    let hob = &bench.hob;
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let words = (0..200).map(|_| answer(hob));
                    assert!(words.into_iter().all(|word| word == "one" || word == "two"));
                })
            })
            .collect();
        for revision in ["1", "2", "1", "2", "1"] {
            hob.cli(["rollback", "hello", revision]).ok();
        }
        callers
            .into_iter()
            .for_each(|caller| caller.join().unwrap());
    });
    assert_eq!(answer(hob), "one");
}

#[test]
fn an_image_comes_back_without_its_registry() {
    if !has_programs(&["busybox"]) {
        return;
    }
    let recipes = ["one", "two"].map(|word| (format!("local.test/{word}:1"), [("www/word", word)]));
    let recipes = recipes.each_ref().map(|(name, files)| Recipe {
        name,
        files,
        ..Recipe::default()
    });
    let hob = desk::hob(&recipes).start();
    let word = || hob.get("/function/hello/word").expect(200).text().to_owned();
    for image in ["local.test/one:1", "local.test/two:1"] {
        desk::deploy(&hob, "hello", image, "");
        hob.cli(["image", "remove", image]).ok();
    }
    assert_eventually!(
        hob.cli(["image", "prune", "--all"]).code == 0,
        "nobody holds the images any more"
    );
    let list = hob.cli(["revisions", "hello", "-o", "json"]).json();
    assert_eq!(list[1]["image"]["name"], "local.test/one:1");
    assert_eq!(word(), "two");
    hob.cli(["rollback", "hello"]).ok();
    assert_eq!(word(), "one");
}

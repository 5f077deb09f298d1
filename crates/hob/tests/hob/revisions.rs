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
    let number = |one: &Value| match one["state"] == "current" {
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
    hob.post("/function/hello", "")
        .expect(200)
        .text()
        .to_owned()
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
    let word = || {
        hob.get("/function/hello/word")
            .expect(200)
            .text()
            .to_owned()
    };
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

/// Names of what is in a folder of the data directory, but for files that are being written.
fn names(hob: &Hob, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(hob.data().join(folder)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !name.starts_with('.')).collect()
}

#[test]
fn bundles_go_when_nothing_refers_to_them() {
    if !has_programs(&["python3"]) {
        return;
    }
    let mut bench = Bench {
        hob: Hob::builder(HOB).args(["--keep-revisions", "2"]).start(),
        folder: tempfile::tempdir().unwrap(),
    };
    deployed(&bench, &["one", "two"]);
    let first = bench.hob.cli(["revisions", "hello", "-o", "json"]).json();
    // A bundle and its record, of each of the two that are kept; and what their builds were made of.
    deployed(&bench, &["three"]);
    assert_eventually!(
        names(&bench.hob, "bundles").len() == 4,
        "the first bundle goes"
    );
    let gone = first[1]["digest"].as_str().unwrap();
    assert!(!bench.hob.data().join("bundles").join(gone).exists());
    assert_eventually!(names(&bench.hob, "cache/sources").len() == 2);
    assert_eventually!(names(&bench.hob, "tmp").is_empty());
    bench.hob.cli(["rollback", "hello"]).ok();
    assert_eq!(answer(&bench.hob), "two");

    // The same folder is built again, since its bundle is gone.
    deployed(&bench, &["one"]);
    assert_eq!(answer(&bench.hob), "one");

    // What an earlier server left behind goes at the start, and the rest with its function.
    bench.hob.kill();
    let orphan = bench.hob.data().join("bundles").join("0".repeat(64));
    write(&orphan.join("handler.py"), "");
    write(&orphan.with_extension("json"), "{}");
    let other = bench.hob.data().join("bundles/notes.txt");
    write(&other, "not hob's");
    bench.hob.restart();
    assert_eventually!(!orphan.exists() && !orphan.with_extension("json").exists());
    assert_eq!(answer(&bench.hob), "one");

    // With the function its earlier revisions go. What it ran is kept for whoever replaces it.
    let list = bench.hob.cli(["revisions", "hello", "-o", "json"]).json();
    let last = list[0]["digest"].as_str().unwrap();
    bench.hob.cli(["remove", "hello"]).ok();
    assert_eventually!(names(&bench.hob, "bundles").len() == 3);
    assert!(bench.hob.data().join("bundles").join(last).is_dir());
    assert_eventually!(names(&bench.hob, "cache/sources").len() == 1);
}

/// A call that an old replica still answers is not cut off for the disk's sake.
#[test]
fn a_bundle_stays_while_a_replica_runs_it() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench {
        hob: Hob::builder(HOB).args(["--keep-revisions", "1"]).start(),
        folder: tempfile::tempdir().unwrap(),
    };
    let hob = &bench.hob;
    let set = |value: &str| {
        hob.command()
            .args(["secret", "set", "go"])
            .stdin(value)
            .run()
            .ok()
    };
    set("no");
    let folder = bench.python(
        "hello",
        "import os, time\nprint('began', flush=True)\n\
         while open(os.environ['HOB_SECRETS'] + '/go').read() != 'yes': time.sleep(0.02)\n\
         import late\nreturn late.WORD",
    );
    write(&folder.join("late.py"), "WORD = 'late'\n");
    write(&folder.join("hob.toml"), "secrets = [\"go\"]\n");
    bench.deploy(&folder);
    let old = names(hob, "bundles").remove(0);
    let old = hob.data().join("bundles").join(old).with_extension("");
    std::thread::scope(|scope| {
        let call = scope.spawn(|| answer(hob));
        assert_eventually!(hob.cli(["logs", "hello"]).ok().contains("began"));
        deployed(&bench, &["new"]);
        assert_eq!(answer(hob), "new");
        let orphan = hob.data().join("bundles").join("0".repeat(64));
        write(&orphan.join("handler.py"), "");
        bench.deploy(&bench.site("other", "something else"));
        assert_eventually!(!orphan.exists(), "bundles are collected");
        assert!(old.join("late.py").exists());
        set("yes");
        assert_eq!(call.join().unwrap(), "late");
    });
    assert_eventually!(!old.exists(), "the bundle goes with its last replica");
}

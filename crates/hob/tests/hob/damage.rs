//! Files that somebody or the disk has damaged: each is named with its cure where that can be told,
//! and takes nothing else along. That of the database is in `backup/damage.rs`.

use std::fs::{self, File};

use hob_testkit::{Hob, assert_eventually, has_programs};
use serde_json::Value;

use crate::bench::{Bench, write};

fn describe(hob: &Hob, function: &str) -> Value {
    hob.cli(["describe", function, "-o", "json"]).json()
}

#[test]
fn a_damaged_bundle_is_named_where_it_does_not_start_and_mended_by_a_deploy() {
    if !has_programs(&["python3"]) {
        return;
    }
    let mut bench = Bench::new();
    let (frail, kept) = (
        bench.python("frail", "return 'whole'"),
        bench.python("kept", "return 'kept'"),
    );
    bench.deploy(&frail);
    bench.deploy(&kept);
    let bundle = describe(&bench.hob, "frail")["revision"].clone();
    let bundle = bench
        .hob
        .data()
        .join("bundles")
        .join(bundle.as_str().unwrap());
    bench.hob.stop();
    // As a disk does that has lost its blocks.
    let mut folders = vec![bundle.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false => fs::write(entry.path(), [0; 64]).unwrap(),
            }
        }
    }
    bench.hob.restart();

    let hob = &bench.hob;
    let refused = hob.post("/function/frail", "");
    assert!(refused.status.is_server_error(), "{refused:?}");
    let line = format!("its bundle {} is damaged", bundle.display());
    assert!(hob.log().contains(&line), "no `{line}` in the log");
    assert_eq!(hob.post("/function/kept", "").expect(200).text(), "kept");

    bench.deploy(&frail);
    assert_eq!(hob.post("/function/frail", "").expect(200).text(), "whole");
    let list = hob.cli(["list", "-o", "json"]).json();
    assert_eq!(list.as_array().unwrap().len(), 2);
}

#[test]
fn a_damaged_secret_is_named_and_mended_by_setting_it() {
    if !has_programs(&["python3"]) {
        return;
    }
    let mut bench = Bench::new();
    let set = |hob: &Hob, name: &str| {
        let command = hob.command().args(["secret", "set", name]);
        command.stdin("open sesame").run().ok()
    };
    for name in ["cave", "other"] {
        set(&bench.hob, name);
        let body = format!("import os\nreturn open(os.environ['HOB_SECRETS'] + '/{name}').read()");
        let folder = bench.python(name, &body);
        write(&folder.join("hob.toml"), &format!("secrets = [\"{name}\"]"));
        bench.deploy(&folder);
    }
    bench.hob.stop();
    let file = bench.hob.data().join("secrets/openfaas-fn/cave.age");
    let length = file.metadata().unwrap().len();
    File::options()
        .write(true)
        .open(&file)
        .unwrap()
        .set_len(length / 2)
        .unwrap();
    bench.hob.restart();
    let hob = &bench.hob;
    let refused = hob.post("/function/cave", "");
    assert!(refused.status.is_server_error(), "{refused:?}");
    let log = hob.log();
    assert!(log.contains("secret `cave` cannot be read"), "{log}");
    let answer = hob.post("/function/other", "").expect(200);
    assert_eq!(answer.text(), "open sesame");
    set(hob, "cave");
    assert_eventually!(hob.post("/function/cave", "").text() == "open sesame");
}

#[test]
fn a_replica_whose_record_is_damaged_is_ended_and_the_others_go_on() {
    if !has_programs(&["python3"]) {
        return;
    }
    let mut bench = Bench::new();
    let count = "handle.calls = getattr(handle, 'calls', 0) + 1\nreturn str(handle.calls)";
    for name in ["frail", "kept"] {
        bench.deploy(&bench.python(name, count));
        bench.hob.post(&format!("/function/{name}"), "").expect(200);
    }
    let pid = describe(&bench.hob, "frail")["instances"][0]["pid"].clone();
    let id = describe(&bench.hob, "frail")["instances"][0]["id"].clone();
    let name = format!("run/replicas/{}.json", id.as_str().unwrap());
    let record = fs::canonicalize(bench.hob.data().join(name)).unwrap();
    bench.hob.kill();
    fs::write(&record, "{\"replica\":").unwrap();
    bench.hob.restart();
    let hob = &bench.hob;
    let line = format!("{} cannot be read", record.display());
    assert!(hob.log().contains(&line), "no `{line}` in the log");
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    assert!(stat.is_empty() || stat.contains(") Z "), "it runs: {stat}");
    assert_eq!(hob.post("/function/kept", "").expect(200).text(), "2");
    assert_eq!(hob.post("/function/frail", "").expect(200).text(), "1");
}

#[test]
fn a_database_whose_last_writes_are_cut_off_keeps_what_is_whole() {
    let mut bench = Bench::new();
    bench.deploy(&bench.site("first", "<p>1</p>"));
    // Into the file itself.
    bench.hob.stop();
    bench.hob.restart();
    let second = bench.site("second", "<p>2</p>");
    bench.deploy(&second);
    bench.hob.kill();
    let wal = File::options()
        .write(true)
        .open(bench.hob.data().join("hob.db-wal"))
        .unwrap();
    wal.set_len(wal.metadata().unwrap().len() - 100).unwrap();
    bench.hob.restart();
    let hob = &bench.hob;
    assert_eq!(hob.get("/function/first/").expect(200).text(), "<p>1</p>");
    let doctor = hob.cli(["doctor"]).stdout;
    let line = doctor.lines().find(|line| line.starts_with("database"));
    assert!(line.unwrap().contains("every page is sound"), "{doctor}");
    bench.deploy(&second);
    assert_eq!(hob.get("/function/second/").expect(200).text(), "<p>2</p>");
}

#[test]
fn a_log_whose_times_are_damaged_shows_all_its_lines() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    let hob = &bench.hob;
    bench.deploy(&bench.python("talker", "print(str(req), flush=True)\nreturn ''"));
    let say = |words: &str| hob.post("/function/talker", words.to_owned()).expect(200);
    let logged = |args: &[&str]| hob.command().args(["logs", "talker"]).args(args).run().ok();
    say("one");
    let folder = hob.data().join("logs/openfaas-fn/talker");
    let times = || {
        let files = fs::read_dir(&folder).unwrap().flatten();
        let mut files = files.map(|file| file.path());
        files.find(|path| path.extension().is_some_and(|kind| kind == "times"))
    };
    assert_eventually!(times().is_some(), "its first line is timed");
    fs::write(times().unwrap(), [0xff; 1000]).unwrap();
    say("two");
    assert_eq!(logged(&[]), "one\ntwo\n");
    let since = logged(&["--since", "10m"]);
    assert!(since.contains("two"), "{since}");
}

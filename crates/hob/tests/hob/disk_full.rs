//! A disk that is full: one clear line, nothing acknowledged lost, nothing half written left, and
//! all goes on when there is room again, with no restart. hob's own log lies on that disk too.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use hob_testkit::{Cli, Disk, Hob, Outcome, assert_eventually, has_programs, wait_until};
use http::Method;
use serde_json::Value;

use crate::bench::{Bench, HOB, write};

/// Mebibytes of a disk that these tests fill.
const SIZE: u32 = 48;
/// Longest wait for what is tried again every so many seconds.
const PATIENCE: Duration = Duration::from_secs(40);
/// Counts its calls; `slow` ones take a second.
const COUNT: &str = "import time\nif str(req) == 'slow':\n    time.sleep(1)\nif str(req) != 'count':\n    handle.calls = getattr(handle, 'calls', 0) + 1\nreturn str(getattr(handle, 'calls', 0))";

/// A page that does not fit into what is left of a block.
const LARGE: &str = concat!("<p>2</p>", include_str!("disk_full.rs"));

fn bench_on(disk: &Disk) -> Bench {
    Bench {
        hob: Hob::builder(HOB).data(disk.folder()).start(),
        folder: tempfile::tempdir().unwrap(),
    }
}

fn disk() -> Option<Disk> {
    has_programs(&["python3", "mount", "umount"])
        .then(|| Disk::new(SIZE))
        .flatten()
}

fn set(hob: &Hob, name: &str, value: &str) -> Outcome {
    let command = hob.command().args(["secret", "set", name]);
    command.stdin(value).run()
}

fn count(hob: &Hob) -> String {
    let answer = hob.post("/function/count", "count");
    answer.expect(200).text().to_owned()
}

fn later(hob: &Hob, body: &str) -> String {
    let answer = hob.post("/async-function/count", body.to_owned());
    answer.expect(202).header("x-call-id").to_owned()
}

fn state(hob: &Hob, id: &str) -> Value {
    hob.cli(["queue", "show", id, "-o", "json"]).json()["state"].clone()
}

/// Every file below `folder` with its content, but for what SQLite writes.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false => found.push((entry.path(), fs::read(entry.path()).unwrap())),
            }
        }
    }
    found.sort();
    found
}

#[track_caller]
fn names_the_cure(line: &str, data: &Path) {
    assert!(
        line.contains("full")
            && line.contains("free some space")
            && line.contains(data.to_str().unwrap()),
        "{line}"
    );
}

/// Whatever would have to be kept.
fn writes_are_refused(bench: &Bench) {
    let (hob, data) = (&bench.hob, bench.hob.data());
    let refused = hob.post("/async-function/count", "x").expect(507);
    assert!(refused.text().contains("disk is full"), "{refused:?}");
    assert_eq!(refused.header("retry-after"), "60");
    for (name, value) in [("kept", "two"), ("new", "two")] {
        names_the_cure(&set(hob, name, value).fails(1), data);
    }
    let folder = bench.site("page", LARGE);
    let deploy = hob.cli(["deploy", folder.to_str().unwrap()]);
    names_the_cure(&deploy.fails(1), data);
    for verb in [
        &["rollback", "count"][..],
        &["remove", "page"],
        &["scale", "count", "2"],
        &["namespace", "create", "new"],
    ] {
        names_the_cure(&hob.cli(verb).fails(1), data);
    }
    let target = bench.folder.path().join("b.tar.gz");
    let backup = hob.cli(["backup", target.to_str().unwrap()]);
    names_the_cure(&backup.fails(1), data);
    assert!(!target.exists());
}

#[test]
fn nothing_is_taken_that_cannot_be_kept_and_calls_are_answered() {
    let Some(disk) = disk() else { return };
    let bench = bench_on(&disk);
    let (hob, data) = (&bench.hob, bench.hob.data());
    bench.deploy(&bench.python("count", "return 'old'"));
    bench.deploy(&bench.python("count", COUNT));
    bench.deploy(&bench.site("page", "<p>1</p>"));
    let print = "print('x' * 9999, flush=True)\nreturn 'said'";
    bench.deploy(&bench.python("talker", print));
    set(hob, "kept", "one").ok();
    let kept = ["secrets", "bundles", "cache/sources"].map(|name| data.join(name));
    let before = kept.each_ref().map(|folder| files(folder));
    hob.cli(["scale", "count", "0"]).ok();

    disk.fill();
    // Calls, also of a function that has to be woken for them.
    assert_eq!(count(hob), "0");
    assert_eq!(hob.get("/function/page/").expect(200).text(), "<p>1</p>");
    assert!(hob.metrics().contains("gateway_function_invocation_total"));

    // What it cannot write is its own error; it may end by it.
    let failed = hob.post("/function/talker", "");
    assert!(failed.status.is_server_error(), "{failed:?}");
    writes_are_refused(&bench);

    // All is as it was.
    assert_eq!(count(hob), "0");
    assert_eq!(hob.get("/function/page/").expect(200).text(), "<p>1</p>");
    assert_eq!(kept.each_ref().map(|folder| files(folder)), before);
    assert_eq!(files(&data.join("tmp")), []);
    let listed = hob.cli(["secret", "list", "-o", "json"]).json();
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    let status = hob.cli(["status"]).ok();
    assert!(status.contains("nearly full: 0 MiB are free"), "{status}");
    let doctor = hob.cli(["doctor"]).stdout;
    let line = doctor.lines().find(|line| line.starts_with("disk"));
    let line = line.unwrap_or_default();
    assert!(
        line.contains("limited") && line.contains("nearly full"),
        "{line}"
    );

    disk.free();
    assert_eventually!(
        hob.post("/function/talker", "").text() == "said",
        "it writes again"
    );
    let id = later(hob, "x");
    assert_eventually!(state(hob, &id) == "done", "the queue goes on");
    assert_eq!(count(hob), "1");
    set(hob, "kept", "two").ok();
    set(hob, "new", "two").ok();
    bench.deploy(&bench.site("page", LARGE));
    assert!(
        hob.get("/function/page/")
            .expect(200)
            .text()
            .contains("<p>2</p>")
    );
    hob.cli(["rollback", "count"]).ok();
    assert_eq!(hob.post("/function/count", "").expect(200).text(), "old");
    let target = bench.folder.path().join("b.tar.gz");
    hob.cli(["backup", target.to_str().unwrap()]).ok();
    let log = hob.log();
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn a_build_that_fills_the_disk_says_so_and_gives_it_back() {
    let Some(disk) = disk() else { return };
    let bench = bench_on(&disk);
    let (hob, data) = (&bench.hob, bench.hob.data());
    let folder = bench.python("large", "return 'large'");
    let build = |mebibytes: u32| {
        let build = format!("build = \"head -c {mebibytes}M /dev/zero > zeros\"");
        write(&folder.join("hob.toml"), &build);
    };
    build(2 * SIZE);
    let line = hob.cli(["deploy", folder.to_str().unwrap()]).fails(1);
    names_the_cure(&line, data);
    assert_eq!(files(&data.join("tmp")), []);
    build(SIZE / 2);
    bench.deploy(&folder);
    assert_eq!(hob.post("/function/large", "").expect(200).text(), "large");
}

#[test]
fn a_call_that_ends_on_a_full_disk_is_made_once() {
    let Some(disk) = disk() else { return };
    let bench = bench_on(&disk);
    let hob = &bench.hob;
    bench.deploy(&bench.python("count", COUNT));
    let id = later(hob, "slow");
    disk.fill();
    assert_eventually!(count(hob) == "1", "it is made");
    assert_eq!(state(hob, &id), "running");
    disk.free();
    assert!(wait_until(PATIENCE, || state(hob, &id) == "done"));
    assert_eq!(count(hob), "1");
}

#[test]
fn schedules_go_on_when_there_is_room() {
    let Some(disk) = disk() else { return };
    let bench = bench_on(&disk);
    let hob = &bench.hob;
    let folder = bench.python("count", COUNT);
    write(&folder.join("hob.toml"), "schedule = \"@every 1s\"");
    bench.deploy(&folder);
    assert_eventually!(count(hob) != "0", "the clock calls");
    disk.fill();
    let before = hob.cli(["schedule", "list", "-o", "json"]).json()[0]["last"].clone();
    disk.free();
    let last = || hob.cli(["schedule", "list", "-o", "json"]).json()[0]["last"].clone();
    let made = count(hob);
    assert!(wait_until(PATIENCE, || last() != before && count(hob) != made));
}

#[test]
fn a_server_that_starts_on_a_full_disk_has_all_that_was_acknowledged() {
    let Some(disk) = disk() else { return };
    let mut bench = bench_on(&disk);
    bench.deploy(&bench.python("count", COUNT));
    bench.deploy(&bench.site("page", "<p>1</p>"));
    let ids = ["slow", "slow", "slow"].map(|body| later(&bench.hob, body));
    disk.fill();
    bench.hob.kill();
    bench.hob.restart();
    let hob = &bench.hob;
    assert_eq!(hob.get("/function/page/").expect(200).text(), "<p>1</p>");
    hob.post("/function/count", "x").expect(200);
    hob.post("/async-function/count", "x").expect(507);
    disk.free();
    for id in &ids {
        assert!(wait_until(PATIENCE, || state(hob, id) == "done"), "{id}");
    }

    // After a stop there is no room for what SQLite shares between its connections.
    bench.hob.stop();
    disk.fill();
    let up = Cli::new(Path::new(HOB)).env("HOB_DATA", bench.hob.data());
    let args = ["up", "--listen", "127.0.0.1:0", "--metrics", "off"];
    let line = up.args(args).run().fails(1);
    names_the_cure(&line, bench.hob.data());
    disk.free();
    bench.hob.restart();
    assert_eq!(state(&bench.hob, &ids[0]), "done");
    let call = bench.hob.call(Method::GET, "/function/page/", "");
    assert_eq!(call.expect(200).text(), "<p>1</p>");
}

#[test]
fn a_backup_that_does_not_fit_where_it_is_to_go_leaves_nothing() {
    let Some(disk) = disk() else { return };
    let bench = Bench::new();
    bench.deploy(&bench.site("page", "<p>1</p>"));
    disk.fill();
    let target = disk.path().join("b.tar.gz");
    let shown = target.to_str().unwrap();
    let line = bench.hob.cli(["backup", shown]).fails(1);
    names_the_cure(&line, &target);
    assert_eq!(fs::read_dir(disk.path()).unwrap().count(), 1, "the ballast");
    disk.free();
    bench.hob.cli(["backup", shown]).ok();
}

//! `sandbox = "per-call"`: each call has a cage that nobody had before and nobody has after.

mod load;

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
};

use hob_testkit::{Hob, assert_eventually, has_programs};
use serde_json::Value;

use crate::{
    bench::{Bench, write},
    restart::{SERVER, call},
};

/// Leaves all that it can behind, and tells what it finds: how often this program was called, its
/// name, and what is in its folders.
const UNTIDY: &str = "\
import os, subprocess
handle.calls = getattr(handle, 'calls', 0) + 1
name = handle.__dict__.setdefault('name', os.urandom(8).hex())
found = os.listdir('/tmp') + os.listdir('/dev/shm') + os.listdir('/run/hob')
for folder in ['/tmp', '/dev/shm', '/run/hob']:
    with open(folder + '/left', 'w') as file: file.write(name)
mark = os.environ['MARK']
subprocess.Popen(['sh', '-c', f'trap \"\" TERM; sleep 1000; : {mark}'], start_new_session=True)
print('call of', name)
return f'{handle.calls} {name} {sorted(found)}'";

/// Of a call that never ends by itself, nor when it is asked to.
const ENDLESS: &str = "\
import os, subprocess, time
mark = os.environ['MARK']
if req.body == b'quick': return 'ok'
subprocess.Popen(['sh', '-c', f'trap \"\" TERM HUP; sleep 1000; : {mark}'], start_new_session=True)
while True: time.sleep(1000)";

/// A server, where it can make containers at all.
fn bench() -> Option<Bench> {
    if !has_programs(&["python3", "sh"]) {
        return None;
    }
    let bench = Bench::new();
    let status = bench.hob.cli(["status", "-o", "json"]).json();
    if status["isolation"] != "container" {
        eprintln!("NOT TESTED: this machine makes no containers");
        return None;
    }
    Some(bench)
}

/// A function whose processes have `MARK` in their command lines.
fn folder(bench: &Bench, name: &str, body: &str, more: &str) -> PathBuf {
    let folder = bench.python(name, body);
    let mark = mark(&bench.hob, name);
    let text = format!("sandbox = \"per-call\"\n{more}\n[env]\nMARK = \"{mark}\"\n");
    write(&folder.join("hob.toml"), &text);
    folder
}

fn deploy(bench: &Bench, name: &str, body: &str, more: &str) {
    bench.deploy(&folder(bench, name, body, more));
}

/// Nobody else has it on this machine.
fn mark(hob: &Hob, name: &str) -> String {
    format!("mark-{name}-{}", hob.data().display()).replace('/', "-")
}

/// Processes of the machine that a call of `name` has begun.
fn left_behind(hob: &Hob, name: &str) -> usize {
    let mark = mark(hob, name);
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let marked = lines.filter(|line| String::from_utf8_lossy(line).contains(&mark));
    marked.count()
}

fn describe(hob: &Hob, name: &str) -> Value {
    hob.cli(["describe", name, "-o", "json"]).json()
}

/// Replicas of `name` in this state.
fn count(hob: &Hob, name: &str, state: &str) -> usize {
    let detail = describe(hob, name);
    let instances = detail["instances"].as_array().unwrap().iter();
    instances.filter(|one| one["state"] == state).count()
}

/// A call of which the answer is not read.
fn begin(hob: &Hob, name: &str, body: &str) -> TcpStream {
    let mut stream = TcpStream::connect(hob.address()).unwrap();
    let length = body.len();
    let head = format!("POST /function/{name} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n");
    stream
        .write_all(format!("{head}\r\n{body}").as_bytes())
        .unwrap();
    stream
}

#[test]
fn no_call_finds_anything_of_another() {
    let Some(bench) = bench() else { return };
    let hob = &bench.hob;
    deploy(&bench, "untidy", UNTIDY, "");
    let mut names = BTreeSet::new();
    for _ in 0..6 {
        let answer = call(hob, "untidy");
        let mut words = answer.splitn(3, ' ');
        assert_eq!(words.next(), Some("1"), "{answer}");
        assert!(names.insert(words.next().unwrap().to_owned()), "{answer}");
        // The socket is what it listens at.
        assert_eq!(words.next(), Some("['http.sock']"), "{answer}");
    }
    assert_eventually!(left_behind(hob, "untidy") == 0);
    // What they wrote is there all the same, each under its own name.
    let logs = || hob.cli(["logs", "untidy"]).ok();
    assert_eventually!(names.iter().all(|name| logs().contains(name)), "{}", logs());
    // None of that was a fault.
    let detail = describe(hob, "untidy");
    assert_eq!(
        (&detail["last_end"], &detail["state"]),
        (&Value::Null, &"hot".into()),
        "{detail}"
    );
    let text = hob.cli(["describe", "untidy"]).ok();
    assert!(
        text.lines()
            .any(|line| line.split_whitespace().eq(["sandbox", "per-call"])),
        "{text}"
    );
}

#[test]
fn one_is_ready_ahead_and_none_when_it_is_quiet() {
    let Some(bench) = bench() else { return };
    let hob = &bench.hob;
    let more = "freeze = \"never\"\nidle = \"2s\"";
    deploy(&bench, "untidy", UNTIDY, more);
    assert_eq!(count(hob, "untidy", "ready"), 1);
    assert!(call(hob, "untidy").starts_with("1 "));
    let instances = || {
        describe(hob, "untidy")["instances"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eventually!(count(hob, "untidy", "ready") == 1 && instances() == 1);
    assert_eventually!(instances() == 0);
    assert_eq!(describe(hob, "untidy")["state"], "stopped");
    // The next call starts one for itself, and has one more made ready.
    assert!(call(hob, "untidy").starts_with("1 "));
    assert_eventually!(count(hob, "untidy", "ready") == 1 && instances() == 1);
    // More of them where somebody wants that.
    deploy(
        &bench,
        "untidy",
        UNTIDY,
        "freeze = \"never\"\nidle = \"2s\"\nscale.min = 3",
    );
    assert_eq!(count(hob, "untidy", "ready"), 3);
    assert!(call(hob, "untidy").starts_with("1 "));
    assert_eventually!(count(hob, "untidy", "ready") == 3 && instances() == 3);
}

#[test]
fn a_frozen_one_is_as_fresh_as_any() {
    let Some(bench) = bench() else { return };
    let hob = &bench.hob;
    let doctor = hob.cli(["doctor", "-o", "json"]).json();
    let mut checks = doctor.as_array().unwrap().iter();
    if checks.find(|one| one["check"] == "freezing").unwrap()["state"] != "ok" {
        eprintln!("NOT TESTED: this machine has no freezer that hob may use");
        return;
    }
    deploy(&bench, "untidy", UNTIDY, "freeze = \"1s\"");
    for _ in 0..2 {
        assert_eventually!(describe(hob, "untidy")["state"] == "frozen");
        assert!(call(hob, "untidy").starts_with("1 "));
    }
    assert_eventually!(count(hob, "untidy", "ready") + count(hob, "untidy", "frozen") == 1);
}

#[test]
fn callers_who_hang_up_take_all_with_them_and_many_are_served_at_once() {
    let Some(bench) = bench() else { return };
    let hob = &bench.hob;
    let more = "idle = \"1s\"\nfreeze = \"never\"\nscale.max = 8";
    deploy(&bench, "endless", ENDLESS, more);
    assert_eventually!(count(hob, "endless", "ready") == 0, "it sleeps");
    let mut callers: Vec<_> = (0..8).map(|_| begin(hob, "endless", "")).collect();
    // Not one after the other: none of them ends.
    assert_eventually!(left_behind(hob, "endless") == 8);
    assert_eq!(count(hob, "endless", "draining"), 8);
    // There is no room for more, until one of them goes.
    let mut ninth = begin(hob, "endless", "quick");
    drop(callers.pop());
    let mut start = [0; 12];
    ninth.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    drop(callers);
    assert_eventually!(left_behind(hob, "endless") == 0);
    assert_eventually!(count(hob, "endless", "draining") == 0);
    assert_eq!(describe(hob, "endless")["last_end"], Value::Null);
}

#[test]
fn the_deadline_ends_a_call_with_all_that_it_began() {
    let Some(bench) = bench() else { return };
    let hob = &bench.hob;
    deploy(&bench, "endless", ENDLESS, "timeout = \"1s\"");
    let answer = hob.post("/function/endless", "").expect(504);
    assert_eq!(answer.header("x-hob-end"), "timeout");
    assert_eventually!(left_behind(hob, "endless") == 0);
    assert_eventually!(describe(hob, "endless")["last_end"]["reason"] == "timeout");
    assert_eq!(
        hob.post("/function/endless", "quick").expect(200).text(),
        "ok"
    );
}

#[test]
fn a_program_that_dies_in_its_call_is_told_and_held_against_nobody() {
    let Some(bench) = bench() else { return };
    let hob = &bench.hob;
    let body = "import os\nif req.body == b'die': os._exit(7)\nreturn 'ok'";
    deploy(&bench, "mortal", body, "");
    for _ in 0..5 {
        let answer = hob.post("/function/mortal", "die").expect(502);
        assert_eq!(answer.header("x-hob-end"), "exit");
        assert!(answer.text().contains('7'), "{}", answer.text());
        assert_eq!(hob.post("/function/mortal", "").expect(200).text(), "ok");
    }
    let detail = describe(hob, "mortal");
    assert_eq!(detail["last_end"]["reason"], "exit", "{detail}");
    assert_eq!(detail["state"], "hot");
    assert!(
        !hob.log().contains("a replica ended by itself"),
        "{}",
        hob.log()
    );
}

#[test]
fn a_program_that_starts_no_more_fails_its_calls_with_the_reason() {
    let Some(bench) = bench() else { return };
    let hob = &bench.hob;
    let program = bench.folder.path().join("broken");
    write(&program.join("server.py"), SERVER);
    let text = "sandbox = \"per-call\"\nrun = \"exec python3 server.py\"\n";
    write(&program.join("hob.toml"), text);
    bench.deploy(&program);
    let bundle = fs::read_dir(hob.data().join("bundles")).unwrap().flatten();
    let mut bundle = bundle.map(|one| one.path()).filter(|path| path.is_dir());
    let server = bundle.next().unwrap().join("server.py");
    fs::write(server, "raise SystemExit(9)\n").unwrap();
    // One was ready from before.
    assert_eq!(call(hob, "broken"), "1");
    for _ in 0..3 {
        let answer = hob.post("/function/broken", "").expect(502);
        assert_eq!(answer.header("x-hob-end"), "exit", "{}", answer.text());
    }
    assert_eq!(describe(hob, "broken")["last_end"]["reason"], "exit");
}

#[test]
fn contradictions_are_refused_with_words() {
    let Some(bench) = bench() else { return };
    let hob = &bench.hob;
    let site = bench.site("site", "hi");
    write(&site.join("hob.toml"), "sandbox = \"per-call\"\n");
    let refused = |folder: &PathBuf| hob.cli(["deploy", folder.to_str().unwrap()]).fails(1);
    assert!(refused(&site).contains("leave `sandbox` out"));
    for (more, words) in [
        (
            "isolation = \"process\"",
            "`isolation` must be \"container\"",
        ),
        ("scale.concurrency = 2", "`scale.concurrency` must be 1"),
    ] {
        let said = refused(&folder(&bench, "odd", "return 'ok'", more));
        assert!(said.contains(words), "{said}");
    }
}

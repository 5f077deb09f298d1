//! Replicas outlive their server, and go on with the next one: the same processes, with all that
//! they know.

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    process::{Child, Command},
};

use hob_testkit::{Hob, assert_eventually, has_programs};
use serde_json::Value;

use crate::bench::{Bench, write};

/// Only one process counts up.
pub(crate) const COUNT: &str = "handle.calls = getattr(handle, 'calls', 0) + 1\nprint('call', handle.calls)\nreturn str(handle.calls)";

/// The same at a port.
pub(crate) const SERVER: &str = "\
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    calls = 0
    def do_POST(self):
        Handler.calls += 1
        self.send_response_only(200)
        self.end_headers()
        self.wfile.write(str(Handler.calls).encode())
http.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), Handler).serve_forever()
";

/// Names and processes of the replicas that take calls, on a slow machine perhaps frozen by now.
fn ready(hob: &Hob, function: &str) -> BTreeSet<(String, u64)> {
    let detail = hob.cli(["describe", function, "-o", "json"]).json();
    let instances = detail["instances"].as_array().unwrap().iter();
    let ready = instances.filter(|one| one["state"] == "ready" || one["state"] == "frozen");
    ready
        .map(|one| {
            let id = one["id"].as_str().unwrap().to_owned();
            (id, one["pid"].as_u64().unwrap())
        })
        .collect()
}

/// A zombie does not.
pub(crate) fn lives(pid: u64) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").map(|(_, rest)| rest.as_bytes()[0]);
    state.is_some_and(|state| state != b'Z')
}

pub(crate) fn call(hob: &Hob, function: &str) -> String {
    let answer = hob.post(&format!("/function/{function}"), "");
    answer.expect(200).text().to_owned()
}

/// What is written down of the only replica.
fn record(hob: &Hob) -> (PathBuf, Value) {
    let folder = hob.data().join("run/replicas");
    let mut paths = fs::read_dir(folder).unwrap().map(|one| one.unwrap().path());
    let path = paths.next().unwrap();
    assert_eq!(paths.next(), None);
    let record = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    (path, record)
}

#[test]
fn replicas_of_a_killed_server_go_on_with_the_next() {
    if !has_programs(&["python3"]) {
        return;
    }
    let mut bench = Bench::new();
    bench.deploy(&bench.python("hello", COUNT));
    bench.deploy(&bench.python("pair", COUNT));
    bench.hob.cli(["scale", "pair", "2"]).ok();
    let (hello, pair) = (ready(&bench.hob, "hello"), ready(&bench.hob, "pair"));
    assert_eq!((hello.len(), pair.len()), (1, 2));
    assert_eq!(call(&bench.hob, "hello"), "1");

    bench.hob.kill();
    assert!(hello.union(&pair).all(|(_, pid)| lives(*pid)));
    bench.hob.restart();
    // Before any call could wake them.
    assert_eq!(ready(&bench.hob, "hello"), hello);
    assert_eq!(ready(&bench.hob, "pair"), pair);
    assert_eq!(call(&bench.hob, "hello"), "2");
    assert_eventually!(
        bench.hob.cli(["logs", "hello"]).ok() == "call 1\ncall 2\n",
        "the log goes on: {}",
        bench.hob.cli(["logs", "hello"]).ok()
    );

    // They are replicas like any other: they scale, end and are replaced.
    bench.hob.kill();
    bench.hob.restart();
    assert_eq!(call(&bench.hob, "hello"), "3");
    bench.hob.cli(["scale", "pair", "1"]).ok();
    assert_eventually!(pair.iter().filter(|(_, pid)| lives(*pid)).count() == 1);
    let pid = hello.first().unwrap().1;
    kill(pid);
    assert_eventually!(
        ready(&bench.hob, "hello").len() == 1 && ready(&bench.hob, "hello") != hello,
        "a replica takes its place"
    );
    bench.hob.stop();
    assert!(!pair.iter().any(|(_, pid)| lives(*pid)));
}

/// Where a program listens makes no difference: at a port of the machine, or in a network of its
/// own, which is kept for it.
#[test]
fn programs_at_ports_go_on_as_well() {
    if !has_programs(&["python3"]) {
        return;
    }
    let mut bench = Bench::new();
    let mut settings = vec!["run = \"python3 server.py\"\n".to_owned()];
    if rustix::process::geteuid().is_root() && has_programs(&["ip", "nft"]) {
        settings.push(format!("{}network = \"none\"\n", settings[0]));
    }
    let names = ["shared", "alone"];
    for (name, settings) in names.iter().zip(&settings) {
        let folder = bench.folder.path().join(name);
        write(&folder.join("server.py"), SERVER);
        write(&folder.join("hob.toml"), settings);
        bench.deploy(&folder);
        assert_eq!(call(&bench.hob, name), "1");
    }
    bench.hob.kill();
    bench.hob.restart();
    for (name, _) in names.iter().zip(&settings) {
        assert_eq!(call(&bench.hob, name), "2", "{name}");
    }
}

#[test]
fn a_server_that_hands_over_leaves_its_replicas_to_the_next() {
    if !has_programs(&["python3"]) {
        return;
    }
    let mut bench = Bench::new();
    bench.deploy(&bench.python("hello", COUNT));
    bench.deploy(&bench.python("asleep", COUNT));
    bench.hob.cli(["scale", "asleep", "0"]).ok();
    let before = ready(&bench.hob, "hello");
    assert_eq!(call(&bench.hob, "hello"), "1");
    bench.hob.hand_over();
    assert!(before.iter().all(|(_, pid)| lives(*pid)));
    bench.hob.restart();
    assert_eq!(ready(&bench.hob, "hello"), before);
    assert!(ready(&bench.hob, "asleep").is_empty());
    assert_eq!(call(&bench.hob, "hello"), "2");

    // With no replica there is nothing to leave.
    bench.hob.cli(["scale", "hello", "0"]).ok();
    assert_eventually!(!before.iter().any(|(_, pid)| lives(*pid)));
    bench.hob.hand_over();
    assert!(!bench.hob.data().join("run").exists());
    bench.hob.restart();
}

#[test]
fn a_start_that_fails_leaves_replicas_to_the_next() {
    if !has_programs(&["python3"]) {
        return;
    }
    let mut bench = Bench::new();
    bench.deploy(&bench.python("hello", COUNT));
    let before = ready(&bench.hob, "hello");
    assert_eq!(call(&bench.hob, "hello"), "1");
    bench.hob.kill();
    let images = bench.hob.data().join("images");
    let aside = bench.hob.data().join("aside");
    fs::rename(&images, &aside).unwrap();
    fs::write(&images, "no folder").unwrap();
    let up = ["up", "--listen", "127.0.0.1:0", "--metrics", "off"];
    let outcome = bench.hob.cli(up);
    assert_ne!(outcome.code, 0, "{outcome:?}");
    assert!(outcome.stderr.contains("images"), "{outcome:?}");
    fs::remove_file(&images).unwrap();
    fs::rename(&aside, &images).unwrap();
    bench.hob.restart();
    assert_eq!(ready(&bench.hob, "hello"), before);
    assert_eq!(call(&bench.hob, "hello"), "2");
}

#[test]
fn a_replica_that_ended_while_nobody_watched_is_replaced() {
    if !has_programs(&["python3"]) {
        return;
    }
    let mut bench = Bench::new();
    bench.deploy(&bench.python("hello", COUNT));
    let before = ready(&bench.hob, "hello");
    bench.hob.kill();
    let pid = before.first().unwrap().1;
    kill(pid);
    assert_eventually!(!lives(pid), "it has ended");
    bench.hob.restart();
    assert_eventually!(
        ready(&bench.hob, "hello").len() == 1,
        "a new one is ready without a call"
    );
    assert_ne!(ready(&bench.hob, "hello"), before);
    assert_eq!(call(&bench.hob, "hello"), "1");
}

#[test]
fn only_what_is_deployed_goes_on() {
    if !has_programs(&["python3"]) {
        return;
    }
    let mut bench = Bench::new();
    let hello = bench.python("hello", "return 'first'");
    bench.deploy(&hello);
    bench.hob.kill();
    // The store as it is now.
    let former = tempfile::tempdir().unwrap();
    let copy = |from: PathBuf, to: PathBuf| {
        for file in ["hob.db", "hob.db-wal", "hob.db-shm"] {
            let _ = fs::remove_file(to.join(file));
            let _ = fs::copy(from.join(file), to.join(file));
        }
    };
    copy(bench.hob.data().to_owned(), former.path().to_owned());
    bench.hob.restart();
    bench.python("hello", "return 'second'");
    bench.deploy(&hello);
    bench.deploy(&bench.python("late", COUNT));
    assert_eq!(call(&bench.hob, "hello"), "second");
    let (second, late) = (ready(&bench.hob, "hello"), ready(&bench.hob, "late"));
    bench.hob.kill();

    copy(former.path().to_owned(), bench.hob.data().to_owned());
    bench.hob.restart();
    assert_eventually!(
        !second.union(&late).any(|(_, pid)| lives(*pid)),
        "another revision and a function that is gone"
    );
    assert!(ready(&bench.hob, "hello").is_disjoint(&second));
    assert_eq!(call(&bench.hob, "hello"), "first");
    assert_ne!(bench.hob.cli(["describe", "late"]).code, 0);
    // The name is free.
    bench.deploy(&bench.python("late", COUNT));
    assert_eq!(call(&bench.hob, "late"), "1");
}

#[test]
fn a_record_that_names_another_process_is_not_believed() {
    if !has_programs(&["python3", "sleep"]) {
        return;
    }
    let mut bench = Bench::new();
    bench.deploy(&bench.python("hello", COUNT));
    let before = ready(&bench.hob, "hello");
    bench.hob.kill();
    let stranger = Stranger(Command::new("sleep").arg("1000").spawn().unwrap());
    let (path, mut record) = record(&bench.hob);
    record["cage"]["pid"] = stranger.0.id().into();
    fs::write(path, record.to_string()).unwrap();
    bench.hob.restart();
    assert!(lives(stranger.0.id().into()), "it is none of hob's");
    assert_eventually!(
        !before.iter().any(|(_, pid)| lives(*pid)),
        "what no record names is ended"
    );
    assert_eventually!(ready(&bench.hob, "hello").len() == 1);
    assert!(ready(&bench.hob, "hello").is_disjoint(&before));
}

#[test]
fn a_replica_that_is_on_its_way_out_does_not_come_back() {
    if !has_programs(&["python3"]) {
        return;
    }
    let mut bench = Bench::new();
    bench.deploy(&bench.python(
        "hello",
        "import time\nprint('began', flush=True)\ntime.sleep(60)",
    ));
    let before = ready(&bench.hob, "hello");
    let mut command = bench.hob.command().args(["invoke", "hello"]).into_command();
    let mut call = Stranger(command.spawn().unwrap());
    assert_eventually!(bench.hob.cli(["logs", "hello"]).ok().contains("began"));
    // It waits for its call.
    bench.hob.cli(["scale", "hello", "0"]).ok();
    assert_eventually!(record(&bench.hob).1["door"].is_null());
    bench.hob.kill();
    call.0.wait().unwrap();
    bench.hob.restart();
    assert!(ready(&bench.hob, "hello").is_empty());
    assert_eventually!(!before.iter().any(|(_, pid)| lives(*pid)));
}

#[test]
fn secrets_stay_with_those_that_go_on() {
    if !has_programs(&["python3"]) {
        return;
    }
    let mut bench = Bench::new();
    let set = |hob: &Hob, value: &str| {
        let command = hob.command().args(["secret", "set", "key"]);
        command.stdin(value).run().ok();
    };
    set(&bench.hob, "first");
    let folder = bench.python(
        "reader",
        "import os\nreturn open(os.environ['HOB_SECRETS'] + '/key').read()",
    );
    write(&folder.join("hob.toml"), "secrets = [\"key\"]\n");
    bench.deploy(&folder);
    let before = ready(&bench.hob, "reader");
    bench.hob.kill();
    bench.hob.restart();
    assert_eq!(ready(&bench.hob, "reader"), before);
    assert_eq!(call(&bench.hob, "reader"), "first");
    set(&bench.hob, "second");
    assert_eventually!(call(&bench.hob, "reader") == "second");
    let clear = bench.hob.data().join("run/secrets/openfaas-fn/reader");
    assert!(clear.exists());
    bench.hob.cli(["scale", "reader", "0"]).ok();
    assert_eventually!(!clear.exists(), "the last reader takes them along");
}

pub(crate) fn kill(pid: u64) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

/// A process of the test's own.
struct Stranger(Child);

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

//! Each limit of a function, gone over: how the call ends and where that is seen, that a new
//! replica answers the next call, and that nobody else is hurt.

mod flood;
mod output;

use std::{
    fs,
    path::PathBuf,
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use hob_testkit::{Answer, assert_eventually, has_programs};
use serde_json::Value;

use crate::bench::{Bench, write};

/// Longest that a call of the neighbour may take, on a machine with other work.
const NEIGHBOUR_MAX: Duration = Duration::from_secs(5);
/// Pause between two of its calls.
const NEIGHBOUR_PACE: Duration = Duration::from_millis(20);

/// Forks for as long as it lives, and its children do the same.
const BOMB: &str = "\
import os
while req == 'bomb':
    try: os.fork()
    except OSError: pass
return 'ok'";

const GROW: &str = "\
held = []
while req == 'grow': held.append(bytearray(1 << 20))
return 'ok'";

/// A server of two processes, and one that puts another in place of each that ends.
const FORKING: &str = "\
import os, socket
listener = socket.socket(socket.AF_UNIX)
listener.bind(os.environ['HOB_SOCKET'])
listener.listen(64)
def work():
    while True:
        caller, _ = listener.accept()
        head = b''
        while b'\\r\\n\\r\\n' not in head:
            more = caller.recv(65536)
            if not more: break
            head += more
        held = []
        while head.startswith(b'GET /grow'): held.append(bytearray(1 << 20))
        if head: caller.sendall(b'HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: 2\\r\\n\\r\\nok')
        caller.close()
def worker():
    if os.fork() == 0: work()
worker()
worker()
while True:
    os.wait()
    worker()
";

const FILL: &str = "\
import os
if req == 'fill':
    try:
        with open('/tmp/full', 'wb', 0) as full:
            while True: full.write(b'x' * 65536)
    except OSError as error:
        return str(error.errno), 507
return ','.join(os.listdir('/tmp'))";

const OPEN: &str = "\
import os
held = []
try:
    while req == 'open': held.append(os.open('/dev/null', os.O_RDONLY))
except OSError as error:
    return f'{error.errno} {len(held)}', 503
finally:
    for fd in held: os.close(fd)
return 'ok'";

/// What Linux calls a full disk, and too many open files.
const ENOSPC: &str = "28";
const EMFILE: &str = "24";

/// A server with a neighbour; `None` where this machine cannot limit all of it.
fn bench(args: &[&str]) -> Option<Bench> {
    if !has_programs(&["python3"]) {
        return None;
    }
    let bench = Bench::with(args);
    let status = bench.hob.cli(["status", "-o", "json"]).json();
    let isolation = &status["isolation"];
    if isolation != "container" || status["warnings"] != Value::Array(Vec::new()) {
        eprintln!("NOT TESTED: this machine cannot set every limit: {status}");
        return None;
    }
    bench.deploy(&bench.python("neighbour", "return 'here'"));
    Some(bench)
}

impl Bench {
    /// Deploys a Python function with these settings.
    fn limited(&self, name: &str, body: &str, settings: &str) {
        let folder = self.python(name, body);
        write(&folder.join("hob.toml"), settings);
        self.deploy(&folder);
    }

    fn detail(&self, name: &str) -> Value {
        self.hob.cli(["describe", name, "-o", "json"]).json()
    }

    /// The id of its only replica, once that takes calls.
    fn replica(&self, name: &str) -> String {
        let mut id = String::new();
        assert_eventually!({
            let detail = self.detail(name);
            let replicas = detail["instances"].as_array().unwrap();
            let ready = replicas.iter().find(|one| one["state"] == "ready");
            ready.is_some_and(|ready| {
                id = ready["id"].as_str().unwrap().to_owned();
                true
            })
        });
        id
    }

    /// Does `work` while the neighbour is called again and again, and always answers soon.
    fn beside_neighbour<T>(&self, work: impl FnOnce() -> T) -> T {
        thread::scope(|scope| {
            let (done, is_done) = channel::<()>();
            let calls = scope.spawn(move || {
                let mut is_over = false;
                loop {
                    let begun = Instant::now();
                    self.hob.get("/function/neighbour").expect(200);
                    let took = begun.elapsed();
                    assert!(took < NEIGHBOUR_MAX, "the neighbour took {took:?}");
                    if is_over {
                        return;
                    }
                    // One call more after the end.
                    let waited = is_done.recv_timeout(NEIGHBOUR_PACE);
                    is_over = waited != Err(RecvTimeoutError::Timeout);
                }
            });
            let outcome = work();
            drop(done);
            calls.join().expect("the neighbour answered");
            outcome
        })
    }

    /// How many calls of a function have ended for this reason.
    fn ended(&self, name: &str, reason: &str) -> u32 {
        let text = self.hob.metrics();
        let series = format!(
            "hob_calls_ended_total{{function_name=\"{name}.openfaas-fn\",reason=\"{reason}\"}} "
        );
        let mut lines = text.lines().filter_map(|line| line.strip_prefix(&series));
        lines.next().map_or(0, |count| count.parse().unwrap())
    }

    /// What is seen of it when `replica` was ended for a limit, by one call: the metric, the last
    /// end, the line in hob's log, and another replica that answers.
    #[track_caller]
    fn assert_ended(&self, name: &str, replica: &str, reason: &str) {
        assert_eventually!(self.ended(name, reason) == 1, "{}", self.hob.metrics());
        assert_eventually!(
            self.detail(name)["last_end"]["reason"] == reason,
            "{}",
            self.detail(name)
        );
        let text = self.hob.cli(["describe", name]).ok();
        let shown = |line: &str| line.starts_with("last end") && line.contains(reason);
        assert!(text.lines().any(shown), "{text}");
        let log = self.hob.log();
        let told = |line: &str| line.contains(replica) && line.contains(&format!("={reason}: "));
        assert!(log.lines().any(told), "{log}");
        self.hob.get(&format!("/function/{name}")).expect(200);
        assert_ne!(self.replica(name), replica);
        assert_eventually!(processes_of(replica).is_empty(), "{replica} is gone");
        assert_eq!(self.ended(name, reason), 1);
    }

    /// Nothing of it is seen but an answer of the function's own, by the replica that goes on.
    #[track_caller]
    fn assert_unhurt(&self, name: &str, replica: &str) {
        self.hob.get(&format!("/function/{name}")).expect(200);
        assert_eq!(self.replica(name), replica);
        assert!(self.detail(name)["last_end"].is_null());
        let text = self.hob.metrics();
        let series = format!("hob_calls_ended_total{{function_name=\"{name}.openfaas-fn\"");
        let mut others = text.lines().filter(|line| line.starts_with(&series));
        assert!(
            others.all(|line| line.contains("reason=\"ok\"") || line.ends_with(" 0")),
            "{text}"
        );
    }
}

/// Processes in the cage of a replica.
fn processes_of(replica: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir("/proc").unwrap().map_while(Result::ok);
    let inside = |path: &PathBuf| {
        let groups = fs::read_to_string(path.join("cgroup")).unwrap_or_default();
        groups.contains(replica)
    };
    entries.map(|entry| entry.path()).filter(inside).collect()
}

#[track_caller]
fn assert_end(answer: &Answer, status: u16, reason: &str) {
    let seen = (answer.status.as_u16(), answer.header("x-hob-end"));
    assert_eq!(seen, (status, reason), "{answer:?}");
}

#[test]
fn an_allocation_loop_ends_with_memory() {
    let Some(bench) = bench(&[]) else { return };
    bench.limited("grower", GROW, "[limits]\nmemory = \"48Mi\"\n");
    let replica = bench.replica("grower");
    let answer = bench.beside_neighbour(|| bench.hob.post("/function/grower", "grow"));
    assert_end(&answer, 502, "memory");
    bench.assert_ended("grower", &replica, "memory");
}

#[test]
fn a_server_of_several_processes_ends_as_a_whole_when_one_is_over_its_memory() {
    let Some(bench) = bench(&[]) else { return };
    let folder = bench.folder.path().join("forking");
    write(&folder.join("server.py"), FORKING);
    let settings = "run = \"exec python3 server.py\"\n[limits]\nmemory = \"48Mi\"\n";
    write(&folder.join("hob.toml"), settings);
    bench.deploy(&folder);
    let replica = bench.replica("forking");
    bench.hob.get("/function/forking").expect(200);
    let answer = bench.beside_neighbour(|| bench.hob.get("/function/forking/grow"));
    assert_end(&answer, 502, "memory");
    bench.assert_ended("forking", &replica, "memory");
}

#[test]
fn a_fork_bomb_ends_with_pids_and_no_process_of_it_is_left() {
    let Some(bench) = bench(&[]) else { return };
    bench.limited("bomb", BOMB, "[limits]\npids = 40\n");
    let replica = bench.replica("bomb");
    let answer = bench.beside_neighbour(|| bench.hob.post("/function/bomb", "bomb"));
    assert_end(&answer, 502, "pids");
    bench.assert_ended("bomb", &replica, "pids");
}

#[test]
fn a_call_that_takes_too_long_ends_with_timeout() {
    let Some(bench) = bench(&[]) else { return };
    let body = "import time\nif req == 'slow': time.sleep(600)\nreturn 'ok'";
    bench.limited("slow", body, "timeout = \"1s\"\n");
    let replica = bench.replica("slow");
    let answer = bench.beside_neighbour(|| bench.hob.post("/function/slow", "slow"));
    assert_end(&answer, 504, "timeout");
    bench.assert_ended("slow", &replica, "timeout");
}

#[test]
fn a_full_tmp_is_an_error_inside_the_function_and_its_memory_comes_back() {
    let Some(bench) = bench(&[]) else { return };
    bench.limited("filler", FILL, "[limits]\ntmp = \"16Mi\"\n");
    let replica = bench.replica("filler");
    let answer = bench.beside_neighbour(|| bench.hob.post("/function/filler", "fill"));
    assert_eq!(answer.expect(507).text(), ENOSPC);
    bench.assert_unhurt("filler", &replica);
    assert_eq!(bench.hob.get("/function/filler").text(), "full");
    let memory = || {
        let detail = bench.detail("filler");
        detail["instances"][0]["memory"].as_u64().unwrap()
    };
    let full = memory();
    assert!(full > 16 << 20, "{full}");
    bench.hob.cli(["scale", "filler", "0"]).ok();
    assert_eventually!(processes_of(&replica).is_empty());
    assert_eq!(bench.hob.get("/function/filler").expect(200).text(), "");
    let empty = memory();
    assert!(empty + (12 << 20) < full, "{empty} of {full}");
}

#[test]
fn files_beyond_the_limit_are_an_error_inside_the_function() {
    let Some(bench) = bench(&[]) else { return };
    bench.limited("opener", OPEN, "[limits]\nfiles = 32\n");
    let replica = bench.replica("opener");
    let answer = bench.beside_neighbour(|| bench.hob.post("/function/opener", "open"));
    let answer = answer.expect(503);
    let (error, held) = answer.text().split_once(' ').unwrap();
    assert_eq!(error, EMFILE);
    assert!(held.parse::<u32>().unwrap() < 32, "{held}");
    bench.assert_unhurt("opener", &replica);
}

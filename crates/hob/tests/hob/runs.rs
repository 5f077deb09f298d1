//! Scripts of strangers: `POST /run` and Piston's API through the real server and the real pool.

mod clients;
mod open;

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use bytes::Bytes;
use hob_testkit::{Answer, assert_eventually, has_programs, is_root};
use http::Request;
use serde_json::{Value, json};

use crate::bench::Bench;

/// Longest wait for what comes by itself.
const SOON: Duration = Duration::from_secs(20);

/// Whether this machine can make sandboxes that are tested here.
fn has_sandboxes() -> bool {
    is_root("make sandboxes with all their limits") && has_programs(&["bash"])
}

/// A server that runs scripts, with more of its table and of the tables below it.
fn sandboxed(settings: &str) -> Bench {
    Bench::configured(&format!("[sandbox]\nenabled = true\n{settings}"))
}

impl Bench {
    fn run(&self, query: &str, script: &str) -> Answer {
        self.hob.post(&format!("/run{query}"), script.to_owned())
    }

    /// Sends a script and reads nothing of the answer yet.
    fn begin(&self, query: &str, script: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.hob.address()).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let length = script.len();
        let head = format!("POST /run{query} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n");
        write!(stream, "{head}\r\n{script}").unwrap();
        stream
    }

    /// A value out of the metrics.
    fn measured(&self, name: &str) -> u64 {
        let metrics = self.hob.metrics();
        let mut lines = metrics.lines();
        let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {metrics}"))
            .parse()
            .unwrap()
    }
}

fn json_request(path: &str, body: &Value) -> Request<Bytes> {
    let request = Request::post(path).header("Content-Type", "application/json");
    request.body(body.to_string().into()).unwrap()
}

#[test]
fn a_script_is_run_and_its_events_are_those_that_clients_know() {
    if !has_sandboxes() {
        return;
    }
    let bench = sandboxed("name = \"c1\"\n");
    let answer = bench
        .run("", "echo '<hi>'; echo no >&2; exit 3")
        .expect(200);
    assert_eq!(answer.header("content-type"), "text/event-stream");
    assert_eq!(answer.header("coord"), "c1");
    assert!(!answer.header("worker").is_empty());
    let mut events: Vec<_> = answer.text().split_inclusive("\n\n").collect();
    assert_eq!(events.pop(), Some("event: exit\ndata: {\"code\":3}\n\n"));
    // Of two streams, nobody knows which one was written to first.
    events.sort_unstable();
    assert_eq!(
        events,
        [
            "event: stderr\ndata: \"no\\n\"\n\n",
            "event: stdout\ndata: \"\\u003chi\\u003e\\n\"\n\n",
        ]
    );
    for (script, code) in [("", 0), ("false", 1), ("nonesuch", 127), ("kill -9 $$", -1)] {
        let said = bench.run("?raw=1", script).expect(200);
        let last = format!("\nexit: {code}\n");
        assert!(said.text().ends_with(&last), "{script}: {}", said.text());
    }
    // Nothing gets lost, however much it is.
    let much = bench
        .run("?raw=1", "head -c 1000000 /dev/zero | tr '\\0' x")
        .expect(200);
    assert_eq!(much.text().len(), 1_000_000 + "\nexit: 0\n".len());
    let status = bench.hob.cli(["status", "-o", "json"]).json();
    assert!(
        status["sandboxes"]["size"].as_u64().unwrap() > 0,
        "{status}"
    );
    let wrong = bench.hob.get("/run").expect(405);
    assert_eq!(
        (wrong.header("allow"), wrong.text()),
        ("POST", "Method Not Allowed\n")
    );
}

#[test]
fn other_languages_files_and_input_come_by_json() {
    if !has_sandboxes() || !has_programs(&["python3", "node"]) {
        return;
    }
    let bench = sandboxed("");
    let python = "import sys, os; print(sys.argv[1:], os.environ['A'], open('a/b').read(), sys.stdin.read())";
    let order = json!({
        "lang": "python", "script": python, "args": ["x y"], "env": {"A": "1"}, "stdin": "in",
        "files": [{"name": "a/b", "content": "aGk=", "encoding": "base64"}], "raw": true,
    });
    let answer = bench.hob.send(json_request("/run", &order)).expect(200);
    assert_eq!(answer.text(), "['x y'] 1 hi in\n\nexit: 0\n");
    let answer = bench
        .run("?lang=js&raw=1", "console.log(1 + 1)")
        .expect(200);
    assert_eq!(answer.text(), "2\n\nexit: 0\n");
    let unknown = bench.run("?lang=cobol", "").expect(400);
    assert!(unknown.text().contains("cobol"), "{}", unknown.text());
}

#[test]
fn a_language_of_the_owners_is_one_as_all_others() {
    if !has_sandboxes() || !has_programs(&["awk"]) {
        return;
    }
    let bench = sandboxed(
        "[sandbox.languages.awk]\nrun = [\"awk\", \"-f\", \"{file}\"]\nfile = \"main.awk\"\naliases = [\"mawk\"]\n",
    );
    for name in ["awk", "mawk"] {
        let answer = bench.run(&format!("?raw=1&lang={name}"), "BEGIN { print 6 * 7 }");
        assert_eq!(answer.expect(200).text(), "42\n\nexit: 0\n");
    }
    let order = json!({"lang": "awk", "script": "{ print $2 }", "stdin": "a b\n", "raw": true});
    let answer = bench.hob.send(json_request("/run", &order)).expect(200);
    assert_eq!(answer.text(), "b\n\nexit: 0\n");
    let runtimes = bench.hob.get("/api/v2/runtimes").expect(200).json();
    let all = runtimes.as_array().unwrap();
    assert!(all.iter().any(|one| one["language"] == "awk"), "{runtimes}");
    let order = json!({
        "language": "mawk", "version": "*", "files": [{"content": "BEGIN { print 7 }"}],
    });
    let request = json_request("/api/v2/execute", &order);
    let answer = bench.hob.send(request).expect(200).json();
    assert_eq!(answer["run"]["stdout"], "7\n", "{answer}");
}

#[test]
fn whoever_asks_is_told_how_it_ended_and_all_others_see_the_deadline_as_ever() {
    if !has_sandboxes() {
        return;
    }
    let bench = sandboxed("[sandbox.limits]\ntime = \"1s\"\n");
    let silent = bench.run("", "sleep 9").expect(200);
    assert_eq!((silent.text(), silent.header("content-length")), ("", "0"));
    let cut = bench.run("", "echo x; sleep 9").expect(200);
    assert_eq!(cut.text(), "event: stdout\ndata: \"x\\n\"\n\n");
    let end = |query: &str, script: &str| -> Value {
        let answer = bench
            .run(&format!("?end=1&raw=1{query}"), script)
            .expect(200);
        let last = answer.text().lines().last().unwrap().to_owned();
        serde_json::from_str(&last).expect(&last)
    };
    let over = end("", "sleep 9");
    assert_eq!(
        (&over["end"], &over["code"]),
        (&json!("timeout"), &json!(-1))
    );
    assert_eq!(over["deadline"], true, "{over}");
    let busy = end("&cpu=200ms", "while :; do :; done");
    assert_eq!(
        (&busy["end"], &busy["deadline"]),
        (&json!("timeout"), &json!(false))
    );
    assert!(over["run_ms"].as_f64().unwrap() > 500.0, "{over}");
    let much = end("&output=1Ki", "yes");
    assert_eq!(much["end"], "output", "{much}");
    let fine = end("", "exit 3");
    assert_eq!((&fine["end"], &fine["code"]), (&json!("exit"), &json!(3)));
    let asked = bench.run("?time=2s", "").expect(400);
    assert!(
        asked.text().contains("sandbox.limits.time"),
        "{}",
        asked.text()
    );
    let large = bench.run("", &"x".repeat((4 << 20) + 1)).expect(413);
    assert!(
        large.text().contains("sandbox.limits.body"),
        "{}",
        large.text()
    );
}

#[test]
fn whoever_hangs_up_ends_his_run_or_leaves_the_line() {
    if !has_sandboxes() {
        return;
    }
    // So much time that no run ends by itself, however slow this machine is.
    let bench =
        sandboxed("pool = { size = 1, queue = 1 }\nlimits = { time = \"10m\", cpu = \"10m\" }\n");
    let leased = || bench.measured("hob_sandboxes{state=\"leased\"}");
    let cancelled = || bench.measured("hob_runs_total{reason=\"cancelled\"}");
    // Before a byte of the answer, and in the middle of it.
    for (script, reads) in [("sleep 300", false), ("echo on; sleep 300", true)] {
        let before = cancelled();
        let mut first = bench.begin("", script);
        assert_eventually!(leased() == 1, "nothing was run");
        if reads {
            let mut some = [0; 1];
            first.read_exact(&mut some).unwrap();
        }
        let second = bench.begin("", "sleep 300");
        assert_eventually!(bench.measured("hob_runs_waiting") == 1, "nobody waits");
        let third = bench.run("", "true").expect(503);
        assert!(!third.header("retry-after").is_empty());
        drop(second);
        assert_eventually!(bench.measured("hob_runs_waiting") == 0, "he still waits");
        drop(first);
        assert_eventually!(leased() == 0, "the run goes on");
        // Of the other nobody knows here whether its program had begun.
        if reads {
            assert_eventually!(cancelled() == before + 1, "nobody counts it");
        }
    }
    let next = bench.run("?raw=1", "echo next").expect(200);
    assert_eq!(next.text(), "next\n\nexit: 0\n");
    assert_eq!(bench.measured("hob_runs_refused_total{reason=\"full\"}"), 2);
}

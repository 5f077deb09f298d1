//! Replicas follow the load, and what was said of their number.

use std::{
    collections::BTreeSet,
    io::Write,
    net::{TcpListener, TcpStream},
    thread::{self, ScopedJoinHandle},
    time::Duration,
};

use hob_testkit::{Answer, Hob, assert_eventually, has_programs, wait_until};
use serde_json::{Value, json};

use crate::bench::{Bench, write};

/// More replicas are there within a second of the load; here with other tests on the machine.
const SOON: Duration = Duration::from_secs(6);

/// Asks the test when its call is to end.
const HELD: &str = "\
import socket
with socket.create_connection(('127.0.0.1', int(req))) as door:
    door.recv(1)
return 'done'";

/// Where the calls of a function come that wait for the test.
struct Door(TcpListener);

impl Door {
    fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    fn port(&self) -> String {
        self.0.local_addr().unwrap().port().to_string()
    }

    /// So many calls of `hold`, which go on until [`release`].
    fn calls<'a>(&self, scope: &'a thread::Scope<'a, '_>, hob: &'a Hob, calls: usize) -> Held<'a> {
        let call = |_| {
            let port = self.port();
            scope.spawn(move || hob.post("/function/hold", port))
        };
        let answers = (0..calls).map(call).collect();
        let streams = (0..calls).map(|_| self.0.accept().unwrap().0).collect();
        Held { answers, streams }
    }
}

/// Calls under way.
struct Held<'a> {
    answers: Vec<ScopedJoinHandle<'a, Answer>>,
    streams: Vec<TcpStream>,
}

impl Held<'_> {
    /// Lets the calls end but for `kept` of them.
    fn release(&mut self, kept: usize) {
        for mut stream in self.streams.split_off(kept) {
            stream.write_all(b"x").unwrap();
        }
    }

    /// All of them were answered by the function.
    fn end(mut self) {
        self.release(0);
        for answer in self.answers {
            assert_eq!(answer.join().unwrap().expect(200).text(), "done");
        }
    }
}

fn bench(settings: &str) -> Bench {
    let bench = Bench::new();
    let folder = bench.python("hold", HELD);
    write(&folder.join("hob.toml"), settings);
    bench.deploy(&folder);
    bench
}

fn shown(hob: &Hob) -> Value {
    hob.cli(["describe", "hold", "-o", "json"]).json()
}

/// Replicas that take calls, and those that are wanted.
fn counts(hob: &Hob) -> (u64, u64) {
    let shown = shown(hob);
    let number = |key: &str| shown[key].as_u64().unwrap();
    (number("ready"), number("replicas"))
}

/// Processes of the replicas that take calls.
fn pids(hob: &Hob) -> BTreeSet<u64> {
    let shown = shown(hob);
    let instances = shown["instances"].as_array().unwrap().iter();
    let ready = instances.filter(|one| one["state"] == "ready");
    ready.map(|one| one["pid"].as_u64().unwrap()).collect()
}

#[test]
fn replicas_come_with_load_up_to_the_most_and_go_without_cutting_a_call() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = bench("[scale]\nmax = 3\ntarget = 1\nwindow = \"1s\"\n");
    let (hob, door) = (&bench.hob, Door::new());
    assert_eq!(counts(hob), (1, 1));
    thread::scope(|scope| {
        let mut held = door.calls(scope, hob, 5);
        let mut most = 0;
        let there = wait_until(SOON, || {
            let (ready, _) = counts(hob);
            most = most.max(pids(hob).len());
            ready == 3
        });
        assert!(there, "{:?}", counts(hob));
        assert_eq!((most, counts(hob)), (3, (3, 3)));
        // The one that goes on may be on any of them.
        held.release(1);
        assert_eventually!(counts(hob) == (1, 1));
        held.end();
    });
    let shown = shown(hob);
    assert_eq!((&shown["calls"], &shown["failed"]), (&json!(5), &json!(0)));
}

#[test]
fn a_number_by_hand_is_the_least_until_another_is_given() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = bench("[scale]\nmax = 4\ntarget = 1\nwindow = \"1s\"\n");
    let (hob, door) = (&bench.hob, Door::new());
    let said = hob.cli(["scale", "hold", "2"]).ok();
    assert_eq!(said, "hold runs 2 replicas\n");
    assert_eq!(counts(hob), (2, 2));
    thread::scope(|scope| {
        let held = door.calls(scope, hob, 3);
        assert!(
            wait_until(SOON, || counts(hob) == (3, 3)),
            "{:?}",
            counts(hob)
        );
        let said = hob.cli(["scale", "hold"]).ok();
        for expected in ["3 ready of 3 wanted", "0, it may sleep", "1 call in flight"] {
            assert!(said.contains(expected), "no {expected} in {said}");
        }
        let said = hob.cli(["describe", "hold"]).ok();
        assert!(said.contains("0 to 4 replicas, one for 1 call "), "{said}");
        held.end();
    });
    assert_eventually!(counts(hob) == (2, 2), "{:?}", counts(hob));
    // More than its most is its most.
    assert_eq!(
        hob.cli(["scale", "hold", "9"]).ok(),
        "hold runs 4 replicas, by its settings and its load: `hob scale hold` shows them\n"
    );
    assert_eq!(
        hob.cli(["scale", "hold", "1"]).ok(),
        "hold runs 1 replica\n"
    );
    assert_eq!(counts(hob), (1, 1));
    hob.cli(["scale", "hold", "0"]).ok();
    assert_eq!(counts(hob), (0, 0));
}

#[test]
fn the_least_always_runs() {
    if !has_programs(&["python3"]) {
        return;
    }
    let mut bench = bench("[scale]\nmin = 2\n");
    assert_eq!(counts(&bench.hob), (2, 2));
    let before = pids(&bench.hob);
    let pid = i32::try_from(*before.first().unwrap()).unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    assert_eventually!(
        counts(&bench.hob) == (2, 2) && pids(&bench.hob) != before,
        "another takes its place"
    );
    let metrics = bench.hob.metrics();
    let of = "{function_name=\"hold.openfaas-fn\"} 2\n";
    assert!(metrics.contains(&format!("gateway_service_min{of}")));
    assert_eq!(
        bench.hob.cli(["scale", "hold", "1"]).ok(),
        "hold runs 2 replicas, by its settings and its load: `hob scale hold` shows them\n"
    );

    bench.hob.stop();
    bench.hob.restart();
    assert_eventually!(
        counts(&bench.hob) == (2, 2),
        "without a call: {:?}",
        counts(&bench.hob)
    );
    let before = pids(&bench.hob);
    bench.hob.kill();
    bench.hob.restart();
    assert_eq!(pids(&bench.hob), before);

    // Stopped is stopped, until somebody calls.
    bench.hob.cli(["scale", "hold", "0"]).ok();
    bench.hob.stop();
    bench.hob.restart();
    let door = Door::new();
    assert_eq!(counts(&bench.hob), (0, 0));
    thread::scope(|scope| door.calls(scope, &bench.hob, 1).end());
    assert_eventually!(counts(&bench.hob) == (2, 2));
}

#[test]
fn a_start_that_fails_takes_nothing_away() {
    if !has_programs(&["python3"]) {
        return;
    }
    // Asks the test whether it is to start.
    let server = "\
import http.server, os, socket, threading
lock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
lock.connect(('127.0.0.1', DOOR))
if lock.recv(1) != b'y':
    raise SystemExit('not me')
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        with socket.create_connection(('127.0.0.1', int(self.rfile.read(int(self.headers['Content-Length']))))) as door:
            door.recv(1)
        self.send_response_only(200)
        self.end_headers()
        self.wfile.write(b'done')
http.server.ThreadingHTTPServer(('127.0.0.1', int(os.environ['PORT'])), Handler).serve_forever()
";
    let (bench, gate, door) = (Bench::new(), Door::new(), Door::new());
    let folder = bench.folder.path().join("hold");
    write(
        &folder.join("server.py"),
        &server.replace("DOOR", &gate.port()),
    );
    let settings = "run = \"python3 server.py\"\n[scale]\ntarget = 1\nmax = 2\n";
    write(&folder.join("hob.toml"), settings);
    let hob = &bench.hob;
    thread::scope(|scope| {
        let deploy = scope.spawn(|| bench.deploy(&folder));
        let (mut first, _) = gate.0.accept().unwrap();
        first.write_all(b"y").unwrap();
        deploy.join().unwrap();
        let before = pids(hob);
        let held = door.calls(scope, hob, 2);
        // The pauses between them grow.
        for _ in 0..3 {
            gate.0.accept().unwrap().0.write_all(b"n").unwrap();
        }
        assert_eq!((pids(hob), counts(hob).1), (before, 2));
        let (mut last, _) = gate.0.accept().unwrap();
        last.write_all(b"y").unwrap();
        assert_eventually!(counts(hob) == (2, 2));
        held.end();
    });
}

/// Labels as a client of OpenFaaS writes them.
fn labels(labels: &[(&str, &str)]) -> String {
    let lines = labels.iter();
    let lines = lines.map(|(key, value)| format!("\"com.openfaas.scale.{key}\" = \"{value}\"\n"));
    format!("[labels]\n{}", lines.collect::<String>())
}

#[test]
fn labels_of_openfaas_mean_what_they_mean_there() {
    if !has_programs(&["python3"]) {
        return;
    }
    let capacity = [
        ("type", "capacity"),
        ("target", "4"),
        ("target-proportion", "0.25"),
        ("max", "2"),
        ("down.window", "1s"),
    ];
    let bench = bench(&labels(&capacity));
    let (hob, door) = (&bench.hob, Door::new());
    let folder = bench.folder.path().join("hold");
    let series = "gateway_service_target_load{function_name=\"hold.openfaas-fn\",scaling_type=";
    assert!(
        hob.metrics()
            .contains(&format!("{series}\"capacity\"}} 1\n"))
    );
    thread::scope(|scope| {
        let held = door.calls(scope, hob, 3);
        assert!(wait_until(SOON, || counts(hob) == (2, 2)), "of calls");
        held.end();
    });
    assert_eventually!(counts(hob) == (1, 1), "after the window");

    let redeploy = |pairs: &[(&str, &str)], more: &str| {
        write(
            &folder.join("hob.toml"),
            &format!("{}{more}", labels(pairs)),
        );
        bench.deploy(&folder);
        counts(hob)
    };
    assert_eq!(redeploy(&[("target", "3"), ("max", "3")], ""), (1, 1));
    thread::scope(|scope| {
        let faster = || {
            door.calls(scope, hob, 4).end();
            counts(hob).0 > 1
        };
        assert!(wait_until(SOON, faster), "of calls a second");
    });

    let queue = [
        ("type", "queue"),
        ("target", "1"),
        ("target-proportion", "1"),
    ];
    redeploy(&queue, "[async]\nconcurrency = 1\n");
    hob.cli(["scale", "hold", "1"]).ok();
    for _ in 0..3 {
        hob.cli(["invoke", "hold", "--async", "-d", &door.port()])
            .ok();
    }
    let (mut running, _) = door.0.accept().unwrap();
    assert!(
        wait_until(SOON, || counts(hob) == (3, 3)),
        "of calls that wait: {:?}",
        counts(hob)
    );
    for _ in 0..2 {
        running.write_all(b"x").unwrap();
        running = door.0.accept().unwrap().0;
    }
    running.write_all(b"x").unwrap();

    for (pairs, idle, min) in [
        (&[("zero", "true"), ("min", "2")][..], "15m", 0),
        (&[("zero", "true"), ("zero-duration", "9m")], "9m", 0),
        (&[("zero", "false")], "5m", 1),
    ] {
        redeploy(pairs, "");
        let said = hob.cli(["scale", "hold"]).ok();
        assert!(said.contains(&format!("min       {min}")), "{said}");
        assert_eq!(shown(hob)["settings"]["idle"], idle, "{pairs:?}");
    }
}

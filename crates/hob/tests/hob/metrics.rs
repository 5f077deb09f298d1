//! What Prometheus reads: names, labels and buckets are a contract with dashboards.

mod prometheus;
mod queue;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::Path,
    process::Stdio,
};

use bytes::Bytes;
use hob_testkit::{Cli, Hob, has_programs};
use http::{Method, Request};
use rustix::process::{Pid, Signal, kill_process};

use crate::bench::{Bench, HOB, write};

/// Every series: its name, its type and its labels.
const SERIES: &str = "\
gateway_function_invocation_inflight gauge function_name
gateway_function_invocation_started counter function_name
gateway_function_invocation_total counter code,function_name
gateway_functions_seconds histogram code,function_name
gateway_service_count gauge function_name
gateway_service_min gauge function_name
gateway_service_ready_count gauge function_name
gateway_service_target_load gauge function_name,scaling_type
hob_bans gauge 
hob_build_info gauge version
hob_calls_ended_total counter function_name,reason
hob_door_refused_total counter reason
hob_queue_callbacks gauge function_name,queue_name
hob_queue_dead gauge function_name,queue_name
hob_queue_died_total counter function_name,queue_name
hob_queue_retries_total counter function_name,queue_name
hob_refused_total counter reason
hob_replicas gauge state
hob_retries_total counter function_name
hob_wake_seconds histogram tier
http_request_duration_seconds histogram method,path,status
http_requests_total counter method,path,status
process_cpu_seconds_total counter 
process_resident_memory_bytes gauge 
process_start_time_seconds gauge 
queue_worker_function_invocation_inflight gauge function_name,queue_name
queue_worker_messages_processed_total counter function_name,queue_name
queue_worker_messages_submitted_total counter function_name,queue_name
queue_worker_pending_messages gauge function_name,queue_name
";

/// Prometheus's default buckets.
const BUCKETS: [&str; 12] = [
    "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf",
];

/// Answers as its body says.
const HANDLER: &str = "\
import time
if req == '404': return 'no', 404
if req == 'stream': return (b'x' * 65536 for _ in range(32))
if req == 'slow': time.sleep(60)
return 'ok'";

/// A server with the handler above, by the express lane as `plain` and by hyper as `wide`.
fn bench() -> Bench {
    let bench = Bench::new();
    for (name, settings) in [("plain", ""), ("wide", "cors = \"*\"\n")] {
        let folder = bench.python(name, HANDLER);
        write(
            &folder.join("hob.toml"),
            &format!("timeout = \"2s\"\n{settings}"),
        );
        bench.deploy(&folder);
    }
    bench
}

/// The value of a series, which is 0 when it is not there.
fn value(text: &str, series: &str) -> f64 {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(series));
    let value = lines.find_map(|rest| rest.strip_prefix(' '));
    value.map_or(0.0, |value| value.parse().expect("a number"))
}

/// How many calls of a function ended with a code.
fn ended(text: &str, name: &str, code: u16) -> f64 {
    let labels = format!("{{function_name=\"{name}.openfaas-fn\",code=\"{code}\"}}");
    let total = value(text, &format!("gateway_function_invocation_total{labels}"));
    let timed = value(text, &format!("gateway_functions_seconds_count{labels}"));
    assert_eq!(total, timed, "{name} {code}");
    total
}

/// The label names of a sample, but `le`.
fn labels(sample: &str) -> String {
    let inside = sample.split_once('{').map_or("", |(_, rest)| rest);
    let inside = inside.rsplit_once('}').map_or("", |(inside, _)| inside);
    let names = inside.split("\",").filter_map(|pair| pair.split_once('='));
    let names: BTreeSet<_> = names
        .map(|(name, _)| name)
        .filter(|name| *name != "le")
        .collect();
    names.into_iter().collect::<Vec<_>>().join(",")
}

/// Every series of an exposition, as in [`SERIES`].
fn series(text: &str) -> String {
    let mut types = BTreeMap::new();
    let mut found = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            types.insert(name, kind);
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().expect("a name");
            let parts = ["_bucket", "_sum", "_count"];
            let stem = parts.iter().find_map(|part| name.strip_suffix(part));
            let family = stem.filter(|stem| types.contains_key(stem)).unwrap_or(name);
            let kind = types.get(family).expect("a type above the samples");
            found.insert(format!("{family} {kind} {}\n", labels(line)));
        }
    }
    found.into_iter().collect()
}

#[test]
fn names_labels_and_buckets_are_what_dashboards_expect() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = bench();
    bench.hob.post("/function/plain", "hi").expect(200);
    bench.hob.post("/async-function/plain", "hi").expect(202);
    let text = bench.hob.metrics();
    assert_eq!(series(&text), SERIES);
    let bucket =
        "gateway_functions_seconds_bucket{function_name=\"plain.openfaas-fn\",code=\"200\",le=\"";
    let bounds = text.lines().filter_map(|line| line.strip_prefix(bucket));
    let bounds: Vec<_> = bounds.map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(bounds, BUCKETS);
    let answer = bench.hob.send_to_metrics(get("/metrics"));
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4");
}

#[test]
fn every_call_is_counted_once_with_its_code_and_its_end() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = bench();
    let hob = &bench.hob;
    for name in ["plain", "wide"] {
        let path = format!("/function/{name}");
        hob.post(&path, "hi").expect(200);
        hob.post(&path, "hi").expect(200);
        hob.post(&path, "404").expect(404);
        let streamed = hob.post(&path, "stream").expect(200);
        assert_eq!(streamed.body.len(), 32 * 65536);
        hob.post(&path, "slow").expect(504);
    }
    let text = hob.metrics();
    for name in ["plain", "wide"] {
        let codes = [200, 404, 504].map(|code| ended(&text, name, code));
        assert_eq!(codes, [3.0, 1.0, 1.0], "{name}:\n{text}");
        let of = |series: &str, more: &str| {
            value(
                &text,
                &format!("{series}{{function_name=\"{name}.openfaas-fn\"{more}}}"),
            )
        };
        assert_eq!(of("gateway_function_invocation_started", ""), 5.0);
        assert_eq!(of("gateway_function_invocation_inflight", ""), 0.0);
        assert_eq!(of("hob_calls_ended_total", ",reason=\"ok\""), 4.0);
        assert_eq!(of("hob_calls_ended_total", ",reason=\"timeout\""), 1.0);
        let late = of("gateway_functions_seconds_sum", ",code=\"504\"");
        assert!((2.0..60.0).contains(&late), "{late}");
        let quick = of("gateway_functions_seconds_bucket", ",code=\"504\",le=\"1\"");
        assert_eq!(quick, 0.0);
    }
    // The same numbers for people.
    let list = hob.cli(["list", "-o", "json"]).json();
    assert_eq!(
        (&list[0]["calls"], &list[0]["failed"]),
        (&5.into(), &1.into())
    );
}

#[test]
fn names_that_strangers_make_up_cost_nothing() {
    let bench = Bench::new();
    let hob = &bench.hob;
    bench.deploy(&bench.site("welcome", "hi"));
    hob.get("/function/welcome/").expect(200);
    hob.get("/function/welcome/none").expect(404);
    for path in [
        "/function/invented",
        "/invented",
        "/hob/v1/functions/invented",
    ] {
        assert!(hob.get(path).status.is_client_error());
    }
    hob.cli(["describe", "invented"]).fails(3);
    let brew = Request::builder().method("BREW").uri("/healthz");
    hob.send(brew.body(Bytes::new()).unwrap());

    let text = hob.metrics();
    assert!(
        !text.contains("invented") && !text.contains("BREW"),
        "{text}"
    );
    let codes = [200, 404].map(|code| ended(&text, "welcome", code));
    assert_eq!(codes, [1.0, 1.0]);
    for (labels, count) in [
        (
            "method=\"GET\",path=\"/hob/v1/functions/{name}\",status=\"401\"",
            1.0,
        ),
        (
            "method=\"GET\",path=\"/hob/v1/functions/{name}\",status=\"404\"",
            1.0,
        ),
        ("method=\"GET\",path=\"none\",status=\"401\"", 1.0),
        ("method=\"other\",path=\"/healthz\",status=\"405\"", 1.0),
    ] {
        let series = format!("http_requests_total{{{labels}}}");
        assert_eq!(value(&text, &series), count, "{labels}\n{text}");
    }
}

#[test]
fn replicas_and_wakes_are_seen() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    let hob = &bench.hob;
    let folder = bench.python("hello", "return 'hi'");
    bench.deploy(&folder);
    let seen = || {
        let text = hob.metrics();
        let of = |series: &str| {
            value(
                &text,
                &format!("{series}{{function_name=\"hello.openfaas-fn\"}}"),
            )
        };
        (
            [
                "gateway_service_count",
                "gateway_service_ready_count",
                "gateway_service_min",
            ]
            .map(of),
            value(&text, "hob_replicas{state=\"ready\"}"),
            value(&text, "hob_wake_seconds_count{tier=\"stopped\"}"),
        )
    };
    assert_eq!(seen(), ([1.0, 1.0, 1.0], 1.0, 0.0));
    hob.cli(["scale", "hello", "2"]).ok();
    assert_eq!(seen(), ([2.0, 2.0, 1.0], 2.0, 0.0));
    hob.cli(["scale", "hello", "0"]).ok();
    assert_eq!(seen(), ([0.0, 0.0, 1.0], 0.0, 0.0));
    hob.get("/function/hello").expect(200);
    assert_eq!(seen(), ([1.0, 1.0, 1.0], 1.0, 1.0));
    let labels = "[labels]\n\"com.openfaas.scale.min\" = \"2\"\n";
    write(&folder.join("hob.toml"), labels);
    bench.deploy(&folder);
    assert_eq!(seen().0[2], 2.0);
}

#[test]
fn a_redeploy_keeps_the_counts_and_a_removal_takes_them_away() {
    let bench = Bench::new();
    let hob = &bench.hob;
    let folder = bench.site("welcome", "one");
    bench.deploy(&folder);
    hob.get("/function/welcome/").expect(200);
    write(&folder.join("index.html"), "two");
    bench.deploy(&folder);
    hob.get("/function/welcome/").expect(200);
    assert_eq!(ended(&hob.metrics(), "welcome", 200), 2.0);
    hob.cli(["remove", "welcome"]).ok();
    assert!(!hob.metrics().contains("welcome"));
    bench.deploy(&folder);
    assert_eq!(ended(&hob.metrics(), "welcome", 200), 0.0);
}

fn get(path: &str) -> Request<Bytes> {
    Request::builder().uri(path).body(Bytes::new()).unwrap()
}

#[test]
fn the_address_has_metrics_and_health_and_nothing_else() {
    let bench = Bench::new();
    let hob = &bench.hob;
    let health = hob.send_to_metrics(get("/healthz")).expect(200);
    assert_eq!(health.text(), "OK");
    for path in ["/", "/metrics/", "/hob/v1/status", "/function/hello"] {
        hob.send_to_metrics(get(path)).expect(404);
    }
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let request = Request::builder().method(method).uri("/metrics");
        hob.send_to_metrics(request.body(Bytes::new()).unwrap())
            .expect(405);
    }
    // And they are nowhere else without a password.
    hob.get("/metrics").expect(401);
    let url = format!("http://{}/metrics", hob.metrics_address().unwrap());
    assert_eq!(hob.cli(["status", "-o", "json"]).json()["metrics"], url);
    assert!(hob.cli(["status"]).ok().contains(&url));
    assert!(hob.cli(["doctor"]).stdout.contains(&url));
}

#[test]
fn callers_that_never_read_do_not_keep_prometheus_out() {
    let bench = Bench::new();
    let address = bench.hob.metrics_address().unwrap();
    // More than are served at once, none of which finishes its head.
    let silent: Vec<_> = (0..10)
        .map(|_| {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            stream.write_all(b"GET /metrics HT").unwrap();
            stream
        })
        .collect();
    assert!(bench.hob.metrics().contains("hob_build_info"));
    drop(silent);
}

#[test]
fn no_metrics_when_they_are_off() {
    let hob = Hob::builder(HOB).args(["--metrics", "off"]).start();
    assert_eq!(hob.metrics_address(), None);
    assert!(hob.cli(["status", "-o", "json"]).json()["metrics"].is_null());
}

#[test]
fn an_address_that_is_taken_is_an_error_only_when_it_was_asked_for() {
    let data = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let up = || {
        let up = Cli::new(Path::new(HOB)).args(["up", "--listen", "127.0.0.1:0", "--data"]);
        up.args([data.path()])
    };
    let line = up().args(["--metrics", &address]).run().fails(1);
    assert!(line.contains(&format!("{address} is taken")), "{line}");
    assert!(line.contains("--metrics 127.0.0.1:"), "{line}");
    let line = up().args(["--metrics", "8082"]).run().fails(64);
    assert!(line.contains("`off`"), "{line}");

    // Whoever has the usual address, this test or another program.
    let _usual = TcpListener::bind("127.0.0.1:8082");
    let mut second = up().into_command().stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(second.stdout.take().unwrap()).lines();
    let lines: Vec<_> = lines
        .map(Result::unwrap)
        .take_while(|line| !line.starts_with("ready"))
        .collect();
    kill_process(Pid::from_child(&second), Signal::TERM).unwrap();
    assert!(second.wait().unwrap().success());
    let warning = "warning: there are no metrics: 127.0.0.1:8082 is taken";
    assert!(
        lines.iter().any(|line| line.starts_with(warning)),
        "{lines:?}"
    );
}

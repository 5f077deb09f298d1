//! How often, how many and how deep functions are called, by their settings and the server's.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use bytes::Bytes;
use hob_testkit::{assert_eventually, has_programs};
use http::{Method, Request};

use crate::bench::{Bench, write};

/// Calls itself, at once or later, with the field that tells how deep it is.
const LOOP: &str = "\
import urllib.error, urllib.request
def handle(event, context):
    print('depth', event.headers['X-Hob-Depth'], flush=True)
    port, path = event.body.decode().split()
    request = urllib.request.Request(f'http://127.0.0.1:{port}/{path}/loop', data=event.body)
    request.add_header('X-Hob-Depth', event.headers['X-Hob-Depth'])
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.read(), answer.status
    except urllib.error.HTTPError as error:
        return error.read(), error.code
";

impl Bench {
    /// Deploys a site with these settings: it answers, and needs no program.
    fn deploy_site(&self, name: &str, settings: &str) {
        let folder = self.site(name, "here");
        write(&folder.join("hob.toml"), settings);
        self.deploy(&folder);
    }

    fn deploy_loop(&self) {
        let folder = self.folder.path().join("loop");
        write(&folder.join("handler.py"), LOOP);
        self.deploy(&folder);
    }
}

#[test]
fn a_rate_is_a_setting_of_a_function() {
    let bench = Bench::new();
    bench.deploy_site("often", "rate = \"3/1h\"\n");
    for left in [2, 1, 0] {
        let answer = bench.hob.get("/function/often/").expect(200);
        assert_eq!(answer.header("ratelimit-policy"), "\"default\";q=3;w=3600");
        let standing = format!("\"default\";r={left};t=");
        assert!(answer.header("ratelimit").starts_with(&standing));
    }
    let refused = bench.hob.get("/function/often/").expect(429);
    assert!(
        refused
            .text()
            .starts_with("function `often` takes 3/1h calls of one caller")
    );
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=1200).contains(&wait), "{wait}");
    // A deploy is no way around it.
    bench.deploy_site("often", "rate = \"3/1h\"\ntimeout = \"5s\"\n");
    bench.hob.get("/function/often/").expect(429);
    let metrics = bench.hob.metrics();
    for line in [
        "hob_refused_total{reason=\"rate\"} 2",
        "hob_refused_total{reason=\"brake\"} 0",
        "gateway_function_invocation_total{function_name=\"often.openfaas-fn\",code=\"429\"} 2",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    // A new setting begins anew.
    bench.deploy_site(
        "often",
        "rate = { limit = \"1/1h\", burst = 2, by = \"header:X-Key\" }\n",
    );
    let by = |key: &str| {
        let request = Request::get("/function/often/").header("X-Key", key);
        bench.hob.send(request.body(Bytes::new()).unwrap()).status
    };
    let statuses = ["a", "a", "a", "b"].map(|key| by(key).as_u16());
    assert_eq!(statuses, [200, 200, 429, 200]);
}

#[test]
fn mistakes_in_a_rate_are_named() {
    let bench = Bench::new();
    let folder = bench.site("odd", "here");
    for (settings, problem) in [
        ("rate = 5", "expected calls and a time, as in \"60/1m\""),
        (
            "rate = \"often\"",
            "rate `often` is invalid: write calls and a time",
        ),
        ("[rate]\nlimit = \"5/s\"\nbust = 1", "unknown field `bust`"),
        (
            "[rate]\nlimit = \"5/s\"\nby = \"ip\"",
            "`ip` is no kind of caller",
        ),
        ("rate = \"5/2d\"", "a time of 1s to 1d"),
    ] {
        write(&folder.join("hob.toml"), settings);
        let folder = folder.to_str().unwrap();
        let line = bench.hob.cli(["deploy", folder]).fails(1);
        assert!(line.contains(problem), "{settings}: {line}");
    }
}

#[test]
fn the_server_has_a_rate_and_a_brake_for_all() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::configured("[limits]\nrate = \"2/1h\"\ncalls = 1\n");
    bench.deploy_site("usual", "");
    bench.deploy_site("own", "rate = \"1000/1s\"\n");
    for status in [200, 200, 429] {
        bench.hob.get("/function/usual/").expect(status);
    }
    // A call that is held until its body has come.
    let folder = bench.python("held", "return req");
    write(&folder.join("hob.toml"), "rate = \"1000/1s\"\n");
    bench.deploy(&folder);
    let mut held = TcpStream::connect(bench.hob.address()).unwrap();
    held.set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    held.write_all(b"POST /function/held HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nConnection: close\r\n\r\na")
        .unwrap();
    assert_eventually!(bench.hob.get("/function/own/").status == 503);
    let refused = bench.hob.get("/function/own/").expect(503);
    assert_eq!(refused.header("retry-after"), "1");
    assert!(refused.text().contains("raise `limits.calls`"));
    // Neither health nor the API is a call.
    bench.hob.get("/healthz").expect(200);
    assert!(bench.hob.cli(["list"]).ok().contains("held"));
    held.write_all(b"b").unwrap();
    let mut answer = String::new();
    held.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("ab"),
        "{answer}"
    );
    bench.hob.get("/function/own/").expect(200);
    // Whoever hangs up gives its place back too.
    let mut left = TcpStream::connect(bench.hob.address()).unwrap();
    left.write_all(b"POST /function/held HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\na")
        .unwrap();
    assert_eventually!(bench.hob.get("/function/own/").status == 503);
    drop(left);
    assert_eventually!(bench.hob.get("/function/own/").status == 200);
    assert!(
        !bench
            .hob
            .metrics()
            .contains("hob_refused_total{reason=\"brake\"} 0")
    );
}

#[test]
fn a_function_that_calls_itself_is_cut() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::configured("[limits]\ndepth = 5\n");
    bench.deploy_loop();
    let port = bench.hob.address().port();
    let answer = bench.hob.post("/function/loop", format!("{port} function"));
    let text = answer.expect(508).text().to_owned();
    assert!(
        text.contains("call number 6 in a chain of functions"),
        "{text}"
    );
    let logs = || bench.hob.cli(["logs", "loop"]).ok();
    assert_eventually!(logs().matches("depth ").count() == 5);
    for depth in 1..=5 {
        assert!(logs().contains(&format!("depth {depth}")));
    }
    // The same by the queue, where each call is over before the next begins.
    let later = format!("{port} async-function");
    let request = Request::builder()
        .method(Method::POST)
        .uri("/async-function/loop");
    let taken = bench.hob.send(request.body(Bytes::from(later)).unwrap());
    assert_eq!(taken.status, 202);
    assert_eventually!(logs().matches("depth ").count() == 10);
    assert!(logs().matches("depth 5").count() == 2);
    let refused = "hob_refused_total{reason=\"depth\"} 2";
    assert_eventually!(bench.hob.metrics().contains(refused));
}

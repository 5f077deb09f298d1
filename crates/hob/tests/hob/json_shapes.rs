//! The JSON that programs read: its keys are a contract.

use hob_testkit::{assert_eventually, has_programs};
use serde_json::Value;

use crate::bench::Bench;

fn keys(value: &Value) -> Vec<&str> {
    let object = value.as_object().expect("an object");
    let mut keys: Vec<_> = object.keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn every_list_has_its_shape() {
    let bench = Bench::configured("[tls]\nlisten = \"127.0.0.1:0\"\nown = true\n");
    let hob = &bench.hob;
    bench.deploy(&bench.site("welcome", "hi"));
    let json = |args: &[&str]| hob.command().args(args).args(["-o", "json"]).run().json();

    let list = json(&["list"]);
    let summary = [
        "calls",
        "failed",
        "frozen",
        "language",
        "memory",
        "name",
        "path",
        "ready",
        "replicas",
        "revision",
        "revision_number",
        "state",
        "updated_at",
        "wakes",
    ];
    assert_eq!(keys(&list[0]), summary);
    assert_eq!(keys(&list[0]["wakes"]), ["frozen", "stopped"]);
    assert_eq!(list[0]["path"], "/function/welcome");
    assert_eq!(list[0]["language"], "static");

    let detail = json(&["describe", "welcome"]);
    let mut more = [
        &summary[..],
        &["created_at", "instances", "last_end", "settings"],
    ]
    .concat();
    more.sort_unstable();
    assert_eq!(keys(&detail), more);

    let status = json(&["status"]);
    let expected = [
        "by_function",
        "context",
        "data",
        "functions",
        "gateway",
        "isolation",
        "memory",
        "metrics",
        "pid",
        "replicas",
        "sandboxes",
        "tls",
        "uptime",
        "version",
        "warnings",
    ];
    assert_eq!(keys(&status), expected);
    assert_eq!(status["functions"], 1);
    assert_eq!(status["by_function"], list);
    assert_eq!(status["gateway"], hob.url());

    hob.command()
        .args(["secret", "set", "key"])
        .stdin("x")
        .run()
        .ok();
    assert_eq!(keys(&json(&["secret", "list"])[0]), ["name", "namespace"]);

    let record = ["action", "at", "from", "status", "target", "who"];
    assert_eq!(keys(&json(&["audit"])[0]), record);
    let context = ["name", "server", "used", "user"];
    assert_eq!(keys(&json(&["context", "list"])[0]), context);
    let shown = ["file", "name", "own_ca", "server", "used", "user"];
    assert_eq!(keys(&json(&["context", "show"])), shown);

    let made = json(&["token", "create", "ci", "--scope", "admin"]);
    let token = ["created_at", "expires_at", "last_used_at", "name", "scopes"];
    assert_eq!(keys(&made), [&token[..], &["token"]].concat());
    assert_eq!(keys(&json(&["token", "list"])[0]), token);

    let ban = ["address", "origin", "reason", "since", "times", "until"];
    let banned = json(&["ban", "add", "192.0.2.1", "--forever"]);
    assert_eq!(keys(&banned), ban);
    assert_eq!(banned["until"], Value::Null);
    assert_eq!(json(&["ban", "list"])[0], banned);

    let certificates = json(&["certificate", "list"]);
    let certificate = [
        "ends", "file", "hosts", "issuer", "problem", "renews", "source",
    ];
    assert_eq!(keys(&certificates[0]), certificate);
    assert_eq!(certificates[0]["source"], "own");
}

#[test]
fn a_queued_call_has_its_shape() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    let hob = &bench.hob;
    bench.deploy(&bench.python("hello", "return 'hi'"));
    let id = hob.cli(["invoke", "hello", "--async", "-d", "x"]).ok();
    let show = || hob.cli(["queue", "show", id.trim(), "-o", "json"]).json();
    assert_eventually!(show()["state"] == "done");
    let summary = [
        "attempts", "callback", "due_at", "end", "ended_at", "function", "id", "millis", "path",
        "problem", "state", "status", "taken_at",
    ];
    let list = hob.cli(["queue", "list", "-o", "json"]).json();
    assert_eq!(keys(&list), ["calls", "functions", "more"]);
    assert_eq!(keys(&list["calls"][0]), summary);
    let depth = [
        "callbacks",
        "dead",
        "died",
        "done",
        "function",
        "retried",
        "running",
        "taken",
        "waiting",
    ];
    assert_eq!(keys(&list["functions"][0]), depth);
    let shown = show();
    let mut more = [&summary[..], &["answer"]].concat();
    more.sort_unstable();
    assert_eq!(keys(&shown), more);
    assert_eq!(keys(&shown["answer"]), ["cut", "headers", "text"]);
}

#[test]
fn the_doctor_says_of_each_thing_how_it_is() {
    let bench = Bench::new();
    let findings = bench.hob.cli(["doctor", "-o", "json"]).json();
    let findings = findings.as_array().unwrap();
    for finding in findings {
        let state = finding["state"].as_str().unwrap();
        assert!(["ok", "limited", "broken"].contains(&state), "{finding}");
        assert!(
            !finding["detail"].as_str().unwrap().contains('\n'),
            "{finding}"
        );
    }
    for check in [
        "kernel",
        "isolation container",
        "isolation process",
        "cgroup limits",
        "freezing",
        "seccomp",
        "landlock",
        "language python",
        "language rust",
        "data directory",
        "disk",
        "server",
    ] {
        assert!(
            findings.iter().any(|finding| finding["check"] == check),
            "no {check} in {findings:?}"
        );
    }
    let server = findings.iter().find(|finding| finding["check"] == "server");
    assert_eq!(server.unwrap()["state"], "ok");
}

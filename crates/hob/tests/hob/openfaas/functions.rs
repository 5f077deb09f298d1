//! Functions at `/system`: what comes back, their replicas, and what they use.

use hob_testkit::{Hob, has_programs};
use serde_json::{Value, json};

use super::client::{IMAGE, NONE, ask, ask_as, hello, walk};
use crate::{
    bench::Bench,
    images::desk::{Recipe, hob},
};

#[test]
fn what_was_sent_comes_back_exactly() {
    if !has_programs(&["busybox"]) {
        return;
    }
    let hob = hob(&[Recipe::default()]).start();
    let secrets = json!({"name": "b", "value": "1"});
    ask(&hob, "POST /system/secrets", &secrets).expect(202);
    let secrets = json!({"name": "a", "value": "1"});
    ask(&hob, "POST /system/secrets", &secrets).expect(202);
    let asked = hello(json!({
        "envProcess": "cat", "envVars": {"A": "b"}, "constraints": ["y", "x"],
        "secrets": ["b", "a"], "labels": {"team": "a"}, "annotations": {"topic": "many\nlines"},
        "limits": {"memory": "20m", "cpu": "100m", "nvidia.com/gpu": "1"},
        "requests": {"memory": "5Mi"}, "readOnlyRootFilesystem": true, "registryAuth": "old",
    }));
    ask(&hob, "POST /system/functions", &asked).expect(202);
    ask(&hob, "POST /system/functions", &asked).expect(409);
    let show = |query: &str| {
        let line = format!("GET /system/function/hello{query}");
        ask(&hob, &line, &NONE).expect(200).json()
    };
    let kept = [
        "image",
        "envProcess",
        "envVars",
        "constraints",
        "secrets",
        "annotations",
        "limits",
        "requests",
        "readOnlyRootFilesystem",
    ];
    for seen in [show(""), show("?namespace=openfaas-fn"), listed(&hob, "x")] {
        for key in kept {
            assert_eq!(seen[key], asked[key], "{key}");
        }
        assert_eq!(seen["namespace"], "openfaas-fn");
        assert_eq!(seen["availableReplicas"], 1);
        assert!(seen.get("usage").is_none());
    }
    // Clients do not agree on what is added to the labels.
    let keys = |value: &Value| -> Vec<String> {
        let labels = value["labels"].as_object().unwrap();
        labels.keys().cloned().collect()
    };
    assert_eq!(keys(&listed(&hob, "x")), ["faas_function", "team"]);
    assert_eq!(keys(&listed(&hob, "faas-cli/0.17.4")), ["team"]);
    let three = ["com.openfaas.function", "function", "team", "uid"];
    assert_eq!(keys(&show("")), three);
    let spaced = show("?namespace=openfaas-fn");
    assert_eq!(keys(&spaced), ["faas_function", "team"]);
    assert_eq!(spaced["labels"]["faas_function"], "hello");

    // What is left out is left out, but what clients look into without asking is there.
    let bare = json!({
        "service": "bare", "image": IMAGE, "network": "none", "namespace": "",
        "labels": null, "annotations": null, "envVars": null, "secrets": null,
        "constraints": null, "limits": null, "requests": null, "envProcess": null,
    });
    ask(&hob, "POST /system/functions", &bare).expect(202);
    let seen = ask(
        &hob,
        "GET /system/function/bare?namespace=openfaas-fn",
        &NONE,
    );
    let seen = seen.expect(200).json();
    for key in ["envVars", "limits", "requests", "secrets", "envProcess"] {
        assert!(seen.get(key).is_none(), "{key}: {seen}");
    }
    assert_eq!(seen["annotations"], json!({}));
    hob.get("/function/bare").expect(200);

    walk(
        &hob,
        &[
            (
                "DELETE /system/functions?namespace=openfaas-fn",
                json!({"functionName": "bare"}),
                202,
                "",
            ),
            ("GET /system/function/bare", NONE, 404, ""),
            ("GET /system/function/hello.openfaas-fn", NONE, 200, "hello"),
        ],
    );
}

fn listed(hob: &Hob, agent: &str) -> Value {
    let line = "GET /system/functions?namespace=openfaas-fn";
    let all = ask_as(hob, line, &NONE, agent).expect(200).json();
    let mut all = all.as_array().unwrap().iter();
    all.find(|one| one["name"] == "hello").unwrap().clone()
}

#[test]
fn an_unchanged_update_touches_nothing() {
    if !has_programs(&["busybox"]) {
        return;
    }
    let hob = hob(&[Recipe::default()]).start();
    let asked = |team: &str, word: &str| {
        hello(json!({"labels": {"team": team}, "envVars": {"WORD": word}}))
    };
    let replicas = || {
        let seen = hob.cli(["describe", "hello", "-o", "json"]).json();
        let instances = seen["instances"].as_array().unwrap().iter();
        let ready = instances.filter(|one| one["state"] == "ready");
        let ids: Vec<_> = ready.map(|one| one["id"].clone()).collect();
        (seen["revision"].clone(), ids)
    };
    ask(&hob, "POST /system/functions", &asked("a", "one")).expect(202);
    let first = replicas();
    let put = |body: &Value| ask(&hob, "PUT /system/functions", body).expect(202);
    put(&asked("a", "one"));
    assert_eq!(replicas(), first);
    // Words for people are no reason to start anything.
    put(&asked("b", "one"));
    assert_eq!(replicas(), first);
    assert_eq!(listed(&hob, "faas-cli/1")["labels"], json!({"team": "b"}));
    // Nor is there one where somebody wants none to run.
    hob.cli(["scale", "hello", "0"]).ok();
    put(&asked("b", "one"));
    assert_eq!(listed(&hob, "x")["availableReplicas"], 0);
    put(&asked("b", "two"));
    assert_ne!(replicas().0, first.0);
}

#[test]
fn replicas_follow_labels_and_orders() {
    if !has_programs(&["busybox"]) {
        return;
    }
    let hob = hob(&[Recipe::default()]).start();
    let labels = json!({"labels": {
        "com.openfaas.scale.min": "2", "com.openfaas.scale.max": "5",
        "com.openfaas.scale.factor": "40", "com.openfaas.scale.type": "rps",
        "com.openfaas.scale.target": "50", "com.openfaas.scale.zero": "true",
        "com.openfaas.scale.zero-duration": "15m",
    }});
    ask(&hob, "POST /system/functions", &hello(labels)).expect(202);
    let counts = || {
        let seen = ask(&hob, "GET /system/function/hello", &NONE)
            .expect(200)
            .json();
        (
            seen["replicas"].as_u64().unwrap(),
            seen["availableReplicas"].as_u64().unwrap(),
        )
    };
    assert_eq!(counts(), (2, 2));
    let scale = "POST /system/scale-function/hello";
    for (body, expected) in [
        (json!({"serviceName": "hello", "replicas": 3}), 3),
        (
            json!({"service": "hello", "replicas": 1, "namespace": "openfaas-fn"}),
            2,
        ),
        (json!({"replicas": 0}), 0),
    ] {
        ask(&hob, scale, &body).expect(202);
        assert_eq!(counts(), (expected, expected), "{body}");
    }
    hob.get("/function/hello").expect(200);
    assert_eq!(counts(), (2, 2));

    let alert = |status: &str| {
        let labels = json!({"alertname": "x", "function_name": "hello.openfaas-fn"});
        let body = json!({
            "receiver": "scale-up", "status": status,
            "alerts": [{"status": status, "labels": labels}],
        });
        ask(&hob, "POST /system/alert", &body).expect(200);
        counts().0
    };
    ask(&hob, scale, &json!({"replicas": 2})).expect(202);
    assert_eq!(
        [alert("firing"), alert("firing"), alert("firing")],
        [4, 5, 5]
    );
    assert_eq!(alert("resolved"), 2);
    ask(&hob, scale, &json!({"replicas": 1000})).expect(400);
}

#[test]
fn what_a_function_uses_is_told_who_asks() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    bench.deploy(&bench.python("hello", "return req"));
    let show = |query: &str| {
        let line = format!("GET /system/function/hello?namespace=openfaas-fn{query}");
        ask(&bench.hob, &line, &NONE).expect(200).json()
    };
    bench.hob.post("/function/hello", "x").expect(200);
    let seen = show("&usage=1");
    assert_eq!(seen["invocationCount"], 1.0);
    let capable = bench.hob.cli(["describe", "hello", "-o", "json"]).json();
    let instance = &capable["instances"][0];
    // Where no cgroup counts, there is nothing to tell.
    if instance["memory"].is_u64() {
        assert!(
            seen["usage"]["totalMemoryBytes"].as_f64().unwrap() > 0.0,
            "{seen}"
        );
    }
    if instance["cpu_seconds"].is_f64() {
        assert!(seen["usage"]["cpu"].as_f64().unwrap() > 0.0, "{seen}");
    }
    assert!(show("").get("usage").is_none());
}

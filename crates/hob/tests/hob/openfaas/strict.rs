//! The whole of `/system`, status code for status code.

use hob_testkit::{Hob, assert_eventually, has_programs};
use serde_json::{Value, json};

use super::client::{ask, ask_as, walk};
use crate::{
    bench::{Bench, HOB},
    images::desk::{Recipe, hob},
};

const NONE: Value = Value::Null;
const IMAGE: &str = "local.test/hello:1";

/// A function of an image, with no network, so that the test needs no rights over this machine's.
fn hello(more: Value) -> Value {
    let mut asked = json!({"service": "hello", "image": IMAGE, "network": "none"});
    asked
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    asked
}

#[test]
fn strangers_are_told_so() {
    let hob = Hob::start(HOB);
    for path in [
        "/system/functions",
        "/system/function/hello",
        "/system/secrets",
        "/system/namespaces",
        "/system/info",
        "/system/telemetry",
    ] {
        let answer = hob.get(path).expect(401);
        assert!(answer.text().starts_with("invalid credentials"), "{path}");
        assert!(
            answer
                .header("www-authenticate")
                .starts_with("Basic realm=")
        );
    }
    hob.post("/system/alert", "{}").expect(401);
    hob.get("/healthz").expect(200);
    hob.post("/healthz", "").expect(405);
    walk(
        &hob,
        &[
            ("GET /system/nothing", NONE, 404, ""),
            ("PATCH /system/functions", NONE, 405, ""),
            ("PUT /system/info", NONE, 405, ""),
            ("GET /system/scale-function/hello", NONE, 405, ""),
            ("GET /system/functions", NONE, 200, "[]"),
            ("GET /system/secrets", NONE, 200, "[]"),
            ("GET /system/namespaces", NONE, 200, "[\"openfaas-fn\"]"),
            ("GET /system/telemetry", NONE, 200, "\"functions\":0"),
        ],
    );
    let info = ask(&hob, "GET /system/info", &NONE).expect(200).json();
    assert_eq!(info["provider"]["provider"], "hob");
    assert_eq!(info["arch"], std::env::consts::ARCH);
    for version in [&info["version"], &info["provider"]["version"]] {
        for key in ["release", "sha", "commit_message"] {
            assert!(!version[key].as_str().unwrap().is_empty(), "{key}: {info}");
        }
    }
    assert!(
        !info["provider"]["orchestration"]
            .as_str()
            .unwrap()
            .is_empty()
    );
}

#[test]
fn mistakes_are_named() {
    let hob = Hob::start(HOB);
    let put = "PUT /system/functions";
    let post = "POST /system/functions";
    let image = |more: Value| hello(more);
    walk(
        &hob,
        &[
            (post, json!("x"), 400, "failed to unmarshal request"),
            (post, NONE, 400, "failed to unmarshal request"),
            (
                post,
                json!({"image": "x"}),
                400,
                "validation failed: service: is required",
            ),
            (
                post,
                json!({"service": "x"}),
                400,
                "validation failed: image: is required",
            ),
            (
                post,
                json!({"service": "a_b", "image": "x"}),
                400,
                "service: (a_b) is invalid, must be a valid DNS entry",
            ),
            (
                put,
                image(json!({})),
                404,
                "function `hello` does not exist",
            ),
            (
                post,
                image(json!({"namespace": "nowhere"})),
                400,
                "namespace not valid",
            ),
            (
                post,
                image(json!({"namespace": "No_Name"})),
                400,
                "namespace not valid",
            ),
            (
                post,
                image(json!({"namespace": "openfaas"})),
                400,
                "namespace not valid",
            ),
            (
                post,
                image(json!({"namespace": "kube-system"})),
                401,
                "kube-system",
            ),
            (
                post,
                image(json!({"image": "Not A Name"})),
                400,
                "Not A Name",
            ),
            (
                post,
                image(json!({"secrets": ["gone"]})),
                400,
                "secret `gone` does not exist",
            ),
            (
                post,
                image(json!({"limits": {"memory": "much"}})),
                400,
                "memory `much`",
            ),
            (
                post,
                image(json!({"labels": {"com.openfaas.scale.min": "few"}})),
                400,
                "label `com.openfaas.scale.min`",
            ),
            (
                post,
                image(json!({"image": "hob.local/hello:0123456789ab"})),
                400,
                "nor bundle `0123456789ab` on this machine: `hob deploy`",
            ),
            (
                post,
                image(json!({"envVars": {"A": "\u{0}"}})),
                400,
                "NUL byte",
            ),
            (post, image(json!({"envProcess": "\u{0}"})), 400, "NUL byte"),
            ("GET /system/function/%FF", NONE, 400, "path"),
            ("GET /system/function/hello", NONE, 404, ""),
            (
                "GET /system/functions?namespace=nowhere",
                NONE,
                400,
                "namespace not valid",
            ),
            (
                "GET /system/secrets?namespace=nowhere",
                NONE,
                400,
                "namespace not valid",
            ),
            (
                "DELETE /system/functions",
                json!({"functionName": "hello"}),
                404,
                "",
            ),
            ("DELETE /system/functions", json!({}), 400, "is invalid"),
            (
                "DELETE /system/functions",
                json!(1),
                400,
                "failed to unmarshal",
            ),
            (
                "POST /system/scale-function/hello",
                json!({"replicas": 1}),
                404,
                "",
            ),
            (
                "POST /system/scale-function/hello",
                json!({}),
                400,
                "replicas",
            ),
            (
                "POST /system/scale-function/hello",
                json!({"replicas": -1}),
                400,
                "",
            ),
            ("POST /system/alert", json!("x"), 400, "failed to unmarshal"),
            (
                "POST /system/alert",
                json!({"alerts": [{"status": "firing", "labels": {"function_name": "a.b"}}]}),
                500,
                "function `a.b` does not exist",
            ),
            (
                "POST /system/alert",
                json!({"status": "firing", "alerts": []}),
                200,
                "",
            ),
        ],
    );
}

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
            1,
        ),
        (json!({"replicas": 0}), 0),
    ] {
        ask(&hob, scale, &body).expect(202);
        assert_eq!(counts(), (expected, expected), "{body}");
    }
    hob.get("/function/hello").expect(200);
    assert_eq!(counts(), (1, 1));

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

#[test]
fn secrets_are_kept_byte_for_byte() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    let hob = &bench.hob;
    let path = "/system/secrets";
    let [get, post, put, delete] =
        ["GET", "POST", "PUT", "DELETE"].map(|method| format!("{method} {path}"));
    // "p4ss\n"
    let both = json!({"name": "key", "value": "p4ss", "rawValue": "cDRzcwo="});
    walk(
        hob,
        &[
            (&put, both.clone(), 404, "secret `key` does not exist"),
            (&post, both.clone(), 202, ""),
            (&post, both.clone(), 409, "already exists"),
            (
                &get,
                NONE,
                200,
                r#"[{"name":"key","namespace":"openfaas-fn"}]"#,
            ),
            (
                &post,
                json!({"name": "", "value": "x"}),
                400,
                "name: is required",
            ),
            (
                &post,
                json!({"name": "../x", "value": "x"}),
                400,
                "secret name `../x`",
            ),
            (&post, json!({"name": "empty"}), 400, "is empty"),
            (
                &post,
                json!({"name": "raw", "rawValue": "%"}),
                400,
                "rawValue",
            ),
            (
                &post,
                json!({"name": "a", "value": "x", "namespace": "nowhere"}),
                400,
                "namespace not valid",
            ),
            (
                &post,
                json!({"name": "payload-secret", "value": "x", "namespace": "openfaas"}),
                400,
                "namespace not valid",
            ),
            (
                "GET /system/secrets?namespace=hob-registries",
                NONE,
                400,
                "namespace not valid",
            ),
            (&post, json!("x"), 400, "failed to unmarshal"),
            (
                &delete,
                json!({"name": "none"}),
                404,
                "secret `none` does not exist",
            ),
        ],
    );
    let body = "return open('/var/openfaas/secrets/key', 'rb').read()";
    let folder = bench.python("reader", body);
    crate::bench::write(&folder.join("hob.toml"), "secrets = [\"key\"]\n");
    bench.deploy(&folder);
    let read = || hob.post("/function/reader", "").expect(200).body;
    assert_eq!(read(), "p4ss\n");
    ask(hob, &put, &json!({"name": "key", "value": "second"})).expect(202);
    assert_eventually!(read() == "second", "the running function sees the update");
    walk(
        hob,
        &[
            (
                &delete,
                json!({"name": "key", "namespace": "openfaas-fn"}),
                202,
                "",
            ),
            (&get, NONE, 200, "[]"),
            (
                "DELETE /system/secrets?namespace=openfaas-fn",
                json!({"name": "key"}),
                404,
                "",
            ),
        ],
    );
}

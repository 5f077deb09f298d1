//! `/system` where deploys take long, fail, or hit a broken disk.

use std::sync::{Arc, atomic::Ordering};

use http::StatusCode;
use serde_json::{Value, json};

use crate::{Plane, eventually};

const POST: &str = "POST /system/functions";
const PUT: &str = "PUT /system/functions";
const SHOW: &str = "GET /system/function/hello?namespace=openfaas-fn";
/// The fake builder names a bundle by what was sent.
const BUNDLE: &str = "0123456789abcdef";

fn hello(more: Value) -> String {
    let mut asked = json!({"service": "hello", "image": format!("hob.local/hello:{BUNDLE}")});
    asked
        .as_object_mut()
        .expect("an object")
        .extend(more.as_object().expect("an object").clone());
    asked.to_string()
}

async fn shown(plane: &Plane) -> Value {
    let (status, text) = plane.call(SHOW, "").await;
    assert_eq!(status, StatusCode::OK, "{text}");
    serde_json::from_str(&text).expect("JSON")
}

/// With a bundle that no function runs.
async fn plane() -> Arc<Plane> {
    let plane = Plane::new();
    plane.deployed("first", BUNDLE).await;
    let (status, _) = plane.call("DELETE /hob/v1/functions/first", "").await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    Arc::new(plane)
}

#[tokio::test]
async fn a_function_is_shown_while_its_first_deploy_goes_on() {
    let plane = plane().await;
    let starts = Arc::clone(&plane.engine.starts);
    let held = starts.acquire().await.expect("open");
    let labels = json!({"labels": {"com.openfaas.scale.min": "2", "team": "a"}});
    let deploying = Arc::clone(&plane);
    let deploy = tokio::spawn(async move { deploying.call(POST, hello(labels)).await });
    while plane.call(SHOW, "").await.0 != StatusCode::OK {
        tokio::task::yield_now().await;
    }
    let seen = shown(&plane).await;
    assert_eq!(
        (&seen["replicas"], &seen["availableReplicas"]),
        (&json!(2), &json!(0))
    );
    assert_eq!(seen["labels"]["team"], "a");
    let (_, listed) = plane.call("GET /system/functions", "").await;
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!(listed.as_array().map(Vec::len), Some(1));
    // One that is removed meanwhile is gone when it is there.
    let removing = Arc::clone(&plane);
    let body = json!({"functionName": "hello"}).to_string();
    let remove = tokio::spawn(async move { removing.call("DELETE /system/functions", body).await });
    drop(held);
    assert_eq!(deploy.await.expect("ends").0, StatusCode::ACCEPTED);
    assert_eq!(remove.await.expect("ends").0, StatusCode::ACCEPTED);
    assert_eq!(plane.call(SHOW, "").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_deploy_that_fails_leaves_what_was_there() {
    let plane = plane().await;
    assert_eq!(
        plane.call(POST, hello(json!({}))).await.0,
        StatusCode::ACCEPTED
    );
    let before = shown(&plane).await;
    plane.engine.broken.store(true, Ordering::SeqCst);
    let (status, text) = plane.call(PUT, hello(json!({"envVars": {"A": "b"}}))).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(text.contains("its last words: NameError: x"), "{text}");
    assert_eq!(shown(&plane).await, before);
    plane.engine.broken.store(false, Ordering::SeqCst);
    plane.break_store("UPDATE");
    let (status, _) = plane.call(PUT, hello(json!({"envVars": {"A": "b"}}))).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    let (status, _) = plane.call(PUT, hello(json!({"labels": {"a": "b"}}))).await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(shown(&plane).await, before);
}

#[tokio::test]
async fn what_only_people_read_starts_nothing() {
    let plane = plane().await;
    plane.call(POST, hello(json!({}))).await;
    let name = "hello".parse().expect("valid");
    let serving = plane.engine.serving(&name);
    for more in [
        json!({}),
        json!({"labels": {"a": "b"}}),
        json!({"annotations": {"topic": "cron-function", "schedule": "@daily"}}),
        json!({"requests": {"cpu": "1"}}),
    ] {
        assert_eq!(plane.call(PUT, hello(more)).await.0, StatusCode::ACCEPTED);
        assert_eq!(plane.engine.serving(&name), serving);
    }
    let stored = plane.store.function(&name).expect("reads").expect("there");
    assert!(stored.revision.settings.labels.is_empty());
    assert_eq!(stored.revision.bundle, BUNDLE);
    let asked = stored.revision.settings.openfaas.expect("kept");
    assert_eq!(asked.requests.expect("kept").cpu, "1");
    for more in [
        json!({"annotations": {"com.openfaas.ready.http.path": "/ready"}}),
        json!({"envVars": {"a": "b"}}),
        json!({"envProcess": "cat"}),
    ] {
        let before = plane.engine.serving(&name);
        assert_eq!(plane.call(PUT, hello(more)).await.0, StatusCode::ACCEPTED);
        assert_ne!(plane.engine.serving(&name), before);
    }
    eventually("no scratch is left", || plane.scratch().is_empty()).await;
}

#[tokio::test]
async fn a_namespace_that_is_wrong_is_refused_though_another_counts() {
    let plane = Plane::new();
    let body = json!({"name": "key", "value": "x", "namespace": "openfaas-fn"}).to_string();
    for (query, expected) in [
        ("?namespace=No%20name", StatusCode::BAD_REQUEST),
        ("?namespace=kube-system", StatusCode::UNAUTHORIZED),
        ("?namespace=", StatusCode::ACCEPTED),
    ] {
        let line = format!("POST /system/secrets{query}");
        let (status, text) = plane.call(&line, body.clone()).await;
        assert_eq!(status, expected, "{query}: {text}");
    }
}

#[tokio::test]
async fn a_refused_secret_is_not_shown() {
    let plane = Plane::new();
    for body in [
        r#"{"name":"pin","value":90210123}"#,
        r#""90210123""#,
        r#"{"name":"pin","rawValue":"90210123!"}"#,
    ] {
        let (status, text) = plane.call("POST /system/secrets", body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{text}");
        assert!(!text.contains("90210123") && !text.contains('!'), "{text}");
    }
}

#[tokio::test]
async fn what_go_sends_for_nothing_counts_as_nothing() {
    let plane = plane().await;
    let asked = json!({
        "envVars": {"A": null}, "labels": {"a": null}, "limits": {"nvidia.com/gpu": 1, "cpu": null},
    });
    let (status, text) = plane.call(POST, hello(asked)).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{text}");
    let (_, text) = plane.call("GET /system/function/hello", "").await;
    assert!(text.contains(r#""envVars":{"A":""}"#), "{text}");
    assert!(text.contains(r#""nvidia.com/gpu":1"#), "{text}");
}

#[tokio::test]
async fn a_deploy_does_not_bring_back_what_was_removed_meanwhile() {
    let plane = Plane::new();
    let made = json!({"name": "team", "annotations": {"openfaas": "1"}}).to_string();
    plane.call("POST /system/namespace/", made).await;
    for (function, removal) in [
        ("hello", "DELETE /hob/v1/functions/hello"),
        ("hello.team", "DELETE /system/namespace/team"),
    ] {
        plane.deploy(function, "v1").await;
        let held = plane.builder.builds.acquire().await.expect("open");
        let begun = plane.builder.begun.load(Ordering::SeqCst);
        let deploy = plane.deploy(function, "v2");
        let remove = async {
            let builds = || plane.builder.begun.load(Ordering::SeqCst) > begun;
            eventually("it builds", builds).await;
            let (status, text) = plane.call(removal, "").await;
            assert!(status.is_success(), "{text}");
            drop(held);
        };
        let (events, ()) = tokio::join!(deploy, remove);
        let last = format!("{:?}", events.last());
        assert!(last.contains("removed meanwhile"), "{last}");
        let line = format!("GET /hob/v1/functions/{function}");
        assert_eq!(plane.call(&line, "").await.0, StatusCode::NOT_FOUND);
    }
    let (_, text) = plane.call("GET /system/namespaces", "").await;
    assert_eq!(text, r#"["openfaas-fn"]"#);
}

#[tokio::test]
async fn an_alert_heeds_the_labels() {
    let plane = plane().await;
    let factor = |factor: &str| {
        let labels = json!({"com.openfaas.scale.factor": factor, "com.openfaas.scale.max": "5"});
        hello(json!({"labels": labels}))
    };
    let alert = |status: &str| {
        let labels = json!({"function_name": "hello.openfaas-fn"});
        json!({"status": status, "alerts": [{"labels": labels}]}).to_string()
    };
    plane.call(POST, factor("50")).await;
    let name = "hello".parse().expect("valid");
    let scaled = |to: u32| {
        let body = json!({"replicas": to}).to_string();
        plane.call("POST /system/scale-function/hello", body)
    };
    for (labels, before, status, after) in [
        ("50", 1, "firing", 4),
        ("50", 4, "firing", 5),
        ("50", 5, "resolved", 1),
        ("50", 0, "resolved", 0),
        ("0", 3, "firing", 3),
        ("0", 3, "resolved", 3),
    ] {
        plane.call(PUT, factor(labels)).await;
        scaled(before).await;
        let (answer, text) = plane.call("POST /system/alert", alert(status)).await;
        assert_eq!(answer, StatusCode::OK, "{text}");
        let stored = plane.store.function(&name).expect("reads").expect("there");
        assert_eq!(stored.replicas, after, "{labels} {before} {status}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_removes_no_namespace() {
    let plane = Plane::new();
    let made = json!({"name": "team", "annotations": {"openfaas": "1"}}).to_string();
    let (status, text) = plane.call("POST /system/namespace/", made).await;
    assert_eq!(status, StatusCode::CREATED, "{text}");
    let line = "DELETE /system/namespace/team";
    let (status, _) = plane.call(line, " ".repeat((1 << 20) + 1)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let (status, _) = plane.call(line, "").await;
    assert_eq!(status, StatusCode::ACCEPTED);
}

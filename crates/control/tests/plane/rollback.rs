use std::sync::{Arc, atomic::Ordering};

use hob_model::{
    port::Builder,
    wire::{DeployEvent, Fault},
};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::{Plane, calls::NoDoor, events, eventually};

const ROLLBACK: &str = "POST /hob/v1/functions/hello/rollback";

/// The last event of a rollback.
async fn rolled_back(plane: &Plane, body: &'static str) -> DeployEvent {
    let (status, text) = plane.call(ROLLBACK, body).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    events(&text).pop().expect("an event")
}

/// Number and digest of each revision, newest first, and which is the current one.
async fn revisions(plane: &Plane) -> (Vec<(u64, String)>, u64) {
    let (_, text) = plane
        .call("GET /hob/v1/functions/hello/revisions", "")
        .await;
    let list: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    let number = |one: &Value| one["number"].as_u64().expect("a number");
    let digest = |one: &Value| one["digest"].as_str().expect("a text").to_owned();
    let current = list.iter().find(|one| one["state"] == "current");
    (
        list.iter().map(|one| (number(one), digest(one))).collect(),
        number(current.expect("one is current")),
    )
}

#[tokio::test]
async fn a_rollback_that_fails_leaves_what_runs() {
    let plane = Plane::new();
    plane.deployed("hello", "v1").await;
    let name = plane.deployed("hello", "v2").await;
    plane.engine.broken.store(true, Ordering::SeqCst);
    let last = rolled_back(&plane, "").await;
    let fault = Fault::Caller;
    assert!(
        matches!(&last, DeployEvent::Failed { fault: f, .. } if *f == fault),
        "{last:?}"
    );
    plane.engine.broken.store(false, Ordering::SeqCst);

    plane.break_store("UPDATE");
    plane.engine.calls();
    let last = rolled_back(&plane, "{}").await;
    assert!(
        matches!(
            last,
            DeployEvent::Failed {
                fault: Fault::Host,
                ..
            }
        ),
        "{last:?}"
    );
    assert_eq!(
        plane.engine.calls(),
        ["apply hello v1 1", "apply hello v2 1"]
    );
    assert_eq!(plane.engine.serving(&name).as_deref(), Some("v2"));
    assert_eq!(revisions(&plane).await.1, 2);
}

#[tokio::test]
async fn words_for_people_make_a_revision_and_start_nothing() {
    let plane = Plane::new();
    let bundle = "0123456789abcdef";
    plane.deployed("hello", bundle).await;
    let asked = json!({
        "service": "hello", "image": format!("hob.local/hello:{bundle}"), "labels": {"team": "a"},
    });
    let (status, text) = plane.call("PUT /system/functions", asked.to_string()).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{text}");
    let both = vec![(2, bundle.to_owned()), (1, bundle.to_owned())];
    assert_eq!(revisions(&plane).await, (both.clone(), 2));
    let last = rolled_back(&plane, r#"{"revision": 1}"#).await;
    assert!(
        matches!(last, DeployEvent::Done { changed: true, .. }),
        "{last:?}"
    );
    assert_eq!(revisions(&plane).await, (both, 1));
    let (_, detail) = plane.call("GET /hob/v1/functions/hello", "").await;
    assert!(!detail.contains("team"), "{detail}");
    let last = rolled_back(&plane, r#"{"revision": 1}"#).await;
    assert!(
        matches!(last, DeployEvent::Done { changed: false, .. }),
        "{last:?}"
    );
}

#[tokio::test]
async fn what_cannot_be_gone_back_to_is_named() {
    let plane = Plane::new();
    for line in [ROLLBACK, "GET /hob/v1/functions/hello/revisions"] {
        let (status, _) = plane.call(line, "").await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{line}");
    }
    plane.deployed("hello", "v1").await;
    for body in ["{", r#"{"revision": "one"}"#, r#"{"to": 1}"#] {
        let (status, text) = plane.call(ROLLBACK, body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(text.contains(r#"{"revision": 2}"#), "{text}");
    }
    for (body, says) in [
        ("", "no earlier revision"),
        (r#"{"revision": 7}"#, "no revision 7"),
    ] {
        let last = rolled_back(&plane, body).await;
        let DeployEvent::Failed { message, fault } = last else {
            panic!("{last:?}");
        };
        assert!(
            message.contains(says) && fault == Fault::Caller,
            "{message}"
        );
    }
}

/// Between its build and its place in the store, nothing knows of a bundle but the deploy.
#[tokio::test]
async fn what_a_deploy_is_about_to_use_is_not_collected() {
    let plane = Arc::new(Plane::new());
    // Three are kept.
    for script in ["v1", "v2", "v3", "v4"] {
        plane.deployed("hello", script).await;
    }
    let starts = Arc::clone(&plane.engine.starts);
    let held = starts.acquire().await.expect("open");
    let deploying = Arc::clone(&plane);
    let deploy = tokio::spawn(async move { deploying.deployed("hello", "v5").await });
    while plane.builder.bundle("v5").await.expect("looks").is_none() {
        tokio::task::yield_now().await;
    }
    let (stop, stopped) = oneshot::channel::<()>();
    let run = Arc::clone(&plane.control).run(Arc::new(NoDoor), async { drop(stopped.await) });
    let run = tokio::spawn(run);
    drop(held);
    deploy.await.expect("deploys");
    eventually("v1 and v2 are collected", || {
        plane.builder.names() == ["v3", "v4", "v5"]
    })
    .await;
    drop(stop);
    run.await.expect("ends");
}

use std::{sync::Arc, sync::atomic::Ordering};

use hob_control::Access;
use hob_model::wire::{DeployEvent, DeployStage, Fault, FunctionState};
use http::{StatusCode, header};
use http_body_util::BodyExt;

use crate::{Plane, archive, events, eventually, request, text};

fn step(stage: DeployStage, text: &str) -> DeployEvent {
    let text = text.into();
    DeployEvent::Step { stage, text }
}

fn output(text: &str) -> DeployEvent {
    DeployEvent::Output { text: text.into() }
}

/// The message and the fault of a deploy that came to nothing.
fn failure(events: &[DeployEvent]) -> (&str, Fault) {
    match events.last() {
        Some(DeployEvent::Failed { message, fault }) => (message, *fault),
        other => panic!("not failed: {other:?}"),
    }
}

#[tokio::test]
async fn a_deploy_tells_its_steps_and_is_kept() {
    let plane = Plane::new();
    let mut events = plane.deploy("hello.staging", "v1").await;
    let Some(DeployEvent::Done {
        function, changed, ..
    }) = events.pop()
    else {
        panic!("not done: {events:?}");
    };
    assert_eq!(
        events,
        [
            step(DeployStage::Building, "python: compiling"),
            output("main.py:1"),
            step(DeployStage::Starting, "starting hello.staging")
        ]
    );
    assert!(changed && function.state == FunctionState::Hot && function.ready == 1);
    assert_eq!(
        (function.path.as_str(), function.revision.as_str()),
        ("/function/hello.staging", "v1")
    );
    assert_eq!(plane.engine.calls(), ["apply hello.staging v1 1"]);
    let kept = plane
        .store
        .function(&function.name)
        .expect("reads")
        .expect("kept");
    assert_eq!((kept.replicas, kept.created_at), (1, kept.updated_at));
    assert!(plane.scratch().is_empty(), "{:?}", plane.scratch());
}

#[tokio::test]
async fn a_second_deploy_keeps_what_is_not_the_builds() {
    let plane = Plane::new();
    let name = plane.deployed("hello", "v1").await;
    let first = plane.store.function(&name).expect("reads").expect("kept");
    plane
        .call("POST /hob/v1/functions/hello/scale", r#"{"replicas":3}"#)
        .await;
    plane.engine.calls();
    plane.deployed("hello", "v2").await;
    assert_eq!(plane.engine.calls(), ["apply hello v2 3"]);
    let second = plane.store.function(&name).expect("reads").expect("kept");
    assert_eq!((second.replicas, second.created_at), (3, first.created_at));
    assert!(second.updated_at > first.updated_at);
}

#[tokio::test]
async fn an_unchanged_folder_changes_nothing() {
    let plane = Plane::new();
    let name = plane.deployed("hello", "v1").await;
    plane
        .call("POST /hob/v1/functions/hello/scale", r#"{"replicas":0}"#)
        .await;
    let before = plane.store.function(&name).expect("reads");
    let events = plane.deploy("hello", "v1").await;
    let last = events.last();
    assert!(
        matches!(last, Some(DeployEvent::Done { changed: false, .. })),
        "{last:?}"
    );
    // Somebody wants it to sleep until it is called.
    assert_eq!(plane.engine.replicas(&name), Some(0));
    assert_eq!(plane.store.function(&name).expect("reads"), before);
}

#[tokio::test]
async fn a_build_that_fails_leaves_what_runs() {
    let plane = Plane::new();
    let name = plane.deployed("hello", "v1").await;
    plane.engine.calls();
    for (script, message, fault) in [
        (
            "fail",
            "python: compiling failed: exit status 1",
            Fault::Caller,
        ),
        ("refuse", "entry `../x` leaves the folder", Fault::Caller),
        ("toolless", "no go: apt-get install golang-go", Fault::Host),
        (
            "panic",
            "deploying `hello` hit a fault in hob: see the server's log",
            Fault::Host,
        ),
    ] {
        let events = plane.deploy("hello", script).await;
        assert_eq!(failure(&events), (message, fault));
        assert_eq!(
            events.contains(&output("SyntaxError: invalid syntax")),
            script == "fail"
        );
    }
    assert!(plane.engine.calls().is_empty());
    assert_eq!(plane.engine.serving(&name).as_deref(), Some("v1"));
    assert_eq!(
        plane.store.functions().expect("reads")[0].revision.digest,
        "v1"
    );
    assert!(plane.scratch().is_empty());
}

#[tokio::test]
async fn a_program_that_does_not_start_shows_its_last_words() {
    let plane = Plane::new();
    let name = plane.deployed("hello", "v1").await;
    plane.engine.broken.store(true, Ordering::SeqCst);
    let events = plane.deploy("hello", "v2").await;
    let (message, fault) = failure(&events);
    assert_eq!(message, "function `hello` ended at once: exit status 3");
    assert_eq!(fault, Fault::Caller);
    let words = [output("Traceback"), output("NameError: x")];
    assert_eq!(events[events.len() - 3..events.len() - 1], words);
    assert_eq!(plane.engine.serving(&name).as_deref(), Some("v1"));
    assert_eq!(
        plane.store.functions().expect("reads")[0].revision.digest,
        "v1"
    );
    let (_, text) = plane.call("GET /hob/v1/functions/hello", "").await;
    assert!(text.contains(r#""revision":"v1""#), "{text}");
}

#[tokio::test]
async fn what_the_disk_refused_is_set_back_and_not_acknowledged() {
    let plane = Plane::new();
    let name = plane.deployed("hello", "v1").await;
    plane.break_store("INSERT");
    plane.engine.calls();
    let (message, fault) = {
        let events = plane.deploy("hello", "v2").await;
        let (message, fault) = failure(&events);
        (message.to_owned(), fault)
    };
    assert!(
        message.contains("hob.db") && message.contains("the disk is gone"),
        "{message}"
    );
    assert_eq!(fault, Fault::Host);
    assert_eq!(
        plane.engine.calls(),
        ["apply hello v2 1", "apply hello v1 1"]
    );
    assert_eq!(plane.engine.serving(&name).as_deref(), Some("v1"));

    failure(&plane.deploy("fresh", "v1").await);
    assert_eq!(plane.engine.calls(), ["apply fresh v1 1", "remove fresh"]);
    let (status, _) = plane.call("GET /hob/v1/functions/fresh", "").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn events_come_while_the_build_runs() {
    let plane = Plane::new();
    let hold = plane.builder.builds.acquire().await.expect("open");
    let put = request("PUT /hob/v1/functions/hello", archive("v1"));
    let mut response = plane.send(put, Access::Local).await;
    assert_eq!(
        response.headers()[header::CONTENT_TYPE],
        "application/x-ndjson"
    );
    let frame = response
        .body_mut()
        .frame()
        .await
        .expect("a line")
        .expect("whole");
    let line = frame.into_data().expect("data");
    assert_eq!(
        events(std::str::from_utf8(&line).expect("text")),
        [step(DeployStage::Building, "python: compiling")]
    );
    assert_eq!(plane.scratch().len(), 1);
    drop(hold);
    assert!(text(response).await.contains(r#""event":"done""#));
}

#[tokio::test]
async fn a_deploy_goes_on_when_its_reader_leaves() {
    let plane = Plane::new();
    let hold = plane.builder.builds.acquire().await.expect("open");
    let put = request("PUT /hob/v1/functions/hello", archive("v1"));
    drop(plane.send(put, Access::Local).await);
    drop(hold);
    let name = "hello".parse().expect("valid");
    eventually("the deploy is kept", || {
        plane.store.function(&name).expect("reads").is_some()
    })
    .await;
}

#[tokio::test]
async fn deploys_of_one_name_come_one_after_the_other() {
    let plane = Plane::new();
    let hold = plane.builder.builds.acquire().await.expect("open");
    let first = plane.send(
        request("PUT /hob/v1/functions/hello", archive("v1")),
        Access::Local,
    );
    let first = first.await;
    let second = plane.send(
        request("PUT /hob/v1/functions/hello", archive("v2")),
        Access::Local,
    );
    let mut second = second.await;
    let frame = second
        .body_mut()
        .frame()
        .await
        .expect("a line")
        .expect("whole");
    let line = frame.into_data().expect("data");
    let waiting = [step(
        DeployStage::Waiting,
        "waiting for another deploy of hello",
    )];
    assert_eq!(events(std::str::from_utf8(&line).expect("text")), waiting);
    drop(hold);
    assert!(text(first).await.contains(r#""event":"done""#));
    assert!(text(second).await.contains(r#""event":"done""#));
    assert_eq!(
        plane.engine.calls(),
        ["apply hello v1 1", "apply hello v2 1"]
    );
    assert_eq!(
        plane.store.functions().expect("reads")[0].revision.digest,
        "v2"
    );
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_nothing() {
    let plane = Plane::new();
    let parts = [
        Ok(archive("v1")),
        Err(std::io::Error::other("connection reset")),
    ];
    let body = axum::body::Body::from_stream(futures_util::stream::iter(parts));
    let (status, text) = plane.call("PUT /hob/v1/functions/hello", body).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(
        text.starts_with("the upload did not arrive whole"),
        "{text}"
    );
    assert!(plane.scratch().is_empty() && plane.engine.calls().is_empty());
}

#[tokio::test]
async fn an_upload_over_the_limit_is_refused_announced_or_not() {
    let plane = Plane::new();
    let mut put = request("PUT /hob/v1/functions/hello", archive("v1"));
    let length = (257_u64 << 20).to_string().parse().expect("valid");
    put.headers_mut().insert(header::CONTENT_LENGTH, length);
    let response = plane.send(put, Access::Local).await;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);

    let mebibyte = Arc::<[u8]>::from(vec![0_u8; 1 << 20]);
    let parts = (0..257)
        .map(move |_| Ok::<_, std::io::Error>(bytes::Bytes::from_owner(Arc::clone(&mebibyte))));
    let start = [Ok(bytes::Bytes::from(archive("")))];
    let body =
        axum::body::Body::from_stream(futures_util::stream::iter(start.into_iter().chain(parts)));
    let (status, text) = plane.call("PUT /hob/v1/functions/hello", body).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(
        text.contains("256 MiB") && text.contains(".hobignore"),
        "{text}"
    );
    assert!(plane.scratch().is_empty());
}

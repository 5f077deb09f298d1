//! Listing, describing, scaling, removing, logs, export, status, and what goes wrong in us.

use std::{fs, sync::atomic::Ordering};

use flate2::read::GzDecoder;
use hob_control::Access;
use hob_model::wire::{FunctionDetail, FunctionSummary, LogLine, Status};
use http::{StatusCode, header};
use http_body_util::BodyExt;

use crate::{Plane, request};

#[tokio::test]
async fn functions_are_listed_and_described() {
    let plane = Plane::new();
    plane.deployed("b", "needs-key").await;
    plane.deployed("a", "v1").await;
    let (status, text) = plane.call("GET /hob/v1/functions", "").await;
    assert_eq!(status, StatusCode::OK);
    let list: Vec<FunctionSummary> = serde_json::from_str(&text).expect("list");
    let names: Vec<_> = list.iter().map(|one| one.name.to_string()).collect();
    assert_eq!(names, ["a", "b"]);
    let (_, text) = plane.call("GET /hob/v1/functions/b.openfaas-fn", "").await;
    let detail: FunctionDetail = serde_json::from_str(&text).expect("detail");
    assert_eq!(detail.settings.secrets[0].as_str(), "key");
    assert_eq!(detail.instances.len(), 1);
}

#[tokio::test]
async fn a_site_wants_no_replicas() {
    let plane = Plane::new();
    plane.deployed("site", "static").await;
    let (_, text) = plane.call("GET /hob/v1/functions/site", "").await;
    let detail: FunctionDetail = serde_json::from_str(&text).expect("detail");
    assert_eq!(detail.summary.replicas, 0);
}

#[tokio::test]
async fn a_scale_is_kept() {
    let plane = Plane::new();
    let name = plane.deployed("hello", "v1").await;
    let (status, text) = plane
        .call("POST /hob/v1/functions/hello/scale", r#"{"replicas":4}"#)
        .await;
    assert_eq!(status, StatusCode::OK);
    let summary: FunctionSummary = serde_json::from_str(&text).expect("summary");
    assert_eq!((summary.replicas, summary.ready), (4, 4));
    assert_eq!(
        plane
            .store
            .function(&name)
            .expect("reads")
            .expect("kept")
            .replicas,
        4
    );
}

#[tokio::test]
async fn a_scale_that_fails_changes_nothing() {
    let plane = Plane::new();
    let name = plane.deployed("hello", "v1").await;
    plane.engine.broken.store(true, Ordering::SeqCst);
    let (status, text) = plane
        .call("POST /hob/v1/functions/hello/scale", r#"{"replicas":4}"#)
        .await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(text, "function `hello` ended at once: exit status 3\n");
    assert_eq!(
        plane
            .store
            .function(&name)
            .expect("reads")
            .expect("kept")
            .replicas,
        1
    );

    plane.engine.broken.store(false, Ordering::SeqCst);
    plane.break_store("UPDATE");
    plane.engine.calls();
    let (status, _) = plane
        .call("POST /hob/v1/functions/hello/scale", r#"{"replicas":4}"#)
        .await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(plane.engine.calls(), ["scale hello 4", "scale hello 1"]);
}

#[tokio::test]
async fn a_removed_function_is_gone_everywhere() {
    let plane = Plane::new();
    let name = plane.deployed("hello", "v1").await;
    let (status, text) = plane.call("DELETE /hob/v1/functions/hello", "").await;
    assert_eq!((status, text.as_str()), (StatusCode::NO_CONTENT, ""));
    assert_eq!(plane.engine.serving(&name), None);
    assert_eq!(plane.store.function(&name).expect("reads"), None);
    let (status, _) = plane.call("DELETE /hob/v1/functions/hello", "").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_removal_that_the_disk_refuses_is_taken_back() {
    let plane = Plane::new();
    let name = plane.deployed("hello", "v1").await;
    plane.break_store("DELETE");
    let (status, text) = plane.call("DELETE /hob/v1/functions/hello", "").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(text.contains("the disk is gone"), "{text}");
    assert_eq!(plane.engine.serving(&name).as_deref(), Some("v1"));
    let (status, _) = plane.call("GET /hob/v1/functions/hello", "").await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn logs_come_as_lines() {
    let plane = Plane::new();
    plane.deployed("hello", "v1").await;
    let (status, text) = plane
        .call("GET /hob/v1/functions/hello/logs?tail=2&follow=true", "")
        .await;
    assert_eq!(status, StatusCode::OK);
    let lines: Vec<LogLine> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("line"))
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1].text, "line 1, follow true");
}

#[tokio::test]
async fn an_export_is_a_whole_archive() {
    let plane = Plane::new();
    plane.deployed("hello", "v1").await;
    let get = request("GET /hob/v1/functions/hello/export", "");
    let response = plane.send(get, Access::Local).await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/gzip");
    let body = response
        .into_body()
        .collect()
        .await
        .expect("whole")
        .to_bytes();
    let target = tempfile::tempdir().expect("tempdir");
    tar::Archive::new(GzDecoder::new(&body[..]))
        .unpack(target.path())
        .expect("unpacks");
    let main = fs::read_to_string(target.path().join("app/main.py")).expect("there");
    assert_eq!(main, "v1");
    assert!(plane.scratch().is_empty(), "{:?}", plane.scratch());
}

#[tokio::test]
async fn an_export_that_fails_is_an_error_and_no_archive() {
    let plane = Plane::new();
    plane.deployed("hello", "unexportable").await;
    let (status, text) = plane.call("GET /hob/v1/functions/hello/export", "").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(text, "the bundle is gone\n");
    assert!(plane.scratch().is_empty());
}

#[tokio::test]
async fn the_status_tells_how_the_server_is() {
    let plane = Plane::new();
    plane.deployed("hello", "v1").await;
    let (_, text) = plane.call("GET /hob/v1/status", "").await;
    let status: Status = serde_json::from_str(&text).expect("status");
    assert_eq!((status.functions, status.replicas), (1, 1));
    assert_eq!(status.pid, std::process::id());
    assert_eq!(status.warnings, ["no pids limit"]);
    assert!(status.memory > 1 << 20);
}

#[tokio::test]
async fn a_panic_costs_one_request() {
    let plane = Plane::new();
    plane.engine.cursed.store(true, Ordering::SeqCst);
    let (status, text) = plane.call("GET /hob/v1/functions", "").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(
        text,
        "this request hit a fault in hob: see the server's log\n"
    );
    plane.engine.cursed.store(false, Ordering::SeqCst);
    let (status, _) = plane.call("GET /hob/v1/functions", "").await;
    assert_eq!(status, StatusCode::OK);
}

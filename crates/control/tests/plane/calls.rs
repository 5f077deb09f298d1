use std::{io, os::unix::net::UnixStream, sync::Arc};

use axum::body::{Body, Bytes};
use hob_model::port::Dial;
use http::StatusCode;
use serde_json::Value;
use tokio::sync::oneshot;

use crate::{PATIENCE, Plane};

/// A data plane that is out of sockets.
pub(crate) struct NoDoor;

impl Dial for NoDoor {
    fn dial(&self) -> io::Result<UnixStream> {
        Err(io::Error::other("no sockets left"))
    }
}

#[tokio::test]
async fn a_call_that_the_disk_refuses_is_not_acknowledged() {
    let plane = Plane::new();
    plane.deployed("hello", "v1").await;
    let (status, text) = plane.call("POST /async-function/hello", "x").await;
    assert_eq!((status, text.as_str()), (StatusCode::ACCEPTED, ""));
    plane.break_table("calls", "INSERT");
    let (status, text) = plane.call("POST /async-function/hello", "x").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    // Anybody may call, so the rest is in the log.
    assert_eq!(text, "the call could not be stored: try again later\n");
    let (_, text) = plane.call("GET /hob/v1/queue", "").await;
    let list: Value = serde_json::from_str(&text).expect("json");
    assert_eq!(list["calls"].as_array().map(Vec::len), Some(1));
    assert_eq!(list["functions"][0]["taken"], 1);
}

/// Makes calls until the only one in the queue is as it should be; returns that.
async fn made_until(plane: &Plane, good: impl Fn(&Value) -> bool) -> Value {
    let (stop, stopped) = oneshot::channel::<()>();
    let run = Arc::clone(&plane.control).run(Arc::new(NoDoor), async { drop(stopped.await) });
    let run = tokio::spawn(run);
    let call = tokio::time::timeout(PATIENCE, async {
        loop {
            let (_, text) = plane.call("GET /hob/v1/queue", "").await;
            let list: Value = serde_json::from_str(&text).expect("json");
            if good(&list["calls"][0]) {
                return list["calls"][0].clone();
            }
        }
    });
    let call = call.await.expect("in time");
    drop(stop);
    run.await.expect("no panic");
    call
}

#[tokio::test]
async fn a_call_that_finds_no_door_is_tried_again() {
    let plane = Plane::new();
    plane.deployed("hello", "v1").await;
    let (status, _) = plane.call("POST /async-function/hello", "x").await;
    assert_eq!(status, StatusCode::ACCEPTED);
    // On the disk it has been tried before it counts as waiting again.
    let again = |call: &Value| call["attempts"] == 1 && call["state"] == "waiting";
    let call = made_until(&plane, again).await;
    assert_eq!(
        (&call["state"], &call["status"]),
        (&"waiting".into(), &503.into())
    );
    assert_eq!(call["problem"], "the call broke off: no sockets left");
}

#[tokio::test]
async fn a_clock_that_lags_holds_no_call_up() {
    let plane = Plane::new();
    plane.deployed("hello", "v1").await;
    plane.call("POST /async-function/hello", "x").await;
    plane.change_calls("due_at = due_at + 864000000");
    let plane = plane.again();
    plane.control.restore().await.expect("restored");
    made_until(&plane, |call| call["attempts"] == 1).await;
}

#[tokio::test]
async fn calls_of_a_function_that_stays_away_are_dead_letters() {
    let plane = Plane::new();
    plane.deployed("brief", "v1").await;
    plane.call("POST /async-function/brief", "x").await;
    plane.call("DELETE /hob/v1/functions/brief", "").await;
    let call = made_until(&plane, |call| call["state"] == "dead").await;
    assert_eq!(
        call["problem"],
        "function `brief` was removed before the call was made"
    );
    assert_eq!(call["attempts"], 0);
}

#[tokio::test]
async fn a_damaged_row_is_a_dead_letter() {
    let plane = Plane::new();
    plane.deployed("hello", "v1").await;
    plane.call("POST /async-function/hello", "x").await;
    plane.change_calls("headers = x'00'");
    let call = made_until(&plane, |call| call["state"] == "dead").await;
    assert_eq!(call["problem"], "its row in the database is damaged");
    plane.change_calls("function = 'NO NAME'");
    let (status, text) = plane.call("GET /hob/v1/queue", "").await;
    assert_eq!(status, StatusCode::OK);
    assert!(text.contains("\"calls\":[]"), "{text}");
}

#[tokio::test]
async fn a_body_in_small_parts_takes_no_more_room_than_in_one() {
    let plane = Plane::new();
    plane.deployed("hello", "v1").await;
    let parts = (0..70_000).map(|_| Ok::<_, io::Error>(Bytes::from_static(b"x")));
    let body = Body::from_stream(futures_util::stream::iter(parts));
    let (status, text) = plane.call("POST /async-function/hello", body).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{text}");
}

#[tokio::test]
async fn what_waits_is_dropped_of_one_function_at_a_time() {
    let plane = Plane::new();
    for name in ["one", "two"] {
        plane.deployed(name, "v1").await;
        plane
            .call(&format!("POST /async-function/{name}"), "x")
            .await;
    }
    let (status, _) = plane.call("DELETE /hob/v1/queue?state=waiting", "").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let line = "DELETE /hob/v1/queue?state=waiting&function=one";
    let (_, text) = plane.call(line, "").await;
    assert_eq!(text, "{\"calls\":1}");
    let (_, text) = plane.call("GET /hob/v1/queue", "").await;
    let list: Value = serde_json::from_str(&text).expect("json");
    assert_eq!(list["calls"].as_array().map(Vec::len), Some(1));
    assert_eq!(list["calls"][0]["function"], "two");
}

use std::{io, os::unix::net::UnixStream, sync::Arc};

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
    assert!(
        text.contains("the disk is gone") && text.lines().count() == 1,
        "{text}"
    );
    let (_, text) = plane.call("GET /hob/v1/queue", "").await;
    let list: Value = serde_json::from_str(&text).expect("json");
    assert_eq!(list["calls"].as_array().map(Vec::len), Some(1));
    assert_eq!(list["functions"][0]["taken"], 1);
}

#[tokio::test]
async fn a_call_that_finds_no_door_is_tried_again() {
    let plane = Plane::new();
    plane.deployed("hello", "v1").await;
    let (status, _) = plane.call("POST /async-function/hello", "x").await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let (stop, stopped) = oneshot::channel::<()>();
    let run = Arc::clone(&plane.control).run(Arc::new(NoDoor), async { drop(stopped.await) });
    let run = tokio::spawn(run);
    let call = tokio::time::timeout(PATIENCE, async {
        loop {
            let (_, text) = plane.call("GET /hob/v1/queue", "").await;
            let list: Value = serde_json::from_str(&text).expect("json");
            if list["calls"][0]["attempts"] == 1 {
                return list["calls"][0].clone();
            }
        }
    });
    let call = call.await.expect("in time");
    assert_eq!(
        (&call["state"], &call["status"]),
        (&"waiting".into(), &503.into())
    );
    assert_eq!(call["problem"], "the call broke off: no sockets left");
    drop(stop);
    run.await.expect("no panic");
}

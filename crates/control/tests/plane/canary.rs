use hob_model::wire::{DeployEvent, Fault};
use http::StatusCode;
use serde_json::Value;

use crate::{Plane, archive, events};

const CANARY: &str = "PUT /hob/v1/functions/hello?canary=25%25";
const PROMOTE: &str = "POST /hob/v1/functions/hello/promote";
const ROLLBACK: &str = "POST /hob/v1/functions/hello/rollback";

/// The last event of a request that is a stream of them.
async fn last(plane: &Plane, line: &str, body: Vec<u8>) -> DeployEvent {
    let (status, text) = plane.call(line, body).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    events(&text).pop().expect("an event")
}

async fn number(plane: &Plane) -> Option<u64> {
    let (_, text) = plane.call("GET /hob/v1/functions/hello", "").await;
    let detail: Value = serde_json::from_str(&text).expect("JSON");
    detail["canary"]["revision_number"].as_u64()
}

fn is_fault(event: &DeployEvent, expected: Fault) -> bool {
    matches!(event, DeployEvent::Failed { fault, .. } if *fault == expected)
}

/// Whatever is said of a canary is on the disk, and what is not is not in the engine either.
#[tokio::test]
async fn engine_and_store_agree_when_the_disk_fails() {
    let plane = Plane::new();
    plane.deployed("hello", "v1").await;
    plane.engine.calls();
    plane.break_table("revisions", "INSERT");
    let event = last(&plane, CANARY, archive("v2")).await;
    assert!(is_fault(&event, Fault::Host), "{event:?}");
    let calls = plane.engine.calls();
    assert_eq!(calls, ["apply hello v1 0 and 25% v2 1", "apply hello v1 0"]);
    assert_eq!(number(&plane).await, None);

    let plane = Plane::new();
    plane.deployed("hello", "v1").await;
    last(&plane, CANARY, archive("v2")).await;
    plane.engine.calls();
    plane.break_store("UPDATE");
    for line in [PROMOTE, ROLLBACK] {
        let event = last(&plane, line, Vec::new()).await;
        assert!(is_fault(&event, Fault::Host), "{event:?}");
    }
    let calls = plane.engine.calls();
    assert_eq!(
        calls,
        [
            "apply hello v2 1",
            "apply hello v1 1 and 25% v2 1",
            "apply hello v1 0",
            "apply hello v1 0 and 25% v2 1"
        ]
    );
    assert_eq!(number(&plane).await, Some(2));

    let plane = plane.again();
    plane.control.restore().await.expect("restored");
    assert_eq!(plane.engine.calls(), ["apply hello v1 0 and 25% v2 0"]);
    assert_eq!(number(&plane).await, Some(2));
}

/// Nothing of the other revision is lost with it.
#[tokio::test]
async fn a_canary_that_the_machine_has_lost_leaves_its_calls_to_the_other() {
    let plane = Plane::new();
    let name = plane.deployed("hello", "v1").await;
    last(&plane, CANARY, archive("v2")).await;
    let database = rusqlite::Connection::open(plane.data.path().join("hob.db"));
    let lose = "UPDATE revisions SET digest = 'lost' WHERE number = 2";
    database.expect("opens").execute(lose, []).expect("sql");
    let plane = plane.again();
    let restored = plane.control.restore().await.expect("restored");
    assert_eq!((restored.functions, restored.failed), (1, 0));
    assert_eq!(plane.engine.serving(&name).as_deref(), Some("v1"));
    assert_eq!(number(&plane).await, None);
}

#[tokio::test]
async fn a_client_of_openfaas_ends_it_as_any_deploy_does() {
    let plane = Plane::new();
    plane.deployed("hello", "v1").await;
    last(&plane, CANARY, archive("0123456789ab")).await;
    plane.engine.calls();
    let asked = r#"{"service": "hello", "image": "hob.local/hello:0123456789ab"}"#;
    let (status, text) = plane.call("PUT /system/functions", asked).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{text}");
    assert_eq!(number(&plane).await, None);
}

#[tokio::test]
async fn what_is_no_share_is_refused_before_anything_is_built() {
    let plane = Plane::new();
    plane.deployed("hello", "v1").await;
    for share in ["0%25", "100%25", "10", "much"] {
        let line = format!("PUT /hob/v1/functions/hello?canary={share}");
        let (status, text) = plane.call(&line, archive("v2")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(text.contains("as in `10%`"), "{text}");
    }
    for line in [CANARY, PROMOTE] {
        let line = line.replace("hello", "nobody");
        let (status, text) = plane.call(&line, archive("v2")).await;
        assert!(
            status == StatusCode::NOT_FOUND || text.contains("without --canary first"),
            "{text}"
        );
    }
    assert_eq!(plane.builder.names(), ["v1"]);
}

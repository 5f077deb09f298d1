use hob_control::Restored;
use hob_model::{FleetName, port::Wake};
use http::StatusCode;

use crate::Plane;

#[tokio::test]
async fn every_function_gets_its_route_and_none_is_started() {
    let plane = Plane::new();
    let hello = plane.deployed("hello", "v1").await;
    plane.deployed("b.staging", "v2").await;

    let plane = plane.again();
    let restored = plane.control.restore().await.expect("restored");
    assert_eq!(
        restored,
        Restored {
            functions: 2,
            failed: 0
        }
    );
    assert_eq!(
        plane.engine.calls(),
        ["apply hello v1 0", "apply b.staging v2 0"]
    );
    assert_eq!(plane.engine.serving(&hello).as_deref(), Some("v1"));
    let (_, text) = plane.call("GET /hob/v1/functions/hello", "").await;
    assert!(
        text.contains(r#""replicas":1"#) && text.contains(r#""state":"stopped""#),
        "{text}"
    );
}

#[tokio::test]
async fn a_lost_bundle_takes_no_other_function_along() {
    let plane = Plane::new();
    let bad = plane.deployed("bad", "v1").await;
    let good = plane.deployed("good", "v2").await;
    let mut lost = plane.store.function(&bad).expect("reads").expect("kept");
    lost.revision.digest = "lost".into();
    plane.store.put_function(&lost).expect("put");

    let plane = plane.again();
    let restored = plane.control.restore().await.expect("restored");
    assert_eq!(
        restored,
        Restored {
            functions: 1,
            failed: 1
        }
    );
    plane
        .control
        .wake(&FleetName::stable(&good))
        .await
        .expect("woken");
    let error = plane
        .control
        .wake(&FleetName::stable(&bad))
        .await
        .expect_err("lost");
    assert!(error.message.contains("has lost a part"), "{error}");
    let (_, text) = plane.call("GET /hob/v1/functions/bad", "").await;
    assert!(
        text.contains(r#""state":"failing""#) && text.contains(r#""problem":"#),
        "{text}"
    );

    // It can be deployed again, or removed.
    plane.deployed("bad", "v3").await;
    assert_eq!(plane.engine.serving(&bad).as_deref(), Some("v3"));
    plane
        .control
        .wake(&FleetName::stable(&bad))
        .await
        .expect("woken");
    let (status, _) = plane.call("DELETE /hob/v1/functions/bad", "").await;
    assert_eq!(status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn what_could_not_be_restored_can_be_removed() {
    let plane = Plane::new();
    let bad = plane.deployed("bad", "v1").await;
    let mut lost = plane.store.function(&bad).expect("reads").expect("kept");
    lost.revision.digest = "lost".into();
    plane.store.put_function(&lost).expect("put");

    let plane = plane.again();
    plane.control.restore().await.expect("restored");
    let (status, _) = plane.call("DELETE /hob/v1/functions/bad", "").await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(plane.store.function(&bad).expect("reads"), None);
}

#[tokio::test]
async fn a_hundred_functions_are_back_in_no_time() {
    let plane = Plane::new();
    let name = plane.deployed("hello", "v1").await;
    let mut function = plane.store.function(&name).expect("reads").expect("kept");
    for number in 0..100 {
        function.name = format!("f{number}").parse().expect("valid");
        plane.store.put_function(&function).expect("put");
    }
    let plane = plane.again();
    let began = std::time::Instant::now();
    let restored = plane.control.restore().await.expect("restored");
    assert_eq!(restored.functions, 101);
    let millis = began.elapsed().as_millis();
    assert!(millis < 200, "took {millis} ms");
    eprintln!("restored in {millis} ms");
}

use std::sync::atomic::Ordering;

use http::StatusCode;

use crate::Plane;

#[tokio::test]
async fn a_secret_is_set_listed_updated_and_removed() {
    let plane = Plane::new();
    let (status, text) = plane.call("PUT /hob/v1/secrets/key", "t0p\n").await;
    assert_eq!((status, text.as_str()), (StatusCode::CREATED, ""));
    let (status, _) = plane.call("PUT /hob/v1/secrets/key", "t0p2").await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(plane.engine.calls(), ["refresh openfaas-fn key"; 2]);
    let (_, text) = plane.call("GET /hob/v1/secrets", "").await;
    assert_eq!(text, r#"[{"name":"key","namespace":"openfaas-fn"}]"#);
    let (status, _) = plane.call("DELETE /hob/v1/secrets/key", "").await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let (_, text) = plane.call("GET /hob/v1/secrets", "").await;
    assert_eq!(text, "[]");
}

#[tokio::test]
async fn namespaces_are_apart() {
    let plane = Plane::new();
    plane
        .call("PUT /hob/v1/secrets/key?namespace=staging", "x")
        .await;
    assert_eq!(plane.engine.calls(), ["refresh staging key"]);
    let (_, text) = plane
        .call("GET /hob/v1/secrets?namespace=openfaas-fn", "")
        .await;
    assert_eq!(text, "[]");
    let (_, text) = plane
        .call("GET /hob/v1/secrets?namespace=staging", "")
        .await;
    assert_eq!(text, r#"[{"name":"key","namespace":"staging"}]"#);
}

#[tokio::test]
async fn removing_a_secret_in_use_names_its_functions() {
    let plane = Plane::new();
    plane.call("PUT /hob/v1/secrets/key", "x").await;
    plane.deployed("b", "needs-key 1").await;
    plane.deployed("a", "needs-key 2").await;
    plane.deployed("other", "v1").await;
    plane.deployed("elsewhere.staging", "needs-key 3").await;
    let (status, text) = plane.call("DELETE /hob/v1/secrets/key", "").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        text,
        "secret `key` is removed, but these functions need it to start: a, b\n"
    );
}

#[tokio::test]
async fn a_secret_that_running_functions_cannot_get_is_stored_all_the_same() {
    let plane = Plane::new();
    plane.engine.broken.store(true, Ordering::SeqCst);
    let (status, text) = plane.call("PUT /hob/v1/secrets/key", "t0psecret").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(
        text.contains("is stored") && text.contains("no tmpfs"),
        "{text}"
    );
    assert!(!text.contains("t0psecret"));
    let (_, text) = plane.call("GET /hob/v1/secrets", "").await;
    assert!(text.contains("key"), "{text}");
}

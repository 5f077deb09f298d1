use axum::body::Body;
use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::future::join_all;
use hob_control::Access;
use http::{Request, StatusCode, header};

use crate::{Plane, request, text};

/// What is no route; those that are, `walk.rs` asks one by one.
const NOWHERE: &[&str] = &[
    "GET /",
    "GET /hob/v1/nothing",
    "PATCH /hob/v1/status",
    "GET /healthz/",
    "GET /healthz/../hob/v1/status",
];

pub(crate) fn login(line: &str, credentials: &str) -> Request<Body> {
    let mut request = request(line, "");
    let value = format!("Basic {}", STANDARD.encode(credentials));
    let value = value.parse().expect("header");
    request.headers_mut().insert(header::AUTHORIZATION, value);
    request
}

pub(crate) fn password(plane: &Plane) -> String {
    let password = plane
        .store
        .ensure_admin_password()
        .expect("store")
        .expect("new");
    format!("admin:{}", password.reveal())
}

#[tokio::test]
async fn not_even_what_is_there_and_what_is_not_can_be_told_from_outside() {
    let plane = Plane::new();
    password(&plane);
    for line in NOWHERE {
        let response = plane.send(request(line, ""), Access::Remote).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{line}");
        assert!(text(response).await.ends_with("HOB_PASSWORD\n"), "{line}");
    }
    let response = plane
        .send(request("GET /healthz", ""), Access::Remote)
        .await;
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_registry_asks_a_stranger_for_the_password_too() {
    let plane = Plane::new();
    let right = password(&plane);
    for line in [
        "GET /v2",
        "GET /v2/",
        "PUT /v2/a/manifests/1",
        "GET /v2/_catalog",
    ] {
        let response = plane.send(request(line, ""), Access::Remote).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{line}");
        let scheme = &response.headers()[header::WWW_AUTHENTICATE];
        assert_eq!(scheme, "Basic realm=\"hob\"");
        let text = text(response).await;
        assert!(text.contains("\"code\":\"UNAUTHORIZED\""), "{text}");
        // It is off here, which only the owner learns.
        let response = plane.send(login(line, &right), Access::Remote).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{line}");
    }
    let mut page = login("GET /v2/", &right);
    let site = "same-origin".parse().expect("header");
    page.headers_mut().insert("sec-fetch-site", site);
    let response = plane.send(page, Access::Remote).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert!(text(response).await.contains("\"code\":\"DENIED\""));
}

#[tokio::test]
async fn only_admin_with_the_password_comes_in() {
    let plane = Plane::new();
    let right = password(&plane);
    let line = "GET /hob/v1/status";
    for wrong in [
        "admin:",
        "admin:wrong",
        &right["admin:".len()..],
        &right.replace("admin", "root"),
        &format!("{right} "),
        &format!("admin:{}", "x".repeat(100_000)),
    ] {
        let response = plane.send(login(line, wrong), Access::Remote).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{wrong}");
    }
    for header in ["Basic", "Basic !", "Bearer x", "Basic YWRtaW4="] {
        let mut request = request(line, "");
        let value = header.parse().expect("header");
        request.headers_mut().insert(header::AUTHORIZATION, value);
        let response = plane.send(request, Access::Remote).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{header}");
    }
    let response = plane.send(login(line, &right), Access::Remote).await;
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_password_is_hashed_once_for_all_calls_of_a_client() {
    let plane = Plane::new();
    let right = password(&plane);
    let line = "GET /hob/v1/status";
    assert_eq!(
        plane
            .send(login(line, &right), Access::Remote)
            .await
            .status(),
        StatusCode::OK
    );
    // Without the hash only the memory of it can let the same password in again.
    let database = rusqlite::Connection::open(plane.data.path().join("hob.db")).expect("opens");
    database.execute_batch("DELETE FROM meta").expect("deleted");
    assert_eq!(
        plane
            .send(login(line, &right), Access::Remote)
            .await
            .status(),
        StatusCode::OK
    );
    let wrong = plane.send(login(line, "admin:wrong"), Access::Remote).await;
    assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_flood_of_guesses_is_turned_away_and_does_not_lock_the_admin_out() {
    let plane = Plane::new();
    let right = password(&plane);
    let line = "GET /hob/v1/status";
    assert_eq!(
        plane
            .send(login(line, &right), Access::Remote)
            .await
            .status(),
        StatusCode::OK
    );
    let guesses: Vec<_> = (0..100).map(|guess| format!("admin:{guess}")).collect();
    let flood = guesses
        .iter()
        .map(|guess| plane.send(login(line, guess), Access::Remote));
    let admin = plane.send(login(line, &right), Access::Remote);
    let (flood, admin) = tokio::join!(join_all(flood), admin);
    assert_eq!(admin.status(), StatusCode::OK);
    let count = |status| {
        flood
            .iter()
            .filter(|answer| answer.status() == status)
            .count()
    };
    let (away, refused) = (
        count(StatusCode::TOO_MANY_REQUESTS),
        count(StatusCode::UNAUTHORIZED),
    );
    assert_eq!(away + refused, 100);
    assert!(away > 50 && refused >= 8, "{away} away, {refused} refused");
}

#[tokio::test]
async fn a_page_be_it_a_functions_own_cannot_use_a_remembered_password() {
    let plane = Plane::new();
    let right = password(&plane);
    for (site, status) in [
        ("cross-site", StatusCode::FORBIDDEN),
        ("same-site", StatusCode::FORBIDDEN),
        ("same-origin", StatusCode::FORBIDDEN),
        ("none", StatusCode::OK),
    ] {
        let mut request = login("GET /hob/v1/status", &right);
        let value = site.parse().expect("header");
        request.headers_mut().insert("sec-fetch-site", value);
        assert_eq!(
            plane.send(request, Access::Remote).await.status(),
            status,
            "{site}"
        );
    }
}

#[tokio::test]
async fn nor_over_plain_http_where_browsers_name_the_origin_only() {
    let plane = Plane::new();
    let mut request = login("POST /system/functions", &password(&plane));
    let value = "http://evil.example".parse().expect("header");
    request.headers_mut().insert("origin", value);
    let response = plane.send(request, Access::Remote).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn without_a_password_in_the_store_nobody_comes_in() {
    let plane = Plane::new();
    for guess in ["admin:", "admin:admin"] {
        let response = plane
            .send(login("GET /hob/v1/status", guess), Access::Remote)
            .await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    }
}

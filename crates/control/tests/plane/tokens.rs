//! Tokens and the password: made, used, and gone at once.

use std::sync::Arc;

use axum::body::Body;
use futures_util::future::{join, join_all};
use hob_control::Access;
use hob_model::Conduct;
use http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::{Plane, auth::login, calls::NoDoor, eventually, request, text};

const STATUS: &str = "GET /hob/v1/status";

/// Makes a token; `more` are keys beside its name.
async fn make(plane: &Plane, name: &str, more: Value) -> String {
    let mut asked = json!({"name": name, "scopes": ["functions:read"]});
    let keys = more.as_object().expect("keys").clone();
    asked.as_object_mut().expect("an object").extend(keys);
    let (status, made) = plane.call("POST /hob/v1/tokens", asked.to_string()).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let made: Value = serde_json::from_str(&made).expect("JSON");
    made["token"].as_str().expect("text").to_owned()
}

fn bearer(line: &str, token: &str) -> Request<Body> {
    let mut request = request(line, "");
    let value = format!("bearer {token}").parse().expect("header");
    request.headers_mut().insert("authorization", value);
    request
}

async fn status_of(plane: &Plane, request: Request<Body>) -> StatusCode {
    plane.send(request, Access::Remote).await.status()
}

async fn last_used(plane: &Plane) -> Value {
    let (_, list) = plane.call("GET /hob/v1/tokens", "").await;
    let list: Value = serde_json::from_str(&list).expect("JSON");
    list[0]["last_used_at"].clone()
}

#[tokio::test]
async fn a_token_is_a_bearer_or_the_password_of_anybody() {
    let plane = Plane::new();
    let token = make(&plane, "ci", json!({})).await;
    assert_eq!(status_of(&plane, bearer(STATUS, &token)).await, 200);
    for user in ["admin", "x", ""] {
        let request = login(STATUS, &format!("{user}:{token}"));
        assert_eq!(status_of(&plane, request).await, 200, "{user}");
    }
    for wrong in [
        format!("{token}x"),
        token[..token.len() - 1].to_owned(),
        token.to_uppercase(),
        token["hob_".len()..].to_owned(),
        format!("{token}:"),
    ] {
        assert_eq!(
            status_of(&plane, bearer(STATUS, &wrong)).await,
            401,
            "{wrong}"
        );
    }
    // As a user's name it is none.
    let request = login(STATUS, &format!("{token}:"));
    assert_eq!(status_of(&plane, request).await, 401);
    let found = plane
        .control
        .tokens()
        .find(&token)
        .expect("the data plane knows it too");
    assert_eq!(&*found.name, "ci");
}

/// Else a token that may do nothing would wash away failed logins of the same address.
#[tokio::test]
async fn to_be_known_and_refused_is_no_login() {
    let plane = Plane::new();
    let token = make(&plane, "ci", json!({})).await;
    let conduct = async |line: &str, token: &str| {
        let response = plane.send(bearer(line, token), Access::Remote).await;
        let conduct = response.extensions().get::<Conduct>().copied();
        (response.status().as_u16(), conduct)
    };
    let known = Some(Conduct::Known);
    assert_eq!(conduct(STATUS, &token).await, (200, known));
    assert_eq!(conduct("GET /hob/v1/tokens", &token).await, (403, None));
    let failed = Some(Conduct::FailedLogin);
    assert_eq!(conduct(STATUS, "hob_x").await, (401, failed));
}

#[tokio::test]
async fn what_is_kept_is_no_more_than_a_hash() {
    let plane = Plane::new();
    let token = make(&plane, "ci", json!({})).await;
    let (_, list) = plane.call("GET /hob/v1/tokens", "").await;
    assert!(!list.contains(&token["hob_".len()..]), "{list}");
    plane
        .store
        .snapshot(&plane.data.path().join("copy"))
        .expect("copied");
    let database = std::fs::read(plane.data.path().join("copy")).expect("read");
    let text = token.as_bytes();
    assert!(!database.windows(text.len()).any(|part| part == text));
}

#[tokio::test]
async fn a_revoked_token_is_gone_at_once_and_its_name_is_free() {
    let plane = Plane::new();
    let token = make(&plane, "ci", json!({})).await;
    let other = make(&plane, "other", json!({})).await;
    assert_eq!(status_of(&plane, bearer(STATUS, &token)).await, 200);
    let (status, said) = plane
        .call("POST /hob/v1/tokens", r#"{"name":"ci","scopes":["admin"]}"#)
        .await;
    assert_eq!(status, StatusCode::CONFLICT, "{said}");
    assert_eq!(plane.call("DELETE /hob/v1/tokens/ci", "").await.0, 204);
    assert_eq!(status_of(&plane, bearer(STATUS, &token)).await, 401);
    assert_eq!(status_of(&plane, bearer(STATUS, &other)).await, 200);
    assert_eq!(plane.call("DELETE /hob/v1/tokens/ci", "").await.0, 404);
    make(&plane, "ci", json!({})).await;
    assert_eq!(status_of(&plane, bearer(STATUS, &token)).await, 401);
}

#[tokio::test]
async fn a_token_ends_when_it_should() {
    let plane = Plane::new();
    let token = make(&plane, "brief", json!({"expires_in": "1s"})).await;
    let long = make(&plane, "long", json!({"expires_in": "30d"})).await;
    assert_eq!(status_of(&plane, bearer(STATUS, &token)).await, 200);
    let tokens = plane.control.tokens();
    eventually("it ends", || tokens.find(&token).is_none()).await;
    assert_eq!(status_of(&plane, bearer(STATUS, &token)).await, 401);
    assert_eq!(status_of(&plane, bearer(STATUS, &long)).await, 200);
    // It is still there to be seen, and to be revoked.
    let (_, list) = plane.call("GET /hob/v1/tokens", "").await;
    assert!(list.contains("brief"), "{list}");
}

#[tokio::test]
async fn tokens_and_their_last_use_survive_a_restart() {
    let plane = Plane::new();
    let token = make(&plane, "ci", json!({"expires_in": 3600})).await;
    assert_eq!(last_used(&plane).await, Value::Null);
    assert_eq!(status_of(&plane, bearer(STATUS, &token)).await, 200);
    let before = last_used(&plane).await;
    assert!(before.is_string(), "{before}");
    // A stop writes it down.
    Arc::clone(&plane.control)
        .run(Arc::new(NoDoor), async {})
        .await;
    let plane = plane.again();
    plane.control.restore().await.expect("restored");
    assert_eq!(last_used(&plane).await, before);
    assert_eq!(status_of(&plane, bearer(STATUS, &token)).await, 200);
}

#[tokio::test]
async fn what_makes_no_token_says_why() {
    let plane = Plane::new();
    for (body, expected) in [
        (r#"{"name":"ci","scopes":[]}"#, "no scope"),
        (r#"{"name":"ci"}"#, "scopes"),
        (r#"{"name":"CI","scopes":["admin"]}"#, "CI"),
        (r#"{"name":"ci","scopes":["all"]}"#, "`all` is no scope"),
        (
            r#"{"name":"ci","scopes":["admin"],"expires_in":"0s"}"#,
            "a second to ten years",
        ),
        (
            r#"{"name":"ci","scopes":["admin"],"expires_in":"99y"}"#,
            "a second to ten years",
        ),
        (
            r#"{"name":"ci","scopes":["admin"],"ends":"1d"}"#,
            "unknown field",
        ),
        ("name=ci", "must be JSON"),
    ] {
        let (status, said) = plane.call("POST /hob/v1/tokens", body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}: {said}");
        assert!(said.contains(expected), "{body}: {said}");
    }
    assert_eq!(plane.call("GET /hob/v1/tokens", "").await.1, "[]");
}

#[tokio::test]
async fn hobs_own_secrets_are_for_those_who_may_do_everything() {
    let plane = Plane::new();
    let keys = make(&plane, "keys", json!({"scopes": ["secrets:write"]})).await;
    let admin = make(&plane, "admin", json!({"scopes": ["admin"]})).await;
    for namespace in ["openfaas", "hob-registries", "openfaas-fn"] {
        for method in ["PUT", "DELETE"] {
            let line = format!("{method} /hob/v1/secrets/payload-secret?namespace={namespace}");
            let expected = if namespace == "openfaas-fn" { 204 } else { 403 };
            let mut asked = bearer(&line, &keys);
            *asked.body_mut() = "value".into();
            let status = status_of(&plane, asked).await.as_u16();
            let well = status == expected || status == 201 && expected == 204;
            assert!(well, "{line}: {status}");
            let mut asked = bearer(&line, &admin);
            *asked.body_mut() = "value".into();
            assert_ne!(status_of(&plane, asked).await, 403, "{line}");
        }
    }
}

#[tokio::test]
async fn a_store_that_fails_makes_and_loses_no_token() {
    let plane = Plane::new();
    let token = make(&plane, "ci", json!({})).await;
    plane.break_table("tokens", "DELETE");
    assert_eq!(plane.call("DELETE /hob/v1/tokens/ci", "").await.0, 500);
    assert_eq!(status_of(&plane, bearer(STATUS, &token)).await, 200);
}

#[tokio::test]
async fn a_new_password_counts_at_once_and_the_old_one_no_longer() {
    let plane = Plane::new();
    let old = plane.store.ensure_admin_password().expect("store");
    let old = format!("admin:{}", old.expect("new").reveal());
    // It is remembered now.
    assert_eq!(status_of(&plane, login(STATUS, &old)).await, 200);
    let change = |credentials: &str, password: &str| {
        let mut request = login("PUT /hob/v1/password", credentials);
        *request.body_mut() = json!({"password": password}).to_string().into();
        request
    };
    assert_eq!(
        status_of(&plane, change(&old, "correct horse battery")).await,
        204
    );
    assert_eq!(status_of(&plane, login(STATUS, &old)).await, 401);
    let new = "admin:correct horse battery";
    assert_eq!(status_of(&plane, login(STATUS, new)).await, 200);
    assert_eq!(
        status_of(&plane, change(&old, "another one of mine")).await,
        401
    );
    for (bad, why) in [
        ("feeble", "12"),
        ("hob_01234567890", "tokens"),
        ("a\nb34567890123", "control"),
    ] {
        let answer = plane.send(change(new, bad), Access::Remote).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        let said = text(answer).await;
        assert!(said.contains(why) && !said.contains(bad), "{said}");
    }
    let (status, said) = plane.call("PUT /hob/v1/password", "not JSON at all").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(!said.contains("not JSON"), "{said}");
    assert_eq!(status_of(&plane, login(STATUS, new)).await, 200);
}

#[tokio::test]
async fn a_check_under_way_does_not_bring_the_old_password_back() {
    let plane = Plane::new();
    let old = plane.store.ensure_admin_password().expect("store");
    let old = format!("admin:{}", old.expect("new").reveal());
    let body = json!({"password": "correct horse battery"}).to_string();
    let (_, (status, _)) = join(
        status_of(&plane, login(STATUS, &old)),
        plane.call("PUT /hob/v1/password", body),
    )
    .await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(status_of(&plane, login(STATUS, &old)).await, 401);
}

#[tokio::test]
async fn another_name_is_wrong_and_takes_a_hash_whatever_the_password() {
    let plane = Plane::new();
    let right = plane.store.ensure_admin_password().expect("store");
    let right = right.expect("new").reveal().to_owned();
    let admin = login(STATUS, &format!("admin:{right}"));
    assert_eq!(status_of(&plane, admin).await, 200);
    // The right one is remembered, and would be answered at once if the name did not count.
    for password in [right.as_str(), "wrong"] {
        let credentials = format!("root:{password}");
        let asked = (0..30).map(|_| status_of(&plane, login(STATUS, &credentials)));
        let answers = join_all(asked).await;
        let count = |status: u16| answers.iter().filter(|one| **one == status).count();
        assert_eq!(count(401) + count(429), 30, "{answers:?}");
        // Only what is hashed has to wait for its turn.
        assert!(count(429) > 0 && count(401) > 0, "{answers:?}");
    }
}

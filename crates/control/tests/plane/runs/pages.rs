//! What web pages may have run.

use axum::body::Body;
use hob_control::RunsConfig;
use hob_model::Cors;
use http::{Request, StatusCode, header};

use super::{Bench, Plan, ask, done, with};
use crate::{request, text};

const PAGE: &str = "https://play.example.org";

fn execute() -> Request<Body> {
    let body = r#"{"language":"py","version":"*","files":[{"content":""}]}"#;
    with(
        request("POST /api/v2/execute", body),
        "content-type",
        "application/json",
    )
}

#[tokio::test]
async fn no_page_uses_the_sandboxes_of_who_looks_at_it() {
    let bench = Bench::new();
    bench.plan(Plan::Say(vec![done(0)]));
    for sent in [
        with(ask("", "x"), "origin", PAGE),
        with(ask("", "x"), "origin", "null"),
        with(ask("", "x"), "origin", "http://127.0.0.1:8080"),
        with(ask("", "x"), "sec-fetch-site", "cross-site"),
        with(ask("", "x"), "sec-fetch-site", "same-origin"),
        with(execute(), "origin", PAGE),
    ] {
        let answer = bench.send(sent).await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
        let fields = answer.headers();
        assert!(!fields.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
        assert!(text(answer).await.contains("sandbox.cors"));
    }
    assert_eq!(bench.pool.orders(), 0);
    // Somebody has typed the address, which is no page's doing.
    let typed = with(ask("", "x"), "sec-fetch-site", "none");
    assert_eq!(bench.send(typed).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn pages_of_a_named_origin_may_and_can_read_the_answer() {
    let bench = Bench::with(RunsConfig {
        cors: Some(Cors::Origins(vec![PAGE.into()])),
        login: true,
        ..RunsConfig::default()
    });
    bench.plan(Plan::Say(vec![done(0)]));
    let question = with(request("OPTIONS /run", ""), "origin", PAGE);
    let question = with(question, "access-control-request-method", "POST");
    let question = with(question, "access-control-request-headers", "content-type");
    let answer = bench.send(question).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    let fields = answer.headers();
    assert_eq!(fields[header::ACCESS_CONTROL_ALLOW_ORIGIN], PAGE);
    assert_eq!(fields[header::ACCESS_CONTROL_ALLOW_HEADERS], "content-type");
    // Without a login it is no better off than others, and can read why.
    let answer = bench.send(with(ask("", "x"), "origin", PAGE)).await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(answer.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], PAGE);
    let other = with(ask("", "x"), "origin", "https://evil.example.org");
    let answer = bench.send(other).await;
    assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    assert_eq!(answer.headers()[header::VARY], "Origin");

    let bench = Bench::with(RunsConfig {
        cors: Some(Cors::Any),
        ..RunsConfig::default()
    });
    bench.plan(Plan::Say(vec![done(0)]));
    let answer = bench.send(with(execute(), "origin", PAGE)).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let fields = answer.headers();
    assert_eq!(fields[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
    assert!(!fields.contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS));
}

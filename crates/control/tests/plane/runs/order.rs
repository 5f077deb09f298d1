//! What becomes of a request.

use hob_control::{Access, RunsConfig};
use hob_model::{
    Memory, Timespan,
    sandbox::{RunFile, RunLimits},
};
use http::{StatusCode, header};

use super::{Bench, Plan, ask, done, with};
use crate::{Plane, text};

fn json(query: &str, body: &str) -> http::Request<axum::body::Body> {
    with(
        ask(query, body),
        "content-type",
        "application/json; charset=utf-8",
    )
}

#[tokio::test]
async fn a_body_is_a_script_in_bash_unless_the_query_says_more() {
    let bench = Bench::new();
    bench.plan(Plan::Say(vec![done(0)]));
    let form = "application/x-www-form-urlencoded";
    text(
        bench
            .send(with(ask("", "echo {}"), "content-type", form))
            .await,
    )
    .await;
    let order = bench.pool.order();
    assert_eq!((&*order.language, &*order.caller), ("bash", "192.0.2.7"));
    assert_eq!(order.script, b"echo {}");
    assert_eq!(order.limits, RunLimits::default());
    text(
        bench
            .run("?lang=python&time=1s&memory=32Mi&pids=3", "")
            .await,
    )
    .await;
    let order = bench.pool.order();
    assert_eq!(&*order.language, "python");
    assert!(order.script.is_empty());
    assert_eq!(order.limits.time, Some(Timespan::from_secs(1)));
    assert_eq!(order.limits.memory, Some(Memory(32 << 20)));
    assert_eq!(order.limits.pids, Some(3));
}

#[tokio::test]
async fn json_says_all_that_there_is_to_say() {
    let bench = Bench::new();
    bench.plan(Plan::Say(vec![done(0)]));
    let body = r#"{"lang": "python", "script": "print(1)", "args": ["-x", "ü"], "env": {"A": "1"},
        "stdin": "in", "files": [{"name": "a/b.txt", "content": "eA==", "encoding": "base64"},
        {"name": "c", "content": "00ff", "encoding": "hex"}, {"name": "d", "content": "ü"}],
        "limits": {"time": "500ms", "cpu": 1, "output": "1Ki"}, "raw": true}"#;
    let answer = bench.send(json("?time=1s", body)).await;
    assert_eq!(text(answer).await, "\nexit: 0\n");
    let order = bench.pool.order();
    assert_eq!(
        (&*order.language, &order.script[..]),
        ("python", &b"print(1)"[..])
    );
    assert_eq!(order.args, ["-x", "ü"]);
    assert_eq!(order.env, [("A".to_owned(), "1".to_owned())]);
    assert_eq!(order.stdin, b"in");
    let file = |path: &str, contents: &[u8]| RunFile {
        path: path.into(),
        contents: contents.into(),
    };
    let files = [
        file("a/b.txt", b"x"),
        file("c", b"\0\xff"),
        file("d", "ü".as_bytes()),
    ];
    assert_eq!(order.files, files);
    // The query wins.
    assert_eq!(order.limits.time, Some(Timespan::from_secs(1)));
    assert_eq!(order.limits.output, Some(Memory(1 << 10)));
}

#[tokio::test]
async fn what_is_wrong_with_an_order_is_named_and_nothing_is_run() {
    let bench = Bench::new();
    bench.plan(Plan::Say(vec![done(0)]));
    for (request, expected) in [
        (json("", ""), "the body is no order for a run: EOF"),
        (json("", r#"{"scripts": ""}"#), "unknown field `scripts`"),
        (json("", r#"{"script": 1}"#), "invalid type: integer `1`"),
        (
            json(
                "",
                r#"{"files": [{"name": "a", "content": "?", "encoding": "base64"}]}"#,
            ),
            "content of file `a`: no base64",
        ),
        (
            json("", r#"{"limits": {"times": 1}}"#),
            "unknown field `times`",
        ),
        (ask("?time=soon", ""), "query: time:"),
        (
            ask("?time=3s", ""),
            "limit time 3s is above 2s, the most that a run may have here (sandbox.limits.time)",
        ),
        (ask("?memory=1Gi", ""), "limit memory 1Gi is above 64Mi"),
        (ask("?pids=0", ""), "limit pids 0 is below 1"),
    ] {
        let answer = bench.send(request).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{expected}");
        let said = text(answer).await;
        assert!(said.contains(expected), "{said}");
        assert_eq!(said.matches('\n').count(), 1, "{said}");
    }
    let large = "x".repeat((1 << 10) + 1);
    let mut announced = ask("", &large);
    let length = large.len().into();
    announced
        .headers_mut()
        .insert(header::CONTENT_LENGTH, length);
    for request in [ask("", &large), announced] {
        let answer = bench.send(request).await;
        assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
        let said = text(answer).await;
        assert!(said.contains("sandbox.limits.body"), "{said}");
    }
    assert_eq!(bench.pool.orders(), 0);
}

#[tokio::test]
async fn while_it_is_off_everybody_is_told_how_to_switch_it_on() {
    let plane = Plane::new();
    for line in ["POST /run", "POST /api/v2/execute", "GET /api/v2/runtimes"] {
        let answer = plane.send(crate::request(line, ""), Access::Remote).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{line}");
        let said = text(answer).await;
        assert!(said.contains("`enabled = true`"), "{line}: {said}");
        assert_eq!(
            said.starts_with("{\"message\":"),
            line.contains("api"),
            "{said}"
        );
    }
}

#[tokio::test]
async fn where_a_login_is_asked_for_any_token_will_do_and_is_the_caller() {
    let bench = Bench::with(RunsConfig {
        login: true,
        ..RunsConfig::default()
    });
    bench.plan(Plan::Say(vec![done(0)]));
    let answer = bench.run("", "x").await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(answer.headers()["coord"], "c1");
    let asked = r#"{"name": "ci", "scopes": ["invoke:hello"]}"#;
    let (status, made) = bench.plane.call("POST /hob/v1/tokens", asked).await;
    assert_eq!(status, StatusCode::CREATED);
    let made: serde_json::Value = serde_json::from_str(&made).expect("JSON");
    let bearer = format!("Bearer {}", made["token"].as_str().expect("a text"));
    let answer = bench
        .send(with(ask("", "x"), "authorization", &bearer))
        .await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(bench.pool.order().caller, "token:ci");
    // Who is on the machine needs none.
    let answer = bench
        .plane
        .send(crate::request("POST /run", "x"), Access::Local)
        .await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(bench.pool.order().caller, "local");
}

#[tokio::test]
async fn runs_are_counted_by_how_they_ended() {
    use tower::ServiceExt;

    let bench = Bench::new();
    for events in [vec![done(0)], vec![done(1)], vec![super::overdue()]] {
        bench.plan(Plan::Say(events));
        text(bench.run("?end=1", "x").await).await;
    }
    bench.plan(Plan::Hang(Vec::new()));
    drop(bench.run("?end=1", "x").await);
    let metrics = bench.plane.control.metrics_router();
    let answer = metrics.oneshot(crate::request("GET /metrics", "")).await;
    let said = text(answer.expect("infallible")).await;
    for line in [
        "hob_runs_total{reason=\"ok\"} 1",
        "hob_runs_total{reason=\"exit\"} 1",
        "hob_runs_total{reason=\"timeout\"} 1",
        "hob_runs_total{reason=\"cancelled\"} 1",
        "hob_sandboxes{state=\"size\"} 4",
        "hob_run_queue_seconds_count 3",
        "hob_runs_waiting 0",
    ] {
        assert!(said.contains(line), "{line} is not in\n{said}");
    }
}

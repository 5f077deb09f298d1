//! Piston's API.

use std::time::Duration;

use hob_model::{EndReason, Memory, Timespan, sandbox::RunEvent};
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::{Bench, Plan, done, end, overdue, stderr, stdout, with};
use crate::{request, text};

async fn execute(bench: &Bench, body: Value) -> (StatusCode, Value) {
    let sent = request("POST /api/v2/execute", body.to_string());
    let sent = with(sent, "content-type", "application/json");
    read(bench.send(sent).await).await
}

async fn read(answer: Response<axum::body::Body>) -> (StatusCode, Value) {
    let status = answer.status();
    let said = text(answer).await;
    (status, serde_json::from_str(&said).expect(&said))
}

fn hello() -> Value {
    json!({"language": "py", "version": "3.x", "files": [{"content": "print(1)"}]})
}

#[tokio::test]
async fn an_answer_has_all_that_clients_read() {
    let bench = Bench::new();
    bench.plan(Plan::Say(vec![
        stdout("a"),
        stderr("b"),
        stdout("ä\n"),
        done(0),
    ]));
    let mut asked = hello();
    asked["files"] = json!([
        {"name": "data.bin", "content": "00ff", "encoding": "hex"},
        {"name": "hello.py", "content": "print(1)"},
    ]);
    asked["args"] = json!(["1", 2]);
    asked["stdin"] = json!("in");
    asked["run_timeout"] = json!(1500);
    asked["run_memory_limit"] = json!(-1);
    asked["compile_timeout"] = json!(10000);
    let (status, answer) = execute(&bench, asked).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(
        answer,
        json!({
            "run": {
                "signal": null, "stdout": "aä\n", "stderr": "b", "code": 0, "output": "abä\n",
                "memory": 1_234_567, "message": null, "status": null, "cpu_time": 3.0,
                "wall_time": 20.0,
            },
            "language": "python",
            "version": "3.11.2",
        })
    );
    let order = bench.pool.order();
    assert_eq!(
        (&*order.language, &order.script[..]),
        ("python", &b"print(1)"[..])
    );
    let files: Vec<_> = order.files.iter().map(|file| &*file.path).collect();
    assert_eq!(files, ["data.bin", "hello.py"]);
    assert_eq!(
        (order.args, order.stdin),
        (vec!["1".into(), "2".into()], b"in\n".to_vec())
    );
    assert_eq!(
        order.limits.time,
        Some(Timespan(Duration::from_millis(1500)))
    );
    assert_eq!(
        (order.limits.memory, order.limits.output),
        (None, Some(Memory(1 << 20)))
    );
}

/// Events, and what is said of them: status, signal, code and message.
type Said = (
    Vec<RunEvent>,
    &'static str,
    Option<&'static str>,
    Option<i32>,
    &'static str,
);

fn event(code: i32, reason: EndReason, message: &str) -> RunEvent {
    RunEvent::End(end(code, reason, message))
}

async fn says<const N: usize>(cases: [Said; N]) {
    let bench = Bench::new();
    for (events, status, signal, code, message) in cases {
        bench.plan(Plan::Say(events));
        let (_, answer) = execute(&bench, hello()).await;
        let run = &answer["run"];
        assert_eq!(run["status"], status, "{run}");
        assert_eq!(
            (&run["signal"], &run["code"]),
            (&json!(signal), &json!(code)),
            "{run}"
        );
        assert_eq!(run["message"], message, "{run}");
    }
}

#[tokio::test]
async fn each_end_has_the_status_of_piston() {
    says([
        (
            vec![done(3)],
            "RE",
            None,
            Some(3),
            "Exited with error status 3",
        ),
        (
            vec![event(-1, EndReason::Exit, "")],
            "SG",
            Some("SIGKILL"),
            None,
            "Caught fatal signal 9",
        ),
        (
            vec![overdue()],
            "TO",
            Some("SIGKILL"),
            None,
            "Time limit exceeded (wall clock)",
        ),
        (
            vec![event(
                -1,
                EndReason::Timeout,
                "used up its 10s of processor time",
            )],
            "TO",
            Some("SIGKILL"),
            None,
            "Time limit exceeded",
        ),
        (Vec::new(), "XX", None, Some(-1), "the sandbox was lost"),
    ])
    .await;
}

#[tokio::test]
async fn each_limit_has_the_status_of_piston() {
    says([
        (
            vec![stdout("xx"), event(-1, EndReason::Output, "much")],
            "OL",
            Some("SIGKILL"),
            None,
            "stdout length exceeded",
        ),
        (
            vec![stderr("xx"), event(-1, EndReason::Output, "much")],
            "EL",
            Some("SIGKILL"),
            None,
            "stderr length exceeded",
        ),
        (
            vec![event(-1, EndReason::Memory, "over 64Mi of memory")],
            "SG",
            Some("SIGKILL"),
            None,
            "over 64Mi of memory",
        ),
        (
            vec![event(1, EndReason::Pids, "over 64 processes")],
            "RE",
            None,
            Some(1),
            "over 64 processes",
        ),
    ])
    .await;
}

/// A good order with one thing changed.
fn change(key: &str, value: Value) -> Value {
    let mut asked = hello();
    asked[key] = value;
    asked
}

async fn refuses<const N: usize>(cases: [(Value, &str); N]) {
    let bench = Bench::new();
    for (asked, message) in cases {
        let (status, answer) = execute(&bench, asked).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answer}");
        assert_eq!(answer, json!({ "message": message }));
    }
    assert_eq!(bench.pool.orders(), 0);
}

#[tokio::test]
async fn mistakes_are_named_in_pistons_words() {
    refuses([
        (
            change("language", json!(7)),
            "language is required as a string",
        ),
        (
            change("version", Value::Null),
            "version is required as a string",
        ),
        (change("files", json!("x")), "files is required as an array"),
        (
            change("files", json!([{"name": "a"}])),
            "files[0].content is required as a string",
        ),
        (
            change("language", json!("cobol")),
            "cobol-3.x runtime is unknown",
        ),
        (change("version", json!("2.x")), "py-2.x runtime is unknown"),
        (
            change("files", json!([{"content": "eA==", "encoding": "base64"}])),
            "files must include at least one utf8 encoded file",
        ),
    ])
    .await;
}

#[tokio::test]
async fn what_is_too_much_or_of_another_kind_is_named() {
    refuses([
        (
            change("run_timeout", json!("3s")),
            "If specified, run_timeout must be a number",
        ),
        (
            change("run_timeout", json!(3000)),
            "run_timeout cannot exceed the configured limit of 2000",
        ),
        (
            change("run_cpu_time", json!(-5)),
            "run_cpu_time must be non-negative",
        ),
        (
            change("args", json!("x")),
            "args must be an array of strings",
        ),
        (change("stdin", json!(1)), "stdin must be a string"),
        (
            change(
                "files",
                json!([{"content": "a", "encoding": "hex"}, {"content": ""}]),
            ),
            "files[0].content: no hex: Odd number of digits",
        ),
        (
            change(
                "files",
                json!([{"content": ""}, {"name": "main.py", "content": ""}]),
            ),
            "files[1].name: the program itself is written to `main.py`: name the program so, or this file otherwise",
        ),
    ])
    .await;
}

#[tokio::test]
async fn only_posted_json_is_an_order() {
    let bench = Bench::new();
    bench.plan(Plan::Say(vec![done(0)]));
    let form = request("POST /api/v2/execute", hello().to_string());
    let form = with(form, "content-type", "application/x-www-form-urlencoded");
    let (status, answer) = read(bench.send(form).await).await;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(
        answer["message"],
        "requests must be of type application/json"
    );
    let (status, _) = read(bench.send(request("GET /api/v2/execute", "")).await).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(bench.pool.orders(), 0);
    let text = request("POST /api/v2/execute", hello().to_string());
    let text = with(text, "content-type", "text/plain;charset=UTF-8");
    let (status, _) = read(bench.send(text).await).await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn runtimes_are_the_languages_there_are() {
    let bench = Bench::new();
    for path in ["/api/v2/runtimes", "/api/v2/piston/runtimes"] {
        let answer = bench.send(request(&format!("GET {path}"), "")).await;
        let (status, answer) = read(answer).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(
            answer,
            json!([
                {"language": "bash", "version": "0.0.0", "aliases": ["sh"]},
                {"language": "python", "version": "3.11.2", "aliases": ["py", "python3"]},
            ])
        );
    }
}

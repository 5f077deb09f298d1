//! A client that says what it was told and expects what it was told.

use bytes::Bytes;
use hob_testkit::{Answer, Hob};
use http::{Method, Request};
use serde_json::Value;

/// Calls `"METHOD /path"` with the admin password; `null` is no body.
#[track_caller]
pub(crate) fn ask(hob: &Hob, line: &str, body: &Value) -> Answer {
    ask_as(hob, line, body, "Go-http-client/1.1")
}

/// The same by a program of this name.
#[track_caller]
pub(super) fn ask_as(hob: &Hob, line: &str, body: &Value, agent: &str) -> Answer {
    use base64::{Engine, prelude::BASE64_STANDARD};

    let (method, path) = line.split_once(' ').unwrap();
    let login = BASE64_STANDARD.encode(format!("admin:{}", hob.password()));
    let request = Request::builder()
        .method(Method::from_bytes(method.as_bytes()).unwrap())
        .uri(path)
        .header("user-agent", agent)
        .header("authorization", format!("Basic {login}"));
    let body = match body {
        Value::Null => Bytes::new(),
        body => body.to_string().into(),
    };
    hob.send(request.body(body).unwrap())
}

/// A request, what it carries, the status of its answer and a part of the text.
pub(super) type Step<'a> = (&'a str, Value, u16, &'a str);

/// Takes one step after the other. Errors are checked for the form that Go's clients print.
#[track_caller]
pub(super) fn walk(hob: &Hob, steps: &[Step<'_>]) {
    for (line, body, status, text) in steps {
        let answer = ask(hob, line, body);
        let seen = String::from_utf8_lossy(&answer.body).into_owned();
        let step = format!("{line} {body}: {} {seen}", answer.status);
        assert_eq!(answer.status.as_u16(), *status, "{step}");
        assert!(seen.contains(text), "{step}");
        if *status >= 400 {
            assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
            assert_eq!(answer.header("x-content-type-options"), "nosniff");
            assert!(seen.ends_with('\n') && seen.lines().count() == 1, "{step}");
        }
    }
}

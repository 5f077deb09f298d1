//! OpenFaaS's own clients.

use bytes::Bytes;
use hob_testkit::{Answer, Hob, has_programs};
use http::{Method, Request};
use serde_json::{Value, json};

use super::desk::{Recipe, hob};

fn ask(hob: &Hob, method: Method, path: &str, body: &Value) -> Answer {
    use base64::{Engine, prelude::BASE64_STANDARD};

    let login = BASE64_STANDARD.encode(format!("admin:{}", hob.password()));
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Basic {login}"));
    hob.send(request.body(Bytes::from(body.to_string())).unwrap())
}

#[test]
fn an_image_is_deployed_by_the_calls_of_faas_cli() {
    if !has_programs(&["busybox"]) {
        return;
    }
    let hob = hob(&[Recipe::default()]).start();
    let functions = "/system/functions";
    assert_eq!(
        ask(&hob, Method::GET, functions, &json!(null))
            .expect(200)
            .text(),
        "[]"
    );
    hob.call(Method::GET, functions, "").expect(401);
    let asked = json!({
        "service": "hello", "image": "local.test/hello:1", "network": "none",
        "envProcess": "cat", "envVars": {"A": "b"}, "constraints": ["x"],
        "labels": {"team": "a"}, "annotations": {"topic": "many\nlines"},
        "limits": {"memory": "20m", "cpu": "100m"}, "requests": {"memory": "5Mi"},
    });
    // As it does: update first, and make it where there is none.
    ask(&hob, Method::PUT, functions, &asked).expect(404);
    ask(&hob, Method::POST, functions, &asked).expect(202);
    ask(&hob, Method::POST, functions, &asked).expect(409);
    assert_eq!(
        hob.get("/function/hello").expect(200).text(),
        "hello from an image\n"
    );

    let shown = ask(&hob, Method::GET, "/system/function/hello", &json!(null))
        .expect(200)
        .json();
    for key in [
        "image",
        "envProcess",
        "envVars",
        "constraints",
        "labels",
        "annotations",
        "limits",
        "requests",
    ] {
        assert_eq!(shown[key], asked[key], "{key}");
    }
    assert_eq!(shown["name"], "hello");
    assert_eq!(shown["availableReplicas"], 1);
    let listed = ask(&hob, Method::GET, functions, &json!(null))
        .expect(200)
        .json();
    assert_eq!(listed[0]["name"], "hello");

    for (wrong, expected) in [
        (json!({"image": "x"}), "service: is required"),
        (json!({"service": "hello"}), "image: is required"),
        (
            json!({"service": "a_b", "image": "x"}),
            "must be a valid DNS entry",
        ),
        (json!({"service": "a", "image": "X Y"}), "image `X Y`"),
        (
            json!({"service": "a", "image": "x", "limits": {"memory": "much"}}),
            "memory `much`",
        ),
        (json!("x"), "failed to unmarshal request"),
    ] {
        let answer = ask(&hob, Method::POST, functions, &wrong).expect(400);
        assert!(answer.text().contains(expected), "{wrong}: {answer:?}");
    }
    ask(
        &hob,
        Method::DELETE,
        functions,
        &json!({"functionName": "hello"}),
    )
    .expect(202);
    ask(&hob, Method::GET, "/system/function/hello", &json!(null)).expect(404);
    ask(
        &hob,
        Method::DELETE,
        functions,
        &json!({"functionName": "hello"}),
    )
    .expect(404);
}

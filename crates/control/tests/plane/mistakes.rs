//! The three likeliest mistakes at each endpoint: the answer names the mistake in one line, and
//! nothing is lost.

use http::StatusCode;

use crate::Plane;

/// What is sent, with which body, and what must come back.
type Mistake<'a> = (&'a str, &'a [u8], u16, &'a str);

async fn expect(plane: &Plane, mistakes: &[Mistake<'_>]) {
    for (line, body, status, message) in mistakes {
        let (got, text) = plane.call(line, body.to_vec()).await;
        assert_eq!(got.as_u16(), *status, "{line}: {text}");
        assert!(text.contains(message), "{line}: {text}");
        assert!(
            text.ends_with('\n') && text.lines().count() == 1,
            "{line}: {text:?}"
        );
    }
    let (status, text) = plane.call("GET /hob/v1/functions/hello", "").await;
    assert_eq!(status, StatusCode::OK);
    assert!(
        text.contains(r#""revision":"v1""#) && text.contains(r#""ready":1"#),
        "{text}"
    );
    let (_, text) = plane.call("GET /hob/v1/secrets", "").await;
    assert!(text.contains("key"), "{text}");
    assert!(plane.scratch().is_empty());
}

async fn plane() -> Plane {
    let plane = Plane::new();
    plane.deployed("hello", "v1").await;
    plane.deployed("site", "static").await;
    plane.call("PUT /hob/v1/secrets/key", "value").await;
    plane
}

#[tokio::test]
async fn on_paths_and_methods() {
    let mistakes: &[Mistake] = &[
        ("GET /", b"", 404, "/function/NAME"),
        ("GET /hob/v1/function", b"", 404, "/openapi.json"),
        ("GET /hob/v1/functions/", b"", 404, "nothing here"),
        ("POST /hob/v1/functions", b"", 405, "method"),
        ("POST /hob/v1/status", b"", 405, "method"),
        ("DELETE /hob/v1/secrets", b"", 405, "method"),
        ("GET /hob/v1/secrets/key", b"", 405, "method"),
        ("POST /healthz", b"", 405, "method"),
    ];
    expect(&plane().await, mistakes).await;
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let plane = plane().await;
    let post = crate::request("POST /hob/v1/functions/hello", "");
    let response = plane.send(post, hob_control::Access::Local).await;
    let allow = response.headers()[http::header::ALLOW]
        .to_str()
        .expect("text")
        .to_owned();
    for method in ["GET", "PUT", "DELETE"] {
        assert!(allow.contains(method), "{allow}");
    }
}

#[tokio::test]
async fn on_functions() {
    let mistakes: &[Mistake] = &[
        (
            "GET /hob/v1/functions/helo",
            b"",
            404,
            "function `helo` does not exist",
        ),
        (
            "PUT /hob/v1/functions/hello/image",
            br#"{"image": ""}"#,
            400,
            "image ``",
        ),
        (
            "GET /hob/v1/functions/Hello",
            b"",
            400,
            "name `Hello` is invalid",
        ),
        (
            "GET /hob/v1/functions/hello.other",
            b"",
            404,
            "function `hello.other` does not exist",
        ),
        ("GET /hob/v1/functions/%FF", b"", 400, "path"),
        (
            "DELETE /hob/v1/functions/helo",
            b"",
            404,
            "function `helo` does not exist",
        ),
        (
            "DELETE /hob/v1/functions/..%2Fhello",
            b"",
            400,
            "is invalid",
        ),
        (
            "DELETE /hob/v1/functions/hello.",
            b"",
            400,
            "name `` is invalid",
        ),
    ];
    expect(&plane().await, mistakes).await;
}

#[tokio::test]
async fn on_deploys() {
    let mistakes: &[Mistake] = &[
        (
            "PUT /hob/v1/functions/hello",
            b"",
            400,
            "no gzip-compressed tar",
        ),
        (
            "PUT /hob/v1/functions/hello",
            b"PK\x03\x04 a zip",
            400,
            "no gzip-compressed tar",
        ),
        (
            "PUT /hob/v1/functions/hello",
            b"\x1f",
            400,
            "no gzip-compressed tar",
        ),
        (
            "PUT /hob/v1/functions/My%20Function",
            b"\x1f\x8bv2",
            400,
            "name `My Function` is invalid",
        ),
        (
            "PUT /hob/v1/functions/..%2F..%2Fetc",
            b"\x1f\x8bv2",
            400,
            "is invalid",
        ),
    ];
    expect(&plane().await, mistakes).await;
}

#[tokio::test]
async fn on_scaling() {
    let path = "POST /hob/v1/functions/hello/scale";
    let long = [b' '; 2000];
    let mistakes: &[Mistake] = &[
        (path, b"", 400, r#"write {"replicas": 2}"#),
        (path, b"3", 400, r#"write {"replicas": 2}"#),
        (path, br#"{"replicas":-1}"#, 400, "invalid value"),
        (path, br#"{"replicas":1.5}"#, 400, "invalid type"),
        (path, br#"{"replica":1}"#, 400, "unknown field `replica`"),
        (path, br#"{"replicas":101}"#, 400, "0 to 100, not 101"),
        (path, &long, 413, "the scale request is over 1024 bytes"),
        (
            "POST /hob/v1/functions/helo/scale",
            br#"{"replicas":1}"#,
            404,
            "`helo`",
        ),
        (
            "POST /hob/v1/functions/site/scale",
            br#"{"replicas":1}"#,
            400,
            "has no replicas",
        ),
    ];
    expect(&plane().await, mistakes).await;
}

#[tokio::test]
async fn on_logs_and_exports() {
    let mistakes: &[Mistake] = &[
        ("GET /hob/v1/functions/helo/logs", b"", 404, "`helo`"),
        ("GET /hob/v1/functions/hello/logs?tail=-1", b"", 400, "tail"),
        (
            "GET /hob/v1/functions/hello/logs?since=soon",
            b"",
            400,
            "`soon`",
        ),
        (
            "GET /hob/v1/functions/hello/logs?tail=all",
            b"",
            400,
            "tail",
        ),
        (
            "GET /hob/v1/functions/hello/logs?follow=yes",
            b"",
            400,
            "follow",
        ),
        ("GET /hob/v1/functions/helo/export", b"", 404, "`helo`"),
        ("GET /hob/v1/functions/Hello/export", b"", 400, "is invalid"),
        ("POST /hob/v1/functions/hello/export", b"", 400, "image"),
        ("PUT /hob/v1/functions/hello/export", b"", 405, "method"),
    ];
    expect(&plane().await, mistakes).await;
}

#[tokio::test]
async fn on_secrets() {
    let large = vec![b'x'; (1 << 20) + 1];
    let long = format!("PUT /hob/v1/secrets/{}", ["x"; 126].join(".") + ".y");
    let mistakes: &[Mistake] = &[
        (
            "PUT /hob/v1/secrets/key",
            b"",
            400,
            "the value of secret `key` is empty",
        ),
        (
            "PUT /hob/v1/secrets/key",
            &large,
            413,
            "the value of secret `key` is over 1048576 bytes",
        ),
        (
            "PUT /hob/v1/secrets/API_KEY",
            b"x",
            400,
            "secret name `API_KEY` is invalid",
        ),
        ("PUT /hob/v1/secrets/..%2Fkey", b"x", 400, "is invalid"),
        (
            "PUT /hob/v1/secrets/key?namespace=..",
            b"x",
            400,
            "name `..` is invalid",
        ),
        (&long, b"x", 400, "too long"),
        (
            "GET /hob/v1/secrets?namespace=",
            b"",
            400,
            "name `` is invalid",
        ),
        (
            "GET /hob/v1/secrets?namespace=A",
            b"",
            400,
            "name `A` is invalid",
        ),
        (
            "DELETE /hob/v1/secrets/kee",
            b"",
            404,
            "secret `kee` does not exist",
        ),
        (
            "DELETE /hob/v1/secrets/key?namespace=other",
            b"",
            404,
            "does not exist",
        ),
        ("DELETE /hob/v1/secrets/Key", b"", 400, "is invalid"),
    ];
    expect(&plane().await, mistakes).await;
}

//! What `/system` tells strangers, and of mistakes.

use hob_testkit::Hob;
use serde_json::{Value, json};

use super::client::{NONE, ask, hello, walk};
use crate::bench::HOB;

#[test]
fn strangers_are_told_so() {
    let hob = Hob::start(HOB);
    for path in [
        "/system/functions",
        "/system/function/hello",
        "/system/secrets",
        "/system/namespaces",
        "/system/info",
        "/system/telemetry",
    ] {
        let answer = hob.get(path).expect(401);
        assert!(answer.text().starts_with("invalid credentials"), "{path}");
        assert!(
            answer
                .header("www-authenticate")
                .starts_with("Basic realm=")
        );
    }
    hob.post("/system/alert", "{}").expect(401);
    hob.get("/healthz").expect(200);
    hob.post("/healthz", "").expect(405);
    walk(
        &hob,
        &[
            ("GET /system/nothing", NONE, 404, ""),
            ("PATCH /system/functions", NONE, 405, ""),
            ("PUT /system/info", NONE, 405, ""),
            ("GET /system/scale-function/hello", NONE, 405, ""),
            ("GET /system/functions", NONE, 200, "[]"),
            ("GET /system/secrets", NONE, 200, "[]"),
            ("GET /system/namespaces", NONE, 200, "[\"openfaas-fn\"]"),
            ("GET /system/telemetry", NONE, 200, "\"functions\":0"),
        ],
    );
    let info = ask(&hob, "GET /system/info", &NONE).expect(200).json();
    assert_eq!(info["provider"]["provider"], "hob");
    assert_eq!(info["arch"], std::env::consts::ARCH);
    for version in [&info["version"], &info["provider"]["version"]] {
        for key in ["release", "sha", "commit_message"] {
            assert!(!version[key].as_str().unwrap().is_empty(), "{key}: {info}");
        }
    }
    assert!(
        !info["provider"]["orchestration"]
            .as_str()
            .unwrap()
            .is_empty()
    );
}

#[test]
fn mistakes_are_named() {
    let hob = Hob::start(HOB);
    let put = "PUT /system/functions";
    let post = "POST /system/functions";
    let image = |more: Value| hello(more);
    walk(
        &hob,
        &[
            (post, json!("x"), 400, "failed to unmarshal request"),
            (post, NONE, 400, "failed to unmarshal request"),
            (
                post,
                json!({"image": "x"}),
                400,
                "validation failed: service: is required",
            ),
            (
                post,
                json!({"service": "x"}),
                400,
                "validation failed: image: is required",
            ),
            (
                post,
                json!({"service": "a_b", "image": "x"}),
                400,
                "service: (a_b) is invalid, must be a valid DNS entry",
            ),
            (
                put,
                image(json!({})),
                404,
                "function `hello` does not exist",
            ),
            (
                post,
                image(json!({"namespace": "nowhere"})),
                400,
                "namespace not valid",
            ),
            (
                post,
                image(json!({"namespace": "No_Name"})),
                400,
                "namespace not valid",
            ),
            (
                post,
                image(json!({"namespace": "openfaas"})),
                400,
                "namespace not valid",
            ),
            (
                post,
                image(json!({"namespace": "kube-system"})),
                401,
                "kube-system",
            ),
            (
                post,
                image(json!({"image": "Not A Name"})),
                400,
                "Not A Name",
            ),
            (
                post,
                image(json!({"secrets": ["gone"]})),
                400,
                "secret `gone` does not exist",
            ),
            (
                post,
                image(json!({"limits": {"memory": "much"}})),
                400,
                "memory `much`",
            ),
            (
                post,
                image(json!({"labels": {"com.openfaas.scale.min": "few"}})),
                400,
                "label `com.openfaas.scale.min`",
            ),
            (
                post,
                image(json!({"image": "hob.local/hello:0123456789ab"})),
                400,
                "nor bundle `0123456789ab` on this machine: `hob deploy`",
            ),
            (
                post,
                image(json!({"envVars": {"A": "\u{0}"}})),
                400,
                "NUL byte",
            ),
            (post, image(json!({"envProcess": "\u{0}"})), 400, "NUL byte"),
            ("GET /system/function/%FF", NONE, 400, "path"),
            ("GET /system/function/hello", NONE, 404, ""),
            (
                "GET /system/functions?namespace=nowhere",
                NONE,
                400,
                "namespace not valid",
            ),
            (
                "GET /system/secrets?namespace=nowhere",
                NONE,
                400,
                "namespace not valid",
            ),
            (
                "DELETE /system/functions",
                json!({"functionName": "hello"}),
                404,
                "",
            ),
            ("DELETE /system/functions", json!({}), 400, "is invalid"),
            (
                "DELETE /system/functions",
                json!(1),
                400,
                "failed to unmarshal",
            ),
            (
                "POST /system/scale-function/hello",
                json!({"replicas": 1}),
                404,
                "",
            ),
            (
                "POST /system/scale-function/hello",
                json!({}),
                400,
                "replicas",
            ),
            (
                "POST /system/scale-function/hello",
                json!({"replicas": -1}),
                400,
                "",
            ),
            ("POST /system/alert", json!("x"), 400, "failed to unmarshal"),
            (
                "POST /system/alert",
                json!({"alerts": [{"status": "firing", "labels": {"function_name": "a.b"}}]}),
                500,
                "function `a.b` does not exist",
            ),
            (
                "POST /system/alert",
                json!({"status": "firing", "alerts": []}),
                200,
                "",
            ),
        ],
    );
}

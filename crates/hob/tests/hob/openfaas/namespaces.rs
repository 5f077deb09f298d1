//! Namespaces are walls: the same name in two of them is two functions.

use hob_testkit::has_programs;
use serde_json::{Value, json};

use super::client::{ask, walk};
use crate::bench::{Bench, write};

const NONE: Value = Value::Null;

#[test]
fn they_come_and_go_status_code_for_status_code() {
    let bench = Bench::new();
    let marked = |name: &str| json!({"name": name, "annotations": {"openfaas": "1"}});
    let post = "POST /system/namespace/";
    walk(
        &bench.hob,
        &[
            (post, json!({"name": "staging"}), 400, "is not marked"),
            (
                post,
                json!({"name": "Staging", "labels": {"openfaas": "1"}}),
                400,
                "namespace not valid",
            ),
            (post, json!({}), 400, "name: is required"),
            (post, marked("kube-system"), 401, "kube-system"),
            (post, marked("openfaas"), 400, "hob's own"),
            (post, marked("openfaas-fn"), 409, "already exists"),
            (
                post,
                json!({"name": "staging", "labels": {"openfaas": "true", "a": "b"}, "annotations": null}),
                201,
                "",
            ),
            (post, marked("staging"), 409, "already exists"),
            ("POST /system/namespaces", marked("another"), 201, ""),
            (
                "GET /system/namespaces",
                NONE,
                200,
                r#"["another","openfaas-fn","staging"]"#,
            ),
            (
                "GET /system/namespace/staging",
                NONE,
                200,
                r#""labels":{"a":"b","openfaas":"true"}"#,
            ),
            (
                "GET /system/namespaces/staging",
                NONE,
                200,
                r#""name":"staging""#,
            ),
            (
                "GET /system/namespace/openfaas-fn",
                NONE,
                200,
                r#""name":"openfaas-fn""#,
            ),
            ("GET /system/namespace/nowhere", NONE, 404, "does not exist"),
            (
                "GET /system/namespace/openfaas",
                NONE,
                404,
                "does not exist",
            ),
            (
                "GET /system/namespace/kube-system",
                NONE,
                401,
                "kube-system",
            ),
            (
                "PUT /system/namespace/staging",
                marked("another"),
                400,
                "the body names",
            ),
            (
                "PUT /system/namespace/staging",
                json!({"name": "staging"}),
                400,
                "is not marked",
            ),
            ("PUT /system/namespace/nowhere", marked("nowhere"), 404, ""),
            ("PUT /system/namespaces/staging", marked("staging"), 202, ""),
            ("GET /system/namespace/staging", NONE, 200, r#""labels":{}"#),
            (
                "DELETE /system/namespace/staging",
                json!({"name": "another"}),
                400,
                "the body names",
            ),
            (
                "DELETE /system/namespace/openfaas-fn",
                marked("openfaas-fn"),
                400,
                "default",
            ),
            (
                "DELETE /system/namespace/kube-system",
                marked("kube-system"),
                401,
                "",
            ),
            (
                "DELETE /system/namespace/staging",
                marked("staging"),
                202,
                "",
            ),
            (
                "DELETE /system/namespace/staging",
                marked("staging"),
                404,
                "",
            ),
            ("DELETE /system/namespaces/another", NONE, 202, ""),
            ("GET /system/namespaces", NONE, 200, r#"["openfaas-fn"]"#),
        ],
    );
}

#[test]
fn the_same_name_is_two_functions_with_secrets_of_their_own() {
    if !has_programs(&["python3"]) {
        return;
    }
    let mut bench = Bench::new();
    let hob = &bench.hob;
    let read = bench.python("who", "return open('/var/openfaas/secrets/key').read()");
    write(&read.join("hob.toml"), "secrets = [\"key\"]\n");
    assert_eq!(
        hob.cli(["namespace", "create", "staging"]).ok(),
        "created namespace staging\n"
    );
    let error = hob.cli(["namespace", "create", "staging"]).fails(1);
    assert!(error.contains("already exists"), "{error}");
    for (namespace, value) in [("openfaas-fn", "live"), ("staging", "trial")] {
        let secret = json!({"name": "key", "namespace": namespace, "value": value});
        ask(hob, "POST /system/secrets", &secret).expect(202);
        let folder = read.to_str().unwrap();
        hob.cli(["deploy", folder, "--namespace", namespace]).ok();
    }
    assert_eq!(hob.get("/function/who").expect(200).text(), "live");
    assert_eq!(hob.get("/function/who.staging").expect(200).text(), "trial");
    let names = |namespace: &str| {
        let line = format!("GET /system/functions?namespace={namespace}");
        let listed = ask(hob, &line, &NONE).expect(200).json();
        assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
        listed[0]["namespace"].clone()
    };
    assert_eq!(
        (names("openfaas-fn"), names("staging")),
        (json!("openfaas-fn"), json!("staging"))
    );
    let listed = hob.cli(["namespace", "list", "-o", "json"]).json();
    assert_eq!(listed[1], json!({"name": "staging", "functions": 1}));
    assert!(hob.cli(["namespace", "list"]).ok().contains("staging"));

    // A deploy by hob's own command line makes its namespace.
    let folder = read.to_str().unwrap();
    let error = hob.cli(["deploy", folder, "--namespace", "third"]).fails(1);
    assert!(error.contains("key"), "{error}");
    hob.command()
        .args(["secret", "set", "key", "--namespace", "third"])
        .stdin("x")
        .run()
        .ok();
    hob.cli(["deploy", folder, "--namespace", "third"]).ok();
    ask(hob, "GET /system/namespace/third", &NONE).expect(200);

    let error = hob.cli(["namespace", "remove", "staging"]).fails(1);
    assert!(error.contains("--with-secrets"), "{error}");
    hob.cli(["namespace", "remove", "staging", "--with-secrets"])
        .ok();
    hob.get("/function/who.staging").expect(404);
    let secrets = hob.cli(["secret", "list", "--namespace", "staging", "-o", "json"]);
    assert_eq!(secrets.json(), json!([]));
    hob.cli(["namespace", "remove", "staging"]).fails(3);
    hob.get("/function/who").expect(200);

    bench.hob.stop();
    bench.hob.restart();
    let listed = ask(&bench.hob, "GET /system/namespaces", &NONE)
        .expect(200)
        .json();
    assert_eq!(listed, json!(["openfaas-fn", "third"]));
}

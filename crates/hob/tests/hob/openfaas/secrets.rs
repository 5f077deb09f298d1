//! Secrets at `/system`.

use hob_testkit::{assert_eventually, has_programs};
use serde_json::json;

use super::client::{NONE, ask, walk};
use crate::bench::Bench;

#[test]
fn secrets_are_kept_byte_for_byte() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    let hob = &bench.hob;
    let path = "/system/secrets";
    let [get, post, put, delete] =
        ["GET", "POST", "PUT", "DELETE"].map(|method| format!("{method} {path}"));
    // "p4ss\n"
    let both = json!({"name": "key", "value": "p4ss", "rawValue": "cDRzcwo="});
    walk(
        hob,
        &[
            (&put, both.clone(), 404, "secret `key` does not exist"),
            (&post, both.clone(), 202, ""),
            (&post, both.clone(), 409, "already exists"),
            (
                &get,
                NONE,
                200,
                r#"[{"name":"key","namespace":"openfaas-fn"}]"#,
            ),
            (
                &post,
                json!({"name": "", "value": "x"}),
                400,
                "name: is required",
            ),
            (
                &post,
                json!({"name": "../x", "value": "x"}),
                400,
                "secret name `../x`",
            ),
            (&post, json!({"name": "empty"}), 400, "is empty"),
            (
                &post,
                json!({"name": "raw", "rawValue": "%"}),
                400,
                "rawValue",
            ),
            (
                &post,
                json!({"name": "a", "value": "x", "namespace": "nowhere"}),
                400,
                "namespace not valid",
            ),
            (
                &post,
                json!({"name": "payload-secret", "value": "x", "namespace": "openfaas"}),
                400,
                "namespace not valid",
            ),
            (
                "GET /system/secrets?namespace=hob-registries",
                NONE,
                400,
                "namespace not valid",
            ),
            (&post, json!("x"), 400, "failed to unmarshal"),
            (
                &delete,
                json!({"name": "none"}),
                404,
                "secret `none` does not exist",
            ),
        ],
    );
    let body = "return open('/var/openfaas/secrets/key', 'rb').read()";
    let folder = bench.python("reader", body);
    crate::bench::write(&folder.join("hob.toml"), "secrets = [\"key\"]\n");
    bench.deploy(&folder);
    let read = || hob.post("/function/reader", "").expect(200).body;
    assert_eq!(read(), "p4ss\n");
    ask(hob, &put, &json!({"name": "key", "value": "second"})).expect(202);
    assert_eventually!(read() == "second", "the running function sees the update");
    walk(
        hob,
        &[
            (
                &delete,
                json!({"name": "key", "namespace": "openfaas-fn"}),
                202,
                "",
            ),
            (&get, NONE, 200, "[]"),
            (
                "DELETE /system/secrets?namespace=openfaas-fn",
                json!({"name": "key"}),
                404,
                "",
            ),
        ],
    );
}

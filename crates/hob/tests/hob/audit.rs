//! The audit: who changed what, as the command line shows it, and no secret anywhere in it.

use std::fs;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use hob_testkit::has_programs;
use http::{Method, Request, header};
use serde_json::Value;

use crate::bench::Bench;

/// What `hob audit -o json` prints with these arguments.
fn audit(bench: &Bench, args: &[&str]) -> Vec<Value> {
    let command = bench.hob.command().args(["audit", "-o", "json"]);
    let json = command.args(args).run().json();
    json.as_array().unwrap().clone()
}

/// Action, target and status of each.
fn in_short(records: &[Value]) -> Vec<String> {
    let text = |record: &Value, key: &str| record[key].as_str().unwrap().to_owned();
    let short = |record: &Value| {
        let words = (text(record, "action"), text(record, "target"));
        format!("{} {} {}", words.0, words.1, record["status"])
    };
    records.iter().map(short).collect()
}

/// A request with the admin password.
fn admin(bench: &Bench, method: Method, path: &str, body: &str) -> u16 {
    let login = BASE64_STANDARD.encode(format!("admin:{}", bench.hob.password()));
    let request = Request::builder().method(method).uri(path);
    let request = request.header(header::AUTHORIZATION, format!("Basic {login}"));
    let request = request.body(Bytes::copy_from_slice(body.as_bytes()));
    bench.hob.send(request.unwrap()).status.as_u16()
}

#[test]
fn every_change_leaves_a_record_and_reading_leaves_none() {
    let bench = Bench::new();
    let hob = &bench.hob;
    assert!(audit(&bench, &[]).is_empty());
    bench.deploy(&bench.site("welcome", "hi"));
    hob.cli(["list"]).ok();
    hob.command()
        .args(["secret", "set", "key"])
        .stdin("x")
        .run()
        .ok();
    hob.cli(["remove", "nobody"]).fails(3);
    let body = r#"{"name": "other", "value": "y"}"#;
    assert_eq!(admin(&bench, Method::POST, "/system/secrets", body), 202);
    let body = r#"{"service": "no", "image": ""}"#;
    assert_eq!(admin(&bench, Method::POST, "/system/functions", body), 400);
    // Those that were not let in are no changes, and neither are calls.
    hob.call(Method::DELETE, "/hob/v1/functions/welcome", "")
        .expect(401);
    hob.get("/function/welcome/").expect(200);
    let backup = bench.folder.path().join("backup.tar.gz");
    hob.cli(["backup", backup.to_str().unwrap()]).ok();
    hob.cli(["remove", "welcome"]).ok();

    let records = audit(&bench, &[]);
    let expected = [
        "function.deploy welcome 200",
        "secret.set key 201",
        "function.remove nobody 404",
        "secret.set other 202",
        "function.deploy  400",
        "backup.read  200",
        "function.remove welcome 204",
    ];
    assert_eq!(in_short(&records), expected);
    for (at, record) in records.iter().enumerate() {
        let (who, from) = (record["who"].as_str().unwrap(), &record["from"]);
        match at {
            3 | 4 => assert!(who == "admin" && from != "local", "{record}"),
            _ => assert!(who.starts_with("local") && from == "local", "{record}"),
        }
    }
    // The same in the log.
    let line = "action=function.deploy target=welcome status=200";
    let log = hob.log();
    let line = log.lines().find(|one| one.ends_with(line)).unwrap();
    assert!(line.contains(" INFO audit who=local"), "{line}");
    // And for people.
    let shown = hob.cli(["audit", "--action", "secret.set"]).ok();
    let head: Vec<_> = shown.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(head, ["WHEN", "WHO", "FROM", "ACTION", "TARGET", "STATUS"]);
    assert_eq!(shown.lines().count(), 3, "{shown}");
}

#[test]
fn a_deploy_is_recorded_when_it_has_ended_with_how_it_went() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    let folder = bench.python("broken", "return 'never'");
    fs::write(folder.join("hob.toml"), "secrets = [\"nowhere\"]\n").unwrap();
    let folder = folder.to_str().unwrap();
    bench.hob.cli(["deploy", folder]).fails(1);
    assert_eq!(
        in_short(&audit(&bench, &[])),
        ["function.deploy broken 400"]
    );
    let secret = bench.hob.command().args(["secret", "set", "nowhere"]);
    secret.stdin("x").run().ok();
    bench.hob.cli(["deploy", folder]).ok();
    bench.hob.cli(["scale", "broken", "2"]).ok();
    bench.hob.cli(["rollback", "broken"]).fails(1);
    let expected = [
        "function.deploy broken 400",
        "secret.set nowhere 201",
        "function.deploy broken 200",
        "function.scale broken 200",
        "function.rollback broken 400",
    ];
    assert_eq!(in_short(&audit(&bench, &[])), expected);
}

#[test]
fn of_a_push_one_record_is_left_by_its_manifest() {
    let bench = Bench::with(&["--registry"]);
    let uploads = "/v2/team/app/blobs/uploads/";
    assert_eq!(admin(&bench, Method::POST, uploads, ""), 202);
    let manifest = "/v2/team/app/manifests/1.0";
    assert_eq!(admin(&bench, Method::PUT, manifest, "{}"), 400);
    let records = audit(&bench, &[]);
    assert_eq!(in_short(&records), ["image.push team/app:1.0 400"]);
    // Nobody who is not let in can fill it.
    bench.hob.post("/build", "").expect(401);
    bench.hob.post("/async-function/nobody", "").expect(404);
    assert_eq!(audit(&bench, &[]).len(), 1);
}

#[test]
fn records_are_found_by_what_is_known_of_them() {
    let bench = Bench::new();
    for name in ["a", "b"] {
        bench.deploy(&bench.site(name, "hi"));
    }
    bench.hob.cli(["remove", "a"]).ok();
    assert_eq!(
        admin(&bench, Method::DELETE, "/hob/v1/functions/b", ""),
        204
    );
    let found = |args: &[&str]| in_short(&audit(&bench, args));
    let deploys = ["function.deploy a 200", "function.deploy b 200"];
    assert_eq!(found(&["--action", "function.deploy"]), deploys);
    assert_eq!(found(&["--action", "function"]).len(), 4);
    assert_eq!(found(&["--who", "admin"]), ["function.remove b 204"]);
    let of_a = ["function.deploy a 200", "function.remove a 204"];
    assert_eq!(found(&["--target", "a"]), of_a);
    let newest = ["function.remove a 204", "function.remove b 204"];
    assert_eq!(found(&["--limit", "2"]), newest);
    assert_eq!(found(&["--since", "1h"]).len(), 4);
    let third = audit(&bench, &[])[2]["at"].as_str().unwrap().to_owned();
    assert_eq!(found(&["--since", &third]), newest);
    let none = bench.hob.cli(["audit", "--since", "2100-01-01T00:00:00Z"]);
    assert!(none.stderr.contains("no such changes"), "{none:?}");
    let line = bench.hob.cli(["audit", "--since", "yesterday"]).fails(64);
    assert!(line.contains("is no time"), "{line}");
    // What was changed is known to the next server.
    let mut bench = bench;
    bench.hob.stop();
    bench.hob.restart();
    assert_eq!(audit(&bench, &[]).len(), 4);
}

#[test]
fn no_secret_is_in_it_nor_in_the_log() {
    const VALUE: &str = "hunter2-hunter2";
    let bench = Bench::new();
    let hob = &bench.hob;
    hob.command()
        .args(["secret", "set", "key"])
        .stdin(VALUE)
        .run()
        .ok();
    let encoded = BASE64_STANDARD.encode(VALUE);
    for body in [
        format!(r#"{{"name": "other", "value": "{VALUE}"}}"#),
        format!(r#"{{"name": "other", "value": "{VALUE}"}}"#),
        format!(r#"{{"name": "third", "rawValue": "{encoded}"}}"#),
        format!(r#"{{"name": "{VALUE}/", "value": "#),
        format!(r#"{{"name": "x", "value": {VALUE}"#),
    ] {
        admin(&bench, Method::POST, "/system/secrets", &body);
    }
    let query = format!("/hob/v1/secrets/key?namespace=openfaas-fn&token={VALUE}");
    assert_eq!(admin(&bench, Method::PUT, &query, VALUE), 204);
    let login = format!(r#"{{"username": "ada", "password": "{VALUE}"}}"#);
    let path = "/hob/v1/registries/127.0.0.1:1/login";
    assert_eq!(admin(&bench, Method::PUT, path, &login), 500);
    let shown = hob.cli(["audit"]).ok();
    assert_eq!(shown.lines().count(), 9, "{shown}");
    let places = ["hob.db", "hob.db-wal"].map(|name| fs::read(hob.data().join(name)));
    let database = places.into_iter().flatten().collect::<Vec<_>>().concat();
    let has = |bytes: &[u8], text: &str| {
        bytes
            .windows(text.len())
            .any(|part| part == text.as_bytes())
    };
    assert!(has(&database, "secret.set"));
    for value in [VALUE, encoded.as_str(), bench.hob.password()] {
        assert!(!has(&database, value));
        assert!(!has(hob.log().as_bytes(), value) && !shown.contains(value));
    }
}

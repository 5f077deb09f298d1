//! Functions of folders, by names like images'.

use std::{fs, path::Path};

use bytes::Bytes;
use hob_testkit::{Answer, Hob, has_programs};
use http::{Method, Request};
use serde_json::{Value, json};

use super::client::{ask, ask_as};
use crate::bench::{Bench, write};

const NONE: Value = Value::Null;
const WHO: &str = "import os\nreturn os.environ.get('WHO', 'nobody')";
const SETTINGS: &str =
    "timeout = \"7s\"\nidle = \"99s\"\ncors = \"*\"\n[env]\nWHO = \"Mina\"\n[limits]\npids = 99\n";

fn who(bench: &Bench) -> std::path::PathBuf {
    let folder = bench.python("who", WHO);
    write(&folder.join("hob.toml"), SETTINGS);
    folder
}

fn describe(hob: &Hob, name: &str) -> Value {
    hob.cli(["describe", name, "-o", "json"]).json()
}

/// What faas-cli would send for what it was shown.
fn as_shown(hob: &Hob, name: &str) -> Value {
    let all = ask_as(hob, "GET /system/functions", &NONE, "faas-cli/0.17.4");
    let all = all.expect(200).json();
    let mut all = all.as_array().unwrap().iter();
    let mut shown = all.find(|one| one["name"] == name).unwrap().clone();
    shown["service"] = shown["name"].clone();
    shown
}

#[test]
fn what_is_shown_can_be_sent_back() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    let hob = &bench.hob;
    let folder = who(&bench);
    bench.deploy(&folder);
    let first = describe(hob, "who");
    let mut shown = as_shown(hob, "who");
    let image = shown["image"].as_str().unwrap().to_owned();
    let bundle = image.strip_prefix("hob.local/who:").unwrap().to_owned();
    assert_eq!(bundle.len(), 12);
    assert_eq!(shown["envVars"], json!({"WHO": "Mina"}));
    assert_eq!(shown["labels"], json!({}));

    // As it was: nothing is started.
    ask(hob, "PUT /system/functions", &shown).expect(202);
    let again = describe(hob, "who");
    assert_eq!(again["revision"], first["revision"]);
    assert_eq!(again["instances"][0]["id"], first["instances"][0]["id"]);

    // With a change: the same bundle and what clients cannot say.
    shown["envVars"]["WHO"] = "Lucy".into();
    ask(hob, "PUT /system/functions", &shown).expect(202);
    let changed = describe(hob, "who");
    assert_ne!(changed["revision"], first["revision"]);
    assert_eq!(hob.get("/function/who").expect(200).text(), "Lucy");
    for key in ["timeout", "idle", "cors", "limits"] {
        assert_eq!(changed["settings"][key], first["settings"][key], "{key}");
    }
    assert_eq!(as_shown(hob, "who")["image"], image.as_str());

    // The folder says again what it says.
    bench.deploy(&folder);
    assert_eq!(hob.get("/function/who").expect(200).text(), "Mina");
    let said = hob.cli(["deploy", folder.to_str().unwrap()]).ok();
    assert!(said.contains("unchanged"), "{said}");
}

#[test]
fn a_bundle_is_known_under_every_name_and_when_nobody_runs_it() {
    if !has_programs(&["python3"]) {
        return;
    }
    let mut bench = Bench::new();
    let hob = &bench.hob;
    bench.deploy(&who(&bench));
    let image = as_shown(hob, "who")["image"].clone();
    hob.cli(["namespace", "create", "staging"]).ok();
    for (service, namespace) in [("other", "openfaas-fn"), ("who", "staging")] {
        let asked = json!({
            "service": service, "namespace": namespace, "image": image, "envVars": {"WHO": namespace},
        });
        ask(hob, "POST /system/functions", &asked).expect(202);
        let path = format!("/function/{service}.{namespace}");
        assert_eq!(hob.get(&path).expect(200).text(), namespace);
    }
    // What clients cannot say came along.
    assert_eq!(describe(hob, "other")["settings"]["timeout"], "7s");
    assert_eq!(as_shown(hob, "other")["image"], image);

    for name in ["who", "other", "who.staging"] {
        hob.cli(["remove", name]).ok();
    }
    bench.hob.stop();
    bench.hob.restart();
    let hob = &bench.hob;
    // The beginning of the name is enough, and as much of it as one likes.
    let bundles = fs::read_dir(hob.data().join("bundles")).unwrap();
    let names = bundles.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let whole = names.into_iter().find(|name| name.len() == 64).unwrap();
    for image in [
        image.as_str().unwrap().to_owned(),
        format!("hob.local/x/y:{whole}"),
    ] {
        let asked = json!({"service": "again", "image": image});
        ask(hob, "POST /system/functions", &asked).expect(202);
        assert_eq!(hob.get("/function/again").expect(200).text(), "nobody");
        assert_eq!(describe(hob, "again")["settings"]["idle"], "1m39s");
        ask(
            hob,
            "DELETE /system/functions",
            &json!({"functionName": "again"}),
        )
        .expect(202);
    }
    // Export and rebuild find the bundle as well.
    let asked = json!({"service": "again", "image": image, "envVars": {"WHO": "Renfield"}});
    ask(hob, "POST /system/functions", &asked).expect(202);
    let target = bench.folder.path().join("exported");
    hob.cli(["export", "again", target.to_str().unwrap()]).ok();
    assert!(target.join("run").exists() || target.join("README.md").exists());
}

#[test]
fn a_site_is_there_for_clients_too() {
    let bench = Bench::new();
    bench.deploy(&bench.site("site", "Whitby"));
    let shown = as_shown(&bench.hob, "site");
    assert_eq!(
        (&shown["replicas"], &shown["availableReplicas"]),
        (&json!(1), &json!(1))
    );
    let mut copy = shown;
    copy["service"] = "copy".into();
    copy["annotations"] = json!({"note": "a copy"});
    ask(&bench.hob, "POST /system/functions", &copy).expect(202);
    assert_eq!(
        bench.hob.get("/function/copy/").expect(200).text(),
        "Whitby"
    );
}

/// Sends a folder with what a client of OpenFaaS would say beside it.
fn upload(hob: &Hob, name: &str, folder: &Path, deployment: &str, length: usize) -> Answer {
    use base64::{Engine, prelude::BASE64_STANDARD};

    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(&mut packed);
    tar.append_dir_all(".", folder).unwrap();
    tar.finish().unwrap();
    drop(tar);
    let body = [deployment.as_bytes(), &packed.finish().unwrap()].concat();
    let login = BASE64_STANDARD.encode(format!("admin:{}", hob.password()));
    let request = Request::builder()
        .method(Method::PUT)
        .uri(format!("/hob/v1/functions/{name}"))
        .header("authorization", format!("Basic {login}"))
        .header("x-hob-deployment", length);
    hob.send(request.body(Bytes::from(body)).unwrap())
}

#[test]
fn a_folder_may_come_with_an_image_name_and_settings() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    let hob = &bench.hob;
    let folder = who(&bench);
    let alias = "registry.example.net/who:latest";
    let deployment = json!({
        "service": "who", "image": alias, "labels": {"team": "a"},
        "envVars": {"EXTRA": "1"}, "limits": {"memory": "40Mi"},
    });
    let text = deployment.to_string();
    let answer = upload(hob, "who", &folder, &text, text.len()).expect(200);
    assert!(answer.text().contains("\"event\":\"done\""), "{answer:?}");
    let shown = as_shown(hob, "who");
    assert_eq!(shown["image"], alias);
    assert_eq!(shown["envVars"], json!({"EXTRA": "1", "WHO": "Mina"}));
    assert_eq!(shown["labels"], json!({"team": "a"}));
    assert_eq!(shown["limits"], json!({"memory": "40Mi"}));
    let first = describe(hob, "who");
    assert_eq!(first["settings"]["timeout"], "7s");
    assert_eq!(first["settings"]["limits"]["memory"], "40Mi");

    // The same name in a PUT means the same folder.
    ask(hob, "PUT /system/functions", &shown).expect(202);
    assert_eq!(describe(hob, "who")["revision"], first["revision"]);
    let mut changed = shown;
    changed["envVars"]["WHO"] = "Arthur".into();
    ask(hob, "PUT /system/functions", &changed).expect(202);
    assert_eq!(hob.get("/function/who").expect(200).text(), "Arthur");
    // As does the same folder with the same words.
    let answer = upload(hob, "who", &folder, &text, text.len()).expect(200);
    assert!(answer.text().contains("\"changed\":true"), "{answer:?}");
    let answer = upload(hob, "who", &folder, &text, text.len()).expect(200);
    assert!(answer.text().contains("\"changed\":false"), "{answer:?}");

    for (text, length, expected) in [
        (text.as_str(), 3, "x-hob-deployment: EOF"),
        ("{\"labels\": 1}", 13, "x-hob-deployment: invalid type"),
        ("{}", 2_000_000, "at most 1048576"),
        (r#"{"secrets": ["../x"]}"#, 21, "secret name `../x`"),
    ] {
        let answer = upload(hob, "who", &folder, text, length).expect(400);
        assert!(answer.text().contains(expected), "{answer:?}");
    }
    let text = r#"{"secrets": ["none"]}"#;
    let answer = upload(hob, "who", &folder, text, text.len()).expect(200);
    assert!(
        answer.text().contains("secret `none` does not exist"),
        "{answer:?}"
    );
}

//! Whom a server believes whose a request is: `[proxy]` of its settings.

use std::path::PathBuf;

use bytes::Bytes;
use hob_testkit::{Hob, has_programs};
use http::Request;
use tempfile::TempDir;

use crate::bench::{HOB, handler, hob, write};

/// A file of settings with this table.
fn settings(folder: &TempDir, table: &str) -> PathBuf {
    let file = folder.path().join("config.toml");
    write(&file, &format!("[proxy]\n{table}\n"));
    file
}

#[test]
fn functions_are_told_what_a_trusted_proxy_says_and_nobody_else() {
    if !has_programs(&["python3"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let body = "h = req.headers\nreturn ' '.join([h['x-forwarded-proto'], h['x-forwarded-host'], h['x-forwarded-for']])";
    write(&folder.path().join("told/handler.py"), &handler(body));
    for (table, expected) in [
        ("", "http h 192.0.2.7, 127.0.0.1"),
        ("trusted = [\"10.0.0.0/8\"]", "http h 192.0.2.7, 127.0.0.1"),
        (
            "trusted = [\"10.0.0.0/8\", \"127.0.0.1\"]",
            "https shop.example 192.0.2.7, 127.0.0.1",
        ),
        (
            "trusted = [\"::ffff:127.0.0.0/104\"]\nheader = \"X-Real-IP\"",
            "https shop.example 192.0.2.7, 127.0.0.1",
        ),
        (
            "trusted = [\"127.0.0.1\"]\nheader = \"forwarded\"",
            "http h 192.0.2.7, 127.0.0.1",
        ),
    ] {
        let file = settings(&folder, table);
        let hob = Hob::builder(HOB).args(["--config".into(), file]).start();
        hob.cli(["deploy", folder.path().join("told").to_str().unwrap()])
            .ok();
        let request = Request::get("/function/told")
            .header("host", "h")
            .header("x-forwarded-for", "192.0.2.7")
            .header("x-forwarded-proto", "https")
            .header("x-forwarded-host", "shop.example");
        let answer = hob.send(request.body(Bytes::new()).unwrap()).expect(200);
        assert_eq!(answer.text(), expected, "{table}");
    }
}

#[test]
fn a_mistake_is_told_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    for (table, expected) in [
        (
            "trusted = [\"proxy.example\"]",
            ":2: `proxy.example` is no address or network",
        ),
        ("trusted = [\"0.0.0.0/0\"]", ":2: `0.0.0.0/0` is everybody"),
        ("\ntrust = []", ":3: unknown field `trust`"),
        (
            "header = \"forwarded\"",
            ":1: [proxy] has a header and trusts nobody",
        ),
        (
            "[tls]\nlisten = \"127.0.0.1:0\"\n",
            ":2: [tls] no certificate can be had",
        ),
    ] {
        let file = settings(&folder, table);
        let line = hob(["up", "--config", file.to_str().unwrap()])
            .run()
            .fails(64);
        assert!(line.contains(expected), "{line}");
    }
}

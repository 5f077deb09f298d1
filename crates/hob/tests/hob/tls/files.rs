use std::fs;

use hob_testkit::{Hob, assert_eventually};
use serde_json::Value;

use super::{Authority, NOT_TRUSTED, can_test, curl, doors, presented, with_tls};
use crate::bench::{Bench, HOB, write};

/// Bytes of a body.
const LARGE: usize = 1 << 20;
/// Says how it was called, or the body twice.
const ECHO: &str = "\
def handle(event, context):
    if event.path == '/large':
        return event.body * 2
    return event.headers.get('X-Forwarded-Proto', 'none')
";

fn certificates(hob: &Hob) -> Value {
    hob.cli(["certificate", "list", "-o", "json"]).json()
}

/// The line of `hob status` with `word` in it.
fn warning(hob: &Hob, word: &str) -> Option<String> {
    let status = hob.cli(["status", "-o", "json"]).json();
    let warnings = status["warnings"].as_array().unwrap().iter();
    let mut lines = warnings.map(|line| line.as_str().unwrap().to_owned());
    lines.find(|line| line.contains(word))
}

#[test]
fn calls_come_by_tls_and_http_2_and_everybody_is_sent_there() {
    if !can_test() {
        return;
    }
    let authority = Authority::new();
    let root = authority.root();
    let (certificate, key) = authority.issue(&["a.test", "*.b.test"]);
    let (other, other_key) = authority.issue(&["c.test"]);
    let folder = tempfile::tempdir().unwrap();
    let table = format!(
        "certificate = {certificate:?}\nkey = {key:?}\nhsts = \"365d\"\n[[tls.files]]\ncertificate = {other:?}\nkey = {other_key:?}"
    );
    let hob = with_tls(folder.path(), &table).start();
    let bench = Bench { hob, folder };
    let (tls, redirect) = doors(&bench.hob);
    let handler = bench.folder.path().join("echo/handler.py");
    write(&handler, ECHO);
    bench.deploy(handler.parent().unwrap());

    // By name, by any first part of one, and by no name at all.
    for host in ["a.test", "x.b.test", "c.test"] {
        let got = curl(tls, &root, &format!("https://{host}/healthz"), &[]);
        assert_eq!(
            got.field("strict-transport-security"),
            Some("max-age=31536000")
        );
        assert!(got.ok().contains("HTTP/2 200"));
    }
    for host in ["y.x.b.test", "d.test"] {
        let got = curl(tls, &root, &format!("https://{host}/healthz"), &[]);
        assert_eq!(got.code, Some(NOT_TRUSTED), "{host}");
        assert!(presented(tls, host).contains("DNS:a.test"));
    }
    assert!(presented(tls, "").contains("DNS:a.test"));
    assert!(presented(tls, "C.test").contains("DNS:c.test"));

    let large = bench.folder.path().join("large");
    write(&large, &"y".repeat(LARGE));
    // The function learns how the call came, and the express lane is as it was.
    for (version, line) in [("--http1.1", "HTTP/1.1 200"), ("--http2", "HTTP/2 200")] {
        let got = curl(
            tls,
            &root,
            "https://a.test/function/echo",
            &[version, "-d", "x"],
        );
        let text = got.ok();
        assert!(text.contains(line) && text.ends_with("https"), "{text}");
        // More than any buffer on the way.
        let (url, body) = (
            "https://a.test/function/echo/large",
            format!("@{}", large.display()),
        );
        let got = curl(tls, &root, url, &[version, "--data-binary", &body]);
        assert!(got.ok().ends_with(&"y".repeat(2 * LARGE)));
    }
    let plain = bench.hob.get("/function/echo").expect(200);
    assert_eq!(plain.text(), "http");
    assert_eq!(plain.header("strict-transport-security"), "");
    // So does the control plane, with its password.
    let login = format!("admin:{}", bench.hob.password());
    let listed = curl(
        tls,
        &root,
        "https://a.test/system/functions",
        &["-u", &login],
    );
    assert!(listed.ok().contains("\"echo\""));
    let refused = curl(tls, &root, "https://a.test/system/functions", &[]);
    assert!(refused.ok().contains("HTTP/2 401"));

    // Without TLS: the same address with https, and only of hosts that are here.
    let sent = curl(
        redirect,
        &root,
        "http://X.b.test/function/echo?a=%20b",
        &["-d", "x"],
    );
    assert!(sent.text.contains("308 Permanent Redirect"), "{sent:?}");
    let expected = format!("https://x.b.test:{}/function/echo?a=%20b", tls.port());
    assert_eq!(sent.field("location"), Some(expected.as_str()));
    assert_eq!(sent.field("strict-transport-security"), None);
    for host in ["evil.example", "127.0.0.1"] {
        let refused = curl(redirect, &root, &format!("http://{host}/"), &[]);
        assert!(refused.text.contains("HTTP/1.1 421"), "{refused:?}");
        assert_eq!(refused.field("location"), None);
    }
    let token = "http://a.test/.well-known/acme-challenge/../x";
    let unknown = curl(redirect, &root, token, &["--path-as-is"]);
    assert!(unknown.text.contains("HTTP/1.1 404"), "{unknown:?}");

    let status = bench.hob.cli(["status", "-o", "json"]).json();
    assert_eq!(status["tls"], format!("https://{tls}"));
    let listed = certificates(&bench.hob);
    assert_eq!(listed[0]["source"], "file");
    assert_eq!(listed[0]["hosts"][1], "*.b.test");
    assert_eq!(listed[0]["issuer"], "Root of the test");
    assert_eq!(listed[1]["file"], other.to_str().unwrap());
}

#[test]
fn a_changed_file_is_presented_within_seconds_and_a_broken_one_never() {
    if !can_test() {
        return;
    }
    let authority = Authority::new();
    let (first, first_key) = authority.issue(&["a.test"]);
    let (second, second_key) = authority.issue(&["b.test"]);
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("tls.pem"), folder.path().join("tls.key"));
    fs::copy(&first, &certificate).unwrap();
    fs::copy(&first_key, &key).unwrap();
    let table = format!("certificate = {certificate:?}\nkey = {key:?}");
    let hob = with_tls(folder.path(), &table).start();
    let (tls, _) = doors(&hob);
    assert!(presented(tls, "a.test").contains("DNS:a.test"));

    // Not its key: the former goes on, and the owner is told.
    fs::copy(&second, &certificate).unwrap();
    assert_eventually!(warning(&hob, "cannot be renewed").is_some());
    let line = warning(&hob, "cannot be renewed").unwrap();
    assert!(
        line.contains("the private key is not that of the certificate"),
        "{line}"
    );
    assert!(presented(tls, "").contains("DNS:a.test"));
    assert!(certificates(&hob)[0]["problem"].is_string());
    fs::write(&certificate, "no certificate").unwrap();
    assert_eventually!(warning(&hob, "has no certificate in PEM").is_some());
    assert!(presented(tls, "").contains("DNS:a.test"));

    // Mended.
    fs::copy(&second, &certificate).unwrap();
    fs::copy(&second_key, &key).unwrap();
    assert_eventually!(presented(tls, "").contains("DNS:b.test"));
    assert_eventually!(warning(&hob, "cannot be renewed").is_none());
    assert!(certificates(&hob)[0]["problem"].is_null());
    assert!(hob.log().contains("the former certificate goes on"));
}

#[test]
fn a_pair_that_cannot_be_used_is_named_before_anything_starts() {
    let authority = Authority::new();
    let (certificate, _) = authority.issue(&["a.test"]);
    let (_, other_key) = authority.issue(&["b.test"]);
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.toml");
    let table = format!(
        "[tls]\nlisten = \"127.0.0.1:0\"\ncertificate = {certificate:?}\nkey = {other_key:?}\n"
    );
    fs::write(&config, table).unwrap();
    let up = hob_testkit::Cli::new(std::path::Path::new(HOB));
    let up = up.env("HOB_DATA", folder.path().join("data"));
    let up =
        up.env("HOB_CONFIG", &config)
            .args(["up", "--listen", "127.0.0.1:0", "--metrics", "off"]);
    let said = up.run().fails(1);
    assert!(
        said.contains("the private key is not that of the certificate"),
        "{said}"
    );
}

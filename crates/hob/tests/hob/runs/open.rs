//! Who may have something run, and how often.

use std::{net::TcpListener, path::Path};

use bytes::Bytes;
use hob_testkit::{Cli, Hob};
use http::Request;
use serde_json::json;

use super::{has_sandboxes, json_request, sandboxed};
use crate::bench::{HOB, write};

#[test]
fn without_a_rate_or_a_login_it_does_not_start_where_others_get_at_it() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.toml");
    let data = folder.path().join("data");
    let up = |settings: &str, listen: &str| {
        write(&config, &format!("[sandbox]\nenabled = true\n{settings}"));
        let cli = Cli::new(Path::new(HOB)).args(["up", "--metrics", "off", "--listen", listen]);
        let cli = cli.args([Path::new("--config"), &config, Path::new("--data"), &data]);
        cli.run().fails(64)
    };
    let cure = "set `rate` in the table `sandbox` of the configuration";
    let line = up("", "0.0.0.0:0");
    assert!(line.contains("everybody who reaches 0.0.0.0:"), "{line}");
    assert!(line.contains(cure), "{line}");
    let line = up("[tls]\nlisten = \"0.0.0.0:0\"\nown = true\n", "127.0.0.1:0");
    assert!(line.contains(cure), "{line}");
    let line = up("[proxy]\ntrusted = [\"192.0.2.1\"]\n", "127.0.0.1:0");
    assert!(line.contains("proxies are trusted"), "{line}");
    assert!(!data.exists(), "nothing was begun");
}

#[test]
#[should_panic(expected = "everybody who reaches 0.0.0.0:")]
fn nor_on_a_socket_that_the_service_manager_holds() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.toml");
    write(&config, "[sandbox]\nenabled = true\n");
    let calls = TcpListener::bind("0.0.0.0:0").unwrap();
    let hob = Hob::builder(HOB).args([Path::new("--config"), &config]);
    hob.holds("calls", calls).start();
}

#[test]
fn one_caller_has_so_many_runs_and_no_more() {
    if !has_sandboxes() {
        return;
    }
    let bench =
        sandboxed("name = \"c1\"\nrate = \"2/1h\"\ncors = [\"https://play.example.org\"]\n");
    let first = bench.run("", "true").expect(200);
    assert_eq!(first.header("ratelimit-policy"), "\"default\";q=2;w=3600");
    // Whatever it is, and by whichever path.
    bench.run("?lang=cobol", "").expect(400);
    let refused = bench.run("", "true").expect(429);
    assert!(
        refused
            .text()
            .starts_with("this server takes 2/1h runs of one caller")
    );
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 0);
    assert_eq!(refused.header("coord"), "c1");
    // A page that may ask may read why it has to wait.
    let page = "https://play.example.org";
    let request = Request::post("/run").header("Origin", page);
    let refused = bench.hob.send(request.body(Bytes::from("true")).unwrap());
    let refused = refused.expect(429);
    assert_eq!(refused.header("access-control-allow-origin"), page);
    let order = json!({"language": "bash", "version": "*", "files": [{"content": "true"}]});
    let refused = bench
        .hob
        .send(json_request("/api/v2/execute", &order))
        .expect(429);
    let message = refused.json()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("2/1h"), "{message}");
    // What costs nothing is free.
    bench.hob.get("/api/v2/runtimes").expect(200);
    assert_eq!(bench.measured("hob_refused_total{reason=\"rate\"}"), 3);
}

#[test]
fn a_login_is_asked_for_where_the_owner_says_so_and_pages_are_refused() {
    if !has_sandboxes() {
        return;
    }
    let bench = sandboxed("login = true\n");
    let anonymous = Request::post("/run").body(Bytes::from("true")).unwrap();
    bench.hob.send(anonymous).expect(401);
    let token = bench
        .hob
        .cli(["token", "create", "ci", "--scope", "invoke:*"])
        .ok();
    let token = token
        .split_whitespace()
        .find(|word| word.starts_with("hob_"))
        .unwrap();
    let by = |name: &str, value: &str| {
        let request =
            Request::post("/run?raw=1").header("Authorization", format!("Bearer {token}"));
        let request = request.header(name, value).body(Bytes::from("echo in"));
        bench.hob.send(request.unwrap())
    };
    assert_eq!(by("X-Any", "x").expect(200).text(), "in\n\nexit: 0\n");
    let page = by("Origin", "https://evil.example.org").expect(403);
    assert!(page.text().contains("sandbox.cors"), "{}", page.text());
}

#[test]
fn while_it_is_off_it_says_how_to_switch_it_on() {
    let bench = crate::bench::Bench::new();
    let off = bench.run("", "true").expect(404);
    assert!(off.text().contains("`enabled = true`"), "{}", off.text());
    assert!(!bench.hob.metrics().contains("hob_runs_total"));
    let status = bench.hob.cli(["status", "-o", "json"]).json();
    assert!(status["sandboxes"].is_null(), "{status}");
}

//! `hob doctor --public`: what is still open before strangers come.

use std::{fs, os::unix::fs::PermissionsExt};

use hob_testkit::{Hob, has_programs};
use serde_json::Value;

use crate::bench::{Bench, HOB, write};

fn finding<'a>(findings: &'a Value, check: &str) -> &'a Value {
    let found = findings.as_array().unwrap().iter();
    let mut found = found.filter(|one| one["check"] == check);
    found
        .next()
        .unwrap_or_else(|| panic!("no {check} in {findings}"))
}

#[test]
fn a_fresh_server_is_closed() {
    let bench = Bench::new();
    bench.deploy(&bench.site("welcome", "hi"));
    let findings = bench.hob.cli(["doctor", "--public", "-o", "json"]).json();
    for (check, state) in [
        ("plain HTTP", "ok"),
        ("metrics", "ok"),
        ("bans", "ok"),
        ("registry", "ok"),
        ("trusted proxies", "ok"),
        ("data directory", "ok"),
        ("functions without auth", "ok"),
        ("functions without rate", "warn"),
    ] {
        assert_eq!(finding(&findings, check)["state"], state, "{findings}");
    }
    let open = finding(&findings, "functions without auth");
    assert_eq!(open["detail"], "everybody may call welcome");
    let free = finding(&findings, "functions without rate");
    assert!(free["cure"].as_str().unwrap().contains("`rate`"), "{free}");
}

#[test]
fn a_canary_has_guards_of_its_own() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    let folder = bench.python("hello", "return 'hi'");
    let guarded = "auth = \"token\"\nrate = \"60/1m\"\n";
    write(&folder.join("hob.toml"), guarded);
    bench.deploy(&folder);
    let found = |check: &str| {
        let findings = bench.hob.cli(["doctor", "--public", "-o", "json"]).json();
        finding(&findings, check)["detail"].clone()
    };
    assert_eq!(found("functions without auth"), "none: each asks who calls");
    write(&folder.join("hob.toml"), "");
    let folder = bench.python("hello", "return 'hello'");
    let folder = folder.to_str().unwrap();
    bench.hob.cli(["deploy", folder, "--canary", "10%"]).ok();
    assert_eq!(
        found("functions without auth"),
        "everybody may call the canary of hello"
    );
    assert_eq!(
        found("functions without rate"),
        "one caller may keep the canary of hello busy"
    );
}

#[test]
fn what_is_open_is_told_with_its_cure() {
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("config.toml");
    fs::write(&settings, "registry = true\n[bans]\nenabled = false\n").unwrap();
    fs::set_permissions(&settings, fs::Permissions::from_mode(0o666)).unwrap();
    let hob = Hob::builder(HOB)
        .env("HOB_CONFIG", &settings)
        .env("HOB_LISTEN", "0.0.0.0:0")
        .start();
    let key = hob.data().join("hob.db");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let doctor = |args: &[&str]| hob.command().env("HOB_CONFIG", &settings).args(args).run();
    let run = doctor(&["doctor", "--public"]);
    let (said, line) = (run.stdout.clone(), run.fails(1));
    let expected = "not ready for strangers: see the 4 findings marked `fail`";
    assert!(line.contains(expected), "{line}\n{said}");
    for words in [
        " takes passwords and calls unencrypted, from everybody; add the table `tls`",
        "off: passwords may be guessed for ever; remove `enabled = false`",
        "takes images under /v2",
        &format!("`chmod go= {}`", key.display()),
        &format!("`chmod go-w {}`", settings.display()),
    ] {
        assert!(said.contains(words), "`{words}` is not in\n{said}");
    }
    // What is here says nothing of a server elsewhere.
    let elsewhere = hob
        .command()
        .env("HOB_SERVER", hob.url())
        .env("HOB_PASSWORD", hob.password());
    let run = elsewhere.args(["doctor", "--public"]).run();
    let lines: Vec<_> = run.stdout.lines().collect();
    assert!(
        lines.len() == 2 && lines[1].contains("or with `--context local`"),
        "{}",
        run.stdout
    );
    run.fails(1);
    // A server that is down is not looked into.
    let down = tempfile::tempdir().unwrap();
    let run = hob
        .command()
        .env("HOB_DATA", down.path())
        .args(["doctor", "--public"])
        .run();
    assert!(
        run.stdout.contains("start it, and ask again"),
        "{}",
        run.stdout
    );
    run.fails(1);
}

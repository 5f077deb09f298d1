//! The likely mistakes of each verb: the message names the object and the cure, and nothing that
//! was there is lost.

use std::{fs, os::unix::net::UnixListener};

use hob_testkit::has_programs;

use crate::bench::{Bench, write};

#[test]
fn an_unknown_function_ends_with_3_and_the_nearest_name() {
    let bench = Bench::new();
    bench.deploy(&bench.site("welcome", "<p>hi</p>"));
    let out = bench.folder.path().join("out");
    let out = out.to_str().unwrap();
    for args in [
        &["describe", "welcom"][..],
        &["invoke", "welcom"],
        &["logs", "welcom"],
        &["scale", "welcom", "1"],
        &["remove", "welcom"],
        &["export", "welcom", out],
    ] {
        let line = bench.hob.cli(args).fails(3);
        assert_eq!(
            line,
            "error: function `welcom` does not exist: did you mean `welcome`?"
        );
    }
    let line = bench.hob.cli(["describe", "zzz"]).fails(3);
    assert!(line.ends_with("`hob list` shows those that do"), "{line}");
    assert!(!fs::exists(out).unwrap());
}

#[test]
fn removing_several_removes_those_that_are_there() {
    let bench = Bench::new();
    bench.deploy(&bench.site("one", "1"));
    bench.deploy(&bench.site("two", "2"));
    let said = bench.hob.cli(["remove", "one", "nope", "two"]);
    assert_eq!(said.stdout, "removed one\nremoved two\n");
    let line = said.fails(3);
    assert!(line.contains("`nope`"), "{line}");
    assert_eq!(
        bench.hob.cli(["list", "-o", "json"]).json(),
        serde_json::json!([])
    );
}

#[test]
fn a_folder_that_cannot_be_deployed_is_told_before_it_is_sent() {
    let bench = Bench::new();
    let hob = &bench.hob;
    let here = bench.folder.path();
    let deploy = |folder: &str| hob.command().dir(here).args(["deploy", folder]).run();

    let line = deploy("nowhere").fails(1);
    assert!(line.contains("nowhere does not exist"), "{line}");

    write(&here.join("handler.py"), "x");
    let line = deploy("handler.py").fails(1);
    assert!(line.contains("handler.py is a file"), "{line}");

    fs::create_dir(here.join("empty")).unwrap();
    let line = deploy("empty").fails(1);
    assert!(line.contains("no file to deploy"), "{line}");

    write(&here.join("My Site/index.html"), "x");
    let line = deploy("My Site").fails(64);
    assert!(
        line.contains("`My Site`") && line.contains("--name"),
        "{line}"
    );
    let said = hob.command().dir(here);
    said.args(["deploy", "My Site", "--name", "site"])
        .run()
        .ok();

    bench.site("odd", "x");
    write(&here.join("odd/hob.toml"), "timeot = 3\n");
    let line = deploy("odd").fails(1);
    assert!(
        line.contains("hob.toml") && line.contains("`timeot`"),
        "{line}"
    );

    bench.site("plug", "x");
    let _listener = UnixListener::bind(here.join("plug/app.sock")).unwrap();
    let line = deploy("plug").fails(1);
    assert!(line.contains("app.sock is a socket"), "{line}");

    std::os::unix::fs::symlink("/etc/passwd", bench.site("leak", "x").join("link")).unwrap();
    let line = deploy("leak").fails(1);
    assert!(line.contains("link"), "{line}");

    let names: Vec<_> = hob
        .cli(["list", "-o", "json"])
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(|function| function["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["site"]);
}

#[test]
fn a_build_that_fails_shows_the_tools_words_and_leaves_the_old_revision() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    let folder = bench.python("hello", "return 'first'");
    bench.deploy(&folder);

    write(&folder.join("handler.py"), "def handle(:\n");
    let said = bench.hob.cli(["deploy", folder.to_str().unwrap()]);
    assert!(said.stderr.contains("SyntaxError"), "{said:?}");
    said.fails(1);
    let answer = bench.hob.post("/function/hello", "").expect(200);
    assert_eq!(answer.text(), "first");

    // It builds, but does not come up.
    write(&folder.join("handler.py"), "raise SystemExit('no luck')\n");
    let said = bench.hob.cli(["deploy", folder.to_str().unwrap()]);
    assert!(said.stderr.contains("no luck"), "{said:?}");
    said.fails(1);
    let answer = bench.hob.post("/function/hello", "").expect(200);
    assert_eq!(answer.text(), "first");

    write(
        &folder.join("handler.py"),
        "def handle(req):\n    return 'second'\n",
    );
    bench.deploy(&folder);
    let answer = bench.hob.post("/function/hello", "").expect(200);
    assert_eq!(answer.text(), "second");
}

#[test]
fn a_missing_secret_is_named_with_its_cure() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    let folder = bench.python("hello", "return 'x'");
    write(&folder.join("hob.toml"), "secrets = [\"api-key\"]\n");
    let line = bench.hob.cli(["deploy", folder.to_str().unwrap()]).fails(1);
    assert!(line.contains("hob secret set api-key"), "{line}");
    assert_eq!(
        bench.hob.cli(["list", "-o", "json"]).json(),
        serde_json::json!([])
    );
}

#[test]
fn a_site_shows_no_replicas_and_takes_none() {
    let bench = Bench::new();
    bench.deploy(&bench.site("welcome", "hi"));
    let list = bench.hob.cli(["list"]).ok();
    let cells: Vec<_> = list.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(cells[..3], ["welcome", "hot", "-"], "{list}");
    let said = bench.hob.cli(["describe", "welcome"]).ok();
    assert!(said.contains("hob serves the files itself"), "{said}");
    let line = bench.hob.cli(["scale", "welcome", "2"]).fails(1);
    assert!(line.contains("has no replicas"), "{line}");
    bench.hob.get("/function/welcome/").expect(200);
}

#[test]
fn scaling_beyond_reason_is_refused() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    bench.deploy(&bench.python("hello", "return 'x'"));
    let line = bench.hob.cli(["scale", "hello", "100000"]).fails(1);
    assert!(
        line.contains("100000") || line.contains("at most"),
        "{line}"
    );
    bench.hob.post("/function/hello", "").expect(200);
}

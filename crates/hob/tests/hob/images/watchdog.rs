//! OpenFaaS's own watchdog, as it stands in the images of its templates.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use hob_testkit::{Hob, assert_eventually, has_programs, rare_program, wait_until};

use super::desk::{Recipe, deploy, hob};

const IMAGE: &str = "local.test/watchdog:1";
const PAGE: &str = "hello from an image\n";

/// Reads all of its body before it says a word.
const SLOW: &str = "#!/bin/sh\necho begun >&2\nbody=$(cat)\necho \"$body from $VERSION\"\n";
/// Whether the lock file was there when the call came.
const READY: &str = "#!/bin/sh\ntest -e /tmp/.lock && echo ready || echo too early\n";
/// Listens at once and is well a second later.
const UNWELL: &str = "#!/bin/sh\n(sleep 1; touch /tmp/.lock) &\nexec /bin/of-watchdog\n";
/// Its own program listens a second after the watchdog does.
const LATE: &str = "#!/bin/sh\nsleep 1\nexec httpd -f -p 127.0.0.1:5000 -h /www\n";
const DIE: &str = "#!/bin/sh\nexec /bin/busybox killall -9 httpd\n";
const SLEEP: &str = "#!/bin/sh\nexec sleep 600\n";

/// What a template of OpenFaaS says of a program that serves HTTP itself.
const HTTP: &str = "mode = \"http\"\nupstream_url = \"http://127.0.0.1:5000\"\n";
const SERVER: &str = "fprocess = \"/bin/httpd -f -p 127.0.0.1:5000 -h /www\"\n";

/// A server with an image of the watchdog, if this machine has that.
fn server() -> Option<Hob> {
    if !has_programs(&["busybox"]) {
        return None;
    }
    let watchdog = rare_program("of-watchdog")?;
    let recipe = Recipe {
        name: IMAGE,
        entrypoint: &["/bin/of-watchdog"],
        files: &[
            ("www/slow", SLOW),
            ("www/ready", READY),
            ("www/late", LATE),
            ("www/sleep", SLEEP),
            ("www/cgi-bin/die", DIE),
            ("www/cgi-bin/sleep", SLEEP),
        ],
        programs: &[("bin/of-watchdog", &watchdog)],
        ..Recipe::default()
    };
    let unwell = Recipe {
        name: "local.test/unwell:1",
        entrypoint: &["/www/unwell"],
        env: &[
            ("suppress_lock", "true"),
            ("mode", "streaming"),
            ("fprocess", "/www/ready"),
        ],
        files: &[("www/unwell", UNWELL), ("www/ready", READY)],
        programs: &[("bin/of-watchdog", &watchdog)],
        ..Recipe::default()
    };
    Some(hob(&[recipe, unwell]).start())
}

#[track_caller]
fn start(hob: &Hob, name: &str, env: &str) {
    deploy(hob, name, IMAGE, &format!("[env]\n{env}"));
}

/// A call whose body has begun and not ended.
struct Held(TcpStream);

impl Held {
    #[track_caller]
    fn begin(hob: &Hob, name: &str) -> Self {
        let begun = || hob.cli(["logs", name]).ok().matches("begun").count();
        let before = begun();
        let mut stream = TcpStream::connect(hob.address()).unwrap();
        write!(
            stream,
            "POST /function/{name} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nMina\r\n"
        )
        .unwrap();
        assert_eventually!(begun() > before, "the call reaches the function");
        Self(stream)
    }

    fn finish(mut self) -> String {
        self.0.write_all(b"0\r\n\r\n").unwrap();
        let mut answer = String::new();
        self.0.read_to_string(&mut answer).unwrap();
        answer
    }
}

#[test]
fn every_mode_answers() {
    let Some(hob) = server() else { return };
    for mode in ["streaming", "serializing"] {
        let settings = |process| format!("mode = \"{mode}\"\nfprocess = \"{process}\"\n");
        start(&hob, mode, &settings("/bin/cat"));
        let path = format!("/function/{mode}");
        let answer = hob.post(&path, "Dracula").expect(200);
        assert_eq!(answer.text(), "Dracula", "{mode}");
        start(&hob, mode, &settings("/bin/env"));
        let answer = hob.post(&format!("{path}/a/b?q=1"), "x").expect(200);
        for expected in [
            "Http_Method=POST\n",
            "Http_Path=/a/b\n",
            "Http_Query=q=1\n",
            "Http_Content_Length=1\n",
            "Http_X_Call_Id=",
        ] {
            let seen = answer.text();
            assert!(seen.contains(expected), "{mode}: no {expected} in\n{seen}");
        }
    }

    // A failure is one call's only.
    let path = "/function/serializing";
    let settings = "mode = \"serializing\"\nfprocess = \"/bin/grep Mina\"\n";
    start(&hob, "serializing", settings);
    hob.post(path, "Lucy").expect(500);
    assert_eq!(hob.post(path, "Mina").expect(200).text(), "Mina\n");

    start(&hob, "http", &format!("{HTTP}{SERVER}"));
    let answer = hob.get("/function/http/index.html").expect(200);
    assert_eq!(answer.text(), PAGE);
    let took: f64 = answer.header("x-duration-seconds").parse().unwrap();
    assert!(took < 60.0);
    hob.get("/function/http/none").expect(404);

    start(
        &hob,
        "static",
        "mode = \"static\"\nstatic_path = \"/www\"\n",
    );
    let answer = hob.get("/function/static/index.html");
    // Its file server sends a folder's page under the folder's name only.
    assert_eq!(answer.expect(301).header("location"), "./");
    assert_eq!(hob.get("/function/static/").expect(200).text(), PAGE);
}

#[test]
fn a_call_waits_until_the_watchdog_is_well() {
    let Some(hob) = server() else { return };
    let image = "local.test/unwell:1";
    deploy(&hob, "unwell", image, "");
    assert_eq!(hob.get("/function/unwell").expect(200).text(), "ready\n");
    hob.cli(["scale", "unwell", "0"]).ok();
    assert_eq!(hob.get("/function/unwell").expect(200).text(), "ready\n");

    let folder = super::desk::settings(
        &hob,
        "never",
        "name = \"never\"\nnetwork = \"none\"\ntimeout = \"1s\"\n[env]\nsuppress_lock = \"true\"\n\
         fprocess = \"/bin/cat\"\n",
    );
    let args = ["deploy", super::desk::text(&folder), "--image", IMAGE];
    let error = hob.cli(args).fails(1);
    assert!(error.contains("on its health path"), "{error}");
    std::fs::remove_dir_all(hob.data().with_extension("settings")).unwrap();
}

#[test]
fn a_call_waits_for_the_program_behind_the_watchdog() {
    let Some(hob) = server() else { return };
    start(&hob, "late", &format!("{HTTP}fprocess = \"/www/late\"\n"));
    assert_eq!(hob.get("/function/late/").expect(200).text(), PAGE);
    hob.cli(["scale", "late", "0"]).ok();
    assert_eq!(hob.get("/function/late/").expect(200).text(), PAGE);
}

#[test]
fn a_call_that_lasts_too_long_ends_as_the_watchdog_says_or_as_hob_does() {
    let Some(hob) = server() else { return };
    let limit = "exec_timeout = \"1s\"\n";
    let process = "mode = \"serializing\"\nfprocess = \"/www/sleep\"\n";
    start(&hob, "http", &format!("{limit}{HTTP}{SERVER}"));
    let answer = hob.get("/function/http/cgi-bin/sleep").expect(504);
    assert_eq!(answer.header("x-hob-end"), "", "the watchdog's answer");
    assert_eq!(hob.get("/function/http/").expect(200).text(), PAGE);
    start(&hob, "serializing", &format!("{limit}{process}"));
    let answer = hob.get("/function/serializing").expect(500);
    assert!(answer.text().contains("killed"), "{answer:?}");

    let more = format!("timeout = \"1s\"\n[env]\n{process}");
    deploy(&hob, "hob", IMAGE, &more);
    let answer = hob.get("/function/hob").expect(504);
    assert!(answer.header("x-hob-end").contains("timeout"), "{answer:?}");
}

#[test]
fn calls_under_way_outlive_a_deploy_and_a_scale_to_nothing() {
    let Some(hob) = server() else { return };
    // What the watchdog waits before it goes is longer than any image may take unasked.
    let settings = |version: &str, wait: &str| {
        format!(
            "mode = \"streaming\"\nfprocess = \"/www/slow\"\nVERSION = \"{version}\"\n\
             healthcheck_interval = \"{wait}\"\nwrite_timeout = \"2s\"\n"
        )
    };
    let said = |words: &str| hob.cli(["logs", "slow"]).ok().contains(words);
    start(&hob, "slow", &settings("one", "11s"));
    let held = Held::begin(&hob, "slow");
    start(&hob, "slow", &settings("two", "1s"));
    let answer = hob.post("/function/slow", "Lucy").expect(200);
    assert_eq!(answer.text(), "Lucy from two\n");
    assert!(!said("SIGTERM"), "not while it has a call");
    let answer = held.finish();
    assert!(answer.contains("Mina from one\n"), "{answer}");
    assert_eventually!(said("SIGTERM: no new connections in 11s"));

    let held = Held::begin(&hob, "slow");
    hob.cli(["scale", "slow", "0"]).ok();
    assert!(!said("SIGTERM: no new connections in 1s"));
    let answer = held.finish();
    assert!(answer.contains("Mina from two\n"), "{answer}");
    assert_eventually!(said("SIGTERM: no new connections in 1s"));

    // Both went by themselves: nobody was killed.
    let gone = || {
        let log = hob.cli(["logs", "slow"]).ok();
        log.matches("Exiting. Active connections: 0").count()
    };
    let patience = Duration::from_secs(30);
    assert!(wait_until(patience, || gone() == 2), "{}", gone());
}

#[test]
fn a_watchdog_whose_program_dies_is_replaced() {
    let Some(hob) = server() else { return };
    start(&hob, "http", &format!("{HTTP}{SERVER}"));
    let replicas = || {
        let said = hob.cli(["describe", "http", "-o", "json"]).json();
        let instances = said["instances"].as_array().unwrap().clone();
        let mut ids = instances.iter().map(|one| one["pid"].clone());
        ids.next()
    };
    let before = replicas();
    let answer = hob.get("/function/http/cgi-bin/die");
    assert!(answer.status.is_server_error(), "{answer:?}");
    assert_eventually!(replicas().is_some() && replicas() != before);
    assert_eq!(hob.get("/function/http/").expect(200).text(), PAGE);
    let said = hob.cli(["logs", "http"]).ok();
    assert!(said.contains("Forked function has terminated"), "{said}");
}

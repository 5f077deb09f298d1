use std::fs;

use hob_testkit::{assert_eventually, has_programs};

use super::{deploy, depth, post, show, wait_for};
use crate::bench::Bench;

/// Fails so many times and then goes well.
fn fails(times: u32, how: &str) -> String {
    format!(
        "import os\npath = '/tmp/' + str(req)\ncount = os.path.getsize(path) if os.path.exists(path) else 0\nopen(path, 'a').write('x')\nif count < {times}:\n    return {how}\nreturn f'after {{count}}'"
    )
}

#[test]
fn a_call_is_tried_again_until_it_goes_well() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    let hob = &bench.hob;
    let manifest = "[async]\nmin_wait = \"10ms\"\nmax_wait = \"50ms\"\n";
    deploy(&bench, "flaky", &fails(3, "'no', 503"), manifest);
    post(hob, "flaky", "a", "a").expect(202);
    let call = wait_for(hob, "a", "done");
    assert_eq!(call["answer"]["text"], "after 3");
    assert_eq!(
        (&call["attempts"], &call["problem"]),
        (&4.into(), &().into())
    );
    assert_eq!(depth(hob, "retried"), 3);

    // By OpenFaaS's annotations, and sooner than they say where the answer asks for it.
    let manifest = "[annotations]\n\"com.openfaas.retry.codes\" = \"418\"\n\"com.openfaas.retry.min_wait\" = \"1h\"\n\"com.openfaas.retry.max_wait\" = \"1h\"\n";
    let how = "'no', 418, {'Retry-After': '0'}";
    deploy(&bench, "asking", &fails(2, how), manifest);
    post(hob, "asking", "b", "b").expect(202);
    assert_eq!(wait_for(hob, "b", "done")["attempts"], 3);
    // Nobody asks for it here, so the next try is an hour away.
    let body = fails(2, "'no', 418");
    deploy(&bench, "asking", &body, manifest);
    post(hob, "asking", "c", "c").expect(202);
    assert_eventually!(show(hob, "c")["attempts"] == 1);
    let call = show(hob, "c");
    assert_eq!(
        (&call["state"], &call["status"]),
        (&"waiting".into(), &418.into())
    );
    assert!(
        call["due_at"].is_string() && call["answer"].is_null(),
        "{call}"
    );
    let listed = hob.cli(["queue", "list", "--state", "waiting"]).ok();
    assert!(
        listed.contains("in 59m") && listed.contains("it answered 418"),
        "{listed}"
    );
}

#[test]
fn answers_that_no_code_names_are_final() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    let hob = &bench.hob;
    let body =
        "return 'as it is', int(req), {'X-OpenFaaS-Internal': 'x'} if req.query_string else {}";
    deploy(
        &bench,
        "codes",
        body,
        "[async]\nattempts = 2\nmin_wait = 0\nmax_wait = 0\n",
    );
    post(hob, "codes", "a", "404").expect(202);
    let call = wait_for(hob, "a", "done");
    assert_eq!(
        (&call["status"], &call["attempts"]),
        (&404.into(), &1.into())
    );
    assert_eq!(call["answer"]["text"], "as it is");
    post(hob, "codes", "b", "501").expect(202);
    let call = wait_for(hob, "b", "dead");
    assert_eq!(
        (&call["status"], &call["attempts"]),
        (&501.into(), &1.into())
    );
    assert_eq!(call["answer"]["text"], "as it is");
    // Somebody in between failed, and not the function.
    post(hob, "codes?x", "c", "404").expect(202);
    assert_eq!(wait_for(hob, "c", "dead")["attempts"], 2);
}

#[test]
fn dead_letters_are_kept_until_they_are_retried_or_dropped() {
    if !has_programs(&["python3"]) {
        return;
    }
    let mut bench = Bench::new();
    let manifest = "timeout = \"500ms\"\n[async]\nattempts = 2\nmin_wait = 0\nmax_wait = 0\n";
    deploy(&bench, "bad", "import time\ntime.sleep(30)", manifest);
    for id in ["a", "b", "c"] {
        post(&bench.hob, "bad", id, "the body").expect(202);
    }
    for id in ["a", "b", "c"] {
        let call = wait_for(&bench.hob, id, "dead");
        assert_eq!(
            (&call["end"], &call["status"]),
            (&"timeout".into(), &504.into())
        );
        let problem = call["problem"].as_str().unwrap();
        assert!(
            problem.contains("did not answer within its timeout"),
            "{call}"
        );
    }
    bench.hob.kill();
    bench.hob.restart();
    let hob = &bench.hob;
    let listed = hob.cli(["queue", "list", "--dead"]).ok();
    assert_eq!(listed.lines().count(), 4, "{listed}");
    assert_eq!(depth(hob, "dead"), 3);

    assert_eq!(hob.cli(["queue", "drop", "b"]).ok(), "dropped 1 call\n");
    deploy(&bench, "bad", "return 'good: ' + req", "");
    assert_eq!(hob.cli(["queue", "retry", "a"]).ok(), "retrying 1 call\n");
    assert_eq!(
        wait_for(hob, "a", "done")["answer"]["text"],
        "good: the body"
    );
    let line = hob.cli(["queue", "retry", "a"]).fails(1);
    assert!(line.contains("call `a` is done"), "{line}");
    let said = hob.cli(["queue", "retry", "--function", "bad"]).ok();
    assert_eq!(said, "retrying 1 call\n");
    wait_for(hob, "c", "done");
    let said = hob.cli(["queue", "drop", "--dead"]).ok();
    assert_eq!(said, "dropped 0 calls\n");
}

#[test]
fn calls_wait_for_a_function_that_is_replaced() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    let hob = &bench.hob;
    let manifest = "[async]\nmin_wait = \"1s\"\nmax_wait = \"1s\"\n";
    deploy(&bench, "brief", "return '', 503", manifest);
    post(hob, "brief", "a", "").expect(202);
    assert_eventually!(show(hob, "a")["attempts"] == 1);
    hob.cli(["remove", "brief"]).ok();
    deploy(&bench, "brief", "return 'back'", manifest);
    assert_eq!(wait_for(hob, "a", "done")["answer"]["text"], "back");
}

#[test]
fn what_hob_refuses_by_now_is_no_answer_of_the_function() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    let hob = &bench.hob;
    let waits = "[async]\nmin_wait = \"1s\"\nmax_wait = \"1s\"\n";
    for name in ["small", "files", "liar"] {
        deploy(&bench, name, "return '', 503", waits);
        post(hob, name, name, &"x".repeat(2000)).expect(202);
        assert_eventually!(show(hob, name)["attempts"] == 1);
    }
    let limited = format!("{waits}[limits]\nbody = \"1Ki\"\n");
    deploy(&bench, "small", "return ''", &limited);
    let site = bench.site("files", "hi");
    fs::remove_file(site.join("handler.py")).unwrap();
    bench.deploy(&site);
    // A function cannot pass for hob.
    let lies = "return 'mine', 413, {'X-Hob-Refused': '1'}";
    deploy(&bench, "liar", lies, waits);
    for (id, status, part) in [
        ("small", 413, "takes bodies of at most 1024 bytes"),
        ("files", 405, "is a folder of files"),
    ] {
        let call = wait_for(hob, id, "dead");
        assert_eq!(call["status"], status, "{call}");
        assert!(call["problem"].as_str().unwrap().contains(part), "{call}");
    }
    assert_eq!(wait_for(hob, "liar", "done")["status"], 413);
    // The request is still there, and made where it may be.
    deploy(&bench, "small", "return str(len(req))", waits);
    hob.cli(["queue", "retry", "small"]).ok();
    assert_eq!(wait_for(hob, "small", "done")["answer"]["text"], "2000");
}

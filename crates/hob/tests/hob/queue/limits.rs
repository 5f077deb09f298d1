use bytes::Bytes;
use hob_testkit::{Hob, assert_eventually, has_programs};
use http::{Method, Request};

use super::{deploy, depth, post, show, wait_for};
use crate::bench::{Bench, HOB};

fn bench(args: &[&str]) -> Bench {
    Bench {
        hob: Hob::builder(HOB).args(args.iter().copied()).start(),
        folder: tempfile::tempdir().unwrap(),
    }
}

#[test]
fn what_cannot_be_called_later_is_refused_with_a_reason() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    let hob = &bench.hob;
    deploy(&bench, "hello", "return 'hi'", "[limits]\nbody = \"1Ki\"\n");
    bench.deploy(&bench.site("welcome", "hi"));
    let line = |answer: hob_testkit::Answer, part: &str| {
        assert!(answer.text().contains(part), "no {part:?} in {answer:?}");
        assert_eq!(answer.text().lines().count(), 1, "{answer:?}");
    };
    line(
        post(hob, "nobody", "a", "").expect(404),
        "`nobody` does not exist",
    );
    line(
        post(hob, "Not-A-Name", "a", "").expect(400),
        "`Not-A-Name` is invalid",
    );
    line(
        post(hob, "welcome/x", "a", "").expect(400),
        "folder of files",
    );
    line(
        post(hob, "hello", "a", &"x".repeat(1025)).expect(413),
        "`limits.body`",
    );
    for method in [Method::GET, Method::PUT, Method::OPTIONS] {
        hob.call(method, "/async-function/hello", "").expect(405);
    }
    for url in ["example.net", "ftp://example.net/x", "http:///x"] {
        let request = Request::post("/async-function/hello").header("x-callback-url", url);
        let answer = hob.send(request.body(Bytes::new()).unwrap()).expect(400);
        line(answer, "X-Callback-Url is no URL");
    }
    assert_eq!(depth(hob, "taken"), 0);
}

#[test]
fn a_full_queue_takes_no_more_and_no_function_fills_it() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = bench(&[
        "--queue-calls",
        "3",
        "--queue-bytes",
        "64Ki",
        "--async-body",
        "32Ki",
    ]);
    let hob = &bench.hob;
    let waits = "[async]\nmin_wait = \"1h\"\nmax_wait = \"1h\"\n";
    deploy(&bench, "later", "return 'no', 503", waits);
    deploy(&bench, "never", "return 'no', 501", "");
    post(hob, "later", "a", "").expect(202);
    post(hob, "later", "b", "").expect(202);
    post(hob, "never", "c", "").expect(202);
    wait_for(hob, "c", "dead");
    let answer = post(hob, "later", "d", "").expect(503);
    assert_eq!(answer.header("retry-after"), "60");
    // What is in the queue is for the owner.
    assert_eq!(answer.text(), "the queue is full: try again later\n");
    hob.cli(["queue", "drop", "--dead"]).ok();
    let body = "x".repeat(30 << 10);
    // Half of the calls is for others, and half of the bytes.
    post(hob, "later", "e", &body).expect(503);
    hob.cli(["queue", "drop", "a"]).ok();
    post(hob, "later", "e", &body).expect(202);
    post(hob, "later", "f", &"x".repeat(33 << 10)).expect(413);
    hob.cli(["queue", "drop", "b"]).ok();
    post(hob, "later", "g", &body).expect(503);
    post(hob, "never", "h", &body).expect(202);
    let said = hob
        .cli(["queue", "drop", "--waiting", "--function", "later"])
        .ok();
    assert_eq!(said, "dropped 1 call\n");
    post(hob, "later", "i", &body).expect(202);
}

#[test]
fn a_long_answer_is_cut_and_says_so() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = bench(&["--async-body", "1Ki"]);
    deploy(&bench, "long", "return 'x' * 5000", "");
    post(&bench.hob, "long", "a", "").expect(202);
    let call = wait_for(&bench.hob, "a", "done");
    assert_eq!(
        (&call["end"], &call["answer"]["cut"]),
        (&"output".into(), &true.into())
    );
    assert_eq!(call["answer"]["text"], "x".repeat(1024));
}

#[test]
fn pages_that_may_call_a_function_may_have_it_called_later() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    let hob = &bench.hob;
    deploy(
        &bench,
        "hello",
        "return 'hi'",
        "cors = [\"https://app.example\"]\n",
    );
    let ask = |origin: &str| {
        let request = Request::options("/async-function/hello/x")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type");
        hob.send(request.body(Bytes::new()).unwrap())
    };
    let answer = ask("https://app.example").expect(204);
    assert_eq!(
        answer.header("access-control-allow-origin"),
        "https://app.example"
    );
    assert_eq!(answer.header("access-control-allow-methods"), "POST");
    assert_eq!(
        answer.header("access-control-allow-headers"),
        "content-type"
    );
    ask("https://other.example").expect(403);
    assert_eq!(depth(hob, "taken"), 0);

    let request = Request::post("/async-function/hello").header("origin", "https://app.example");
    let answer = hob.send(request.body(Bytes::new()).unwrap()).expect(202);
    assert_eq!(
        answer.header("access-control-allow-origin"),
        "https://app.example"
    );
    assert!(
        answer
            .header("access-control-expose-headers")
            .contains("X-Call-Id")
    );
    let id = answer.header("x-call-id").to_owned();
    assert_eventually!(show(hob, &id)["state"] == "done");
}

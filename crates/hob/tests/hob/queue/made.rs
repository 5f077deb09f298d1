use bytes::Bytes;
use hob_testkit::{assert_eventually, has_programs};
use http::{HeaderValue, Method, Request};

use super::{deploy, depth, post, show, wait_for};
use crate::bench::Bench;

#[test]
fn a_call_is_taken_at_once_and_its_answer_is_kept() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    let hob = &bench.hob;
    let body = "h = req.headers\nreturn f'{req.method} {req.path} {req.query_string} {h.get(\"x-one\")} {h[\"x-forwarded-for\"]} {h[\"x-call-id\"]} {req}'";
    deploy(&bench, "echo", body, "");

    let request = Request::post("/async-function/echo/a%2Fb/?c=d")
        .header("x-call-id", "mine/1")
        .header("x-one", "two")
        .header("x-forwarded-for", "192.0.2.7")
        .body(Bytes::from_static(b"hi"))
        .unwrap();
    let answer = hob.send(request).expect(202);
    assert!(answer.body.is_empty(), "{answer:?}");
    assert_eq!(answer.header("x-call-id"), "mine/1");
    assert!(answer.header("x-start-time").len() >= 19, "{answer:?}");

    let call = wait_for(hob, "mine/1", "done");
    let text = "POST /a%2Fb/ c=d two 192.0.2.7, 127.0.0.1 mine/1 hi";
    assert_eq!(call["answer"]["text"], text);
    assert_eq!(
        (call["status"].as_u64(), call["attempts"].as_u64()),
        (Some(200), Some(1))
    );
    assert_eq!((&call["end"], &call["problem"]), (&"ok".into(), &().into()));
    let said = hob.cli(["queue", "show", "mine/1"]).ok();
    assert!(said.contains("done") && said.contains(text), "{said}");
    let said = hob.cli(["queue", "list"]).ok();
    assert!(said.contains("mine/1") && said.contains("echo"), "{said}");

    // Ids of callers may come twice: the newest counts.
    post(hob, "echo.openfaas-fn", "mine/1", "again").expect(202);
    assert_eventually!(
        show(hob, "mine/1")["answer"]["text"]
            .as_str()
            .is_some_and(|text| text.ends_with("again"))
    );
}

#[test]
fn fields_arrive_byte_for_byte() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    let hob = &bench.hob;
    deploy(
        &bench,
        "bytes",
        "return ascii(req.headers['x-one'].encode('latin-1'))",
        "",
    );
    let value = HeaderValue::from_bytes(b"caf\xe9").unwrap();
    let request = Request::post("/async-function/bytes")
        .header("x-call-id", "a")
        .header("x-one", value);
    hob.send(request.body(Bytes::new()).unwrap()).expect(202);
    let call = wait_for(hob, "a", "done");
    assert_eq!(call["answer"]["text"], "b'caf\\xe9'");
}

#[test]
fn the_command_line_has_functions_called_later() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    let hob = &bench.hob;
    deploy(&bench, "bytes", "return req.body + b'\\xff'", "");
    let said = hob.cli(["queue", "list"]);
    assert!(said.stderr.contains("--async"), "{said:?}");
    let id = hob.cli(["invoke", "bytes", "--async", "-d", "a"]).ok();
    let call = wait_for(hob, id.trim(), "done");
    assert_eq!(call["answer"]["base64"], "Yf8=");
    let line = hob.cli(["queue", "show", "nobody"]).fails(3);
    assert!(line.contains("there is no call `nobody`"), "{line}");
    let line = hob.cli(["invoke", "bites", "--async", "-d", "a"]).fails(3);
    assert!(line.contains("did you mean `bytes`?"), "{line}");
}

#[test]
fn with_a_concurrency_of_one_calls_run_in_their_order_also_after_a_death() {
    if !has_programs(&["python3"]) {
        return;
    }
    let mut bench = Bench::new();
    let body = "import time\ntime.sleep(0.02)\nprint('ran', req, flush=True)";
    deploy(&bench, "line", body, "[async]\nconcurrency = 1\n");
    for number in 0..40 {
        post(
            &bench.hob,
            "line",
            &format!("n{number}"),
            &number.to_string(),
        )
        .expect(202);
    }
    bench.hob.kill();
    bench.hob.restart();
    for number in 40..50 {
        post(
            &bench.hob,
            "line",
            &format!("n{number}"),
            &number.to_string(),
        )
        .expect(202);
    }
    wait_for(&bench.hob, "n49", "done");
    let log = bench.hob.cli(["logs", "line"]).ok();
    let ran = log
        .lines()
        .filter_map(|line| line.rsplit_once("ran ")?.1.parse().ok());
    let ran: Vec<u32> = ran.collect();
    // One call was cut by the death at most, and ran again.
    let mut first: Vec<u32> = Vec::new();
    for number in ran {
        assert!(first.last().is_none_or(|last| number <= last + 1), "{log}");
        if !first.contains(&number) {
            first.push(number);
        }
    }
    assert_eq!(first, (0..50).collect::<Vec<_>>(), "{log}");
}

#[test]
fn as_many_run_at_once_as_the_function_says() {
    if !has_programs(&["python3"]) {
        return;
    }
    let mut bench = Bench::new();
    let body = "import time\nif req == 'go':\n    handle.open = True\nwhile not getattr(handle, 'open', False):\n    time.sleep(0.01)\nreturn 'through'";
    deploy(&bench, "gate", body, "[async]\nconcurrency = 3\n");
    for number in 0..5 {
        post(&bench.hob, "gate", &format!("g{number}"), "").expect(202);
    }
    assert_eventually!(depth(&bench.hob, "running") == 3);
    assert_eq!(depth(&bench.hob, "waiting"), 2);
    assert_eq!(show(&bench.hob, "g0")["state"], "running");
    let args = ["queue", "list", "--state", "running", "--function", "gate"];
    let running = bench.hob.cli(args).ok();
    assert_eq!(running.lines().count(), 4, "{running}");
    // A stop leaves them all in the queue, those too that were under way.
    bench.hob.stop();
    bench.hob.restart();
    assert_eventually!(depth(&bench.hob, "running") == 3);
    bench.hob.post("/function/gate", "go").expect(200);
    for number in 0..5 {
        let call = wait_for(&bench.hob, &format!("g{number}"), "done");
        assert_eq!(
            (&call["answer"]["text"], &call["attempts"]),
            (&"through".into(), &1.into())
        );
    }
}

#[test]
fn a_call_is_taken_back_by_its_id() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    let hob = &bench.hob;
    deploy(
        &bench,
        "late",
        "return '', 503",
        "[async]\nmin_wait = \"1h\"\nmax_wait = \"1h\"\n",
    );
    for id in ["one", "two"] {
        post(hob, "late", id, "").expect(202);
        assert_eventually!(show(hob, id)["attempts"] == 1);
    }
    // Anybody may call; only the owner takes calls back.
    hob.call(Method::DELETE, "/async-function/one", "")
        .expect(401);
    let login = format!("admin:{}", hob.password());
    let login = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, login);
    let request =
        Request::delete("/async-function/one").header("authorization", format!("Basic {login}"));
    hob.send(request.body(Bytes::new()).unwrap()).expect(202);
    hob.cli(["queue", "show", "one"]).fails(3);
    assert_eq!(hob.cli(["queue", "drop", "two"]).ok(), "dropped 1 call\n");
    hob.cli(["queue", "drop", "two"]).fails(3);
    assert_eq!(depth(hob, "waiting"), 0);
    hob.get("/hob/v1/calls/two").expect(401);
    hob.get("/hob/v1/queue").expect(401);
}

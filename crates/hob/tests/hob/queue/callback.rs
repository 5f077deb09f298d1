use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use bytes::Bytes;
use hob_testkit::{Hob, assert_eventually, has_programs, rare_program};
use http::Request;

use super::{deploy, show, wait_for};
use crate::bench::{Bench, HOB};

/// A server that takes callbacks, and answers with these statuses before it answers 200. It ends
/// with the test's process.
struct Listener {
    address: SocketAddr,
    taken: Arc<Mutex<Vec<String>>>,
}

impl Listener {
    fn start(statuses: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let taken = Arc::<Mutex<Vec<String>>>::default();
        let (mut statuses, into) = (VecDeque::from(statuses.to_vec()), Arc::clone(&taken));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let request = read(&stream);
                let status = statuses.pop_front().unwrap_or(200);
                into.lock().unwrap().push(request);
                let answer = format!(
                    "HTTP/1.1 {status} X\r\nLocation: /elsewhere\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
                );
                let _ = (&stream).write_all(answer.as_bytes());
            }
        });
        Self { address, taken }
    }

    fn url(&self) -> String {
        format!("http://{}/told?by=hob", self.address)
    }

    fn taken(&self) -> Vec<String> {
        self.taken.lock().unwrap().clone()
    }
}

/// Head and body of a request, in lower case.
fn read(stream: &TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
    let mut head = head.to_lowercase();
    if let Some((_, rest)) = head.split_once("content-length: ") {
        length = rest.lines().next().unwrap().parse().unwrap();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    head.push_str(&String::from_utf8_lossy(&body));
    head
}

/// A server that calls back over no proxy of this machine.
fn bench() -> Bench {
    Bench {
        hob: Hob::builder(HOB).env("NO_PROXY", "*").start(),
        folder: tempfile::tempdir().unwrap(),
    }
}

fn post(hob: &Hob, name: &str, id: &str, url: &str) {
    let request = Request::post(format!("/async-function/{name}"))
        .header("x-call-id", id)
        .header("x-callback-url", url)
        .body(Bytes::from_static(b"x"));
    hob.send(request.unwrap()).expect(202);
}

#[test]
fn the_answer_is_sent_with_what_became_of_the_call() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = bench();
    let hob = &bench.hob;
    let body = "return {'a': 1}, 201, {'X-Own': 'yes', 'Content-Type': 'application/x-mine', 'Authorization': 'mine', 'Cookie': 'mine', 'X-Forwarded-For': 'mine', 'X-Callback-Url': 'mine'}";
    deploy(&bench, "made", body, "");
    let listener = Listener::start(&[503]);
    post(hob, "made", "a", &listener.url());
    // The first is refused; the answer is sent again, and the function is not called again.
    let call = wait_for(hob, "a", "done");
    assert_eq!(
        (&call["attempts"], &call["callback"]["attempts"]),
        (&1.into(), &2.into())
    );
    let taken = listener.taken();
    assert_eq!(taken.len(), 2, "{taken:?}");
    for part in [
        "post /told?by=hob http/1.1\r\n",
        "\r\nx-call-id: a\r\n",
        "\r\nx-function-name: made\r\n",
        "\r\nx-function-status: 201\r\n",
        "\r\nx-duration-seconds: 0.",
        "\r\nx-own: yes\r\n",
        "\r\ncontent-type: application/x-mine\r\n",
        "\r\nx-retry: 0\r\n",
        "\r\nx-retry-max: 10\r\n",
        "\r\nuser-agent: hob/",
        "\r\n\r\n{\"a\": 1}",
    ] {
        assert!(taken[1].contains(part), "no {part:?} in {}", taken[1]);
    }
    assert!(!taken[1].contains(": mine"), "{}", taken[1]);
}

#[test]
fn a_final_failure_is_told_too_and_a_callback_that_leads_elsewhere_is_none() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = bench();
    let hob = &bench.hob;
    deploy(
        &bench,
        "bad",
        "return 'broken', 500",
        "[async]\nattempts = 1\n",
    );
    let listener = Listener::start(&[302]);
    post(hob, "bad", "a", &listener.url());
    let call = wait_for(hob, "a", "dead");
    assert_eq!(call["callback"]["problem"], "it answered 302 Found");
    assert_eq!(call["problem"], "it answered 500 Internal Server Error");
    let taken = listener.taken();
    assert!(
        taken[0].contains("x-function-status: 500") && taken[0].ends_with("broken"),
        "{taken:?}"
    );
    // The answer was not there for those who would follow.
    assert_eq!(taken.len(), 1, "{taken:?}");
}

#[test]
fn functions_are_called_back_by_the_gateways_name_without_a_network() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = bench();
    let hob = &bench.hob;
    deploy(&bench, "first", "return 'one'", "");
    deploy(
        &bench,
        "second",
        "h = req.headers\nprint('told', req, h['x-function-name'], flush=True)\nreturn 'two'",
        "",
    );
    let log = || hob.cli(["logs", "second"]).ok();
    post(
        hob,
        "first",
        "a",
        "http://gateway.openfaas:8080/function/second",
    );
    wait_for(hob, "a", "done");
    assert_eventually!(log().contains("told one first"), "{}", log());
    // A queued call of its own, under the same id.
    post(
        hob,
        "first",
        "b",
        "http://gateway:8080/async-function/second",
    );
    assert_eventually!(show(hob, "b")["function"] == "second");
    assert_eq!(wait_for(hob, "b", "done")["answer"]["text"], "two");
    // The end of a chain does not hide where it broke.
    deploy(
        &bench,
        "bad",
        "return 'broken', 500",
        "[async]\nattempts = 1\n",
    );
    post(hob, "bad", "c", "http://gateway:8080/async-function/second");
    assert_eventually!(show(hob, "c")["function"] == "second");
    wait_for(hob, "c", "done");
    let args = ["queue", "show", "c", "--function", "bad", "-o", "json"];
    assert_eventually!(hob.cli(args).json()["state"] == "dead");
    let said = hob.cli(["queue", "retry", "c"]).ok();
    assert_eq!(said, "retrying 1 call\n");
    assert_eventually!(hob.cli(args).json()["attempts"] == 1);
    hob.cli(["queue", "drop", "c", "--function", "bad"]).ok();
    hob.cli(args).fails(3);
}

#[test]
fn the_client_of_openfaas_has_functions_called_later() {
    let Some(program) = rare_program("faas-cli") else {
        return;
    };
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = bench();
    let hob = &bench.hob;
    deploy(&bench, "first", "return 'one: ' + req", "");
    deploy(&bench, "second", "return 'two: ' + req", "");
    let mut client = Command::new(program)
        .args(["invoke", "first", "--async", "--gateway", &hob.url()])
        .args(["-H", "X-Call-Id: a"])
        .args([
            "-H",
            "X-Callback-Url: http://gateway:8080/async-function/second",
        ])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    client.stdin.take().unwrap().write_all(b"hi").unwrap();
    let said = client.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("submitted asynchronously"), "{said}");
    assert_eventually!(show(hob, "a")["answer"]["text"] == "two: one: hi");
}

#[test]
fn a_callback_outlives_a_death_and_the_function_is_not_called_again() {
    if !has_programs(&["python3"]) {
        return;
    }
    let mut bench = bench();
    deploy(
        &bench,
        "made",
        "print('ran', flush=True)\nreturn 'made'",
        "",
    );
    let listener = Listener::start(&[503, 503]);
    post(&bench.hob, "made", "a", &listener.url());
    assert_eventually!(show(&bench.hob, "a")["callback"]["attempts"] == 1);
    assert_eq!(show(&bench.hob, "a")["state"], "callback");
    bench.hob.kill();
    bench.hob.restart();
    let call = wait_for(&bench.hob, "a", "done");
    assert_eq!(call["callback"]["attempts"], 3);
    assert!(listener.taken().iter().all(|told| told.ends_with("made")));
    let log = bench.hob.cli(["logs", "made"]).ok();
    assert_eq!(log.matches("ran").count(), 1, "{log}");
}

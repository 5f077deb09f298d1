//! Runs on other machines: `hob worker`, the server that has it run something, and what both of
//! them are to the programs of bfaas.

mod basher;
mod client;
mod worker;

use std::{
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use hob_testkit::{Answer, assert_eventually};
use http::Request;
use rustix::process::Signal;

use crate::bench::{Bench, hob, write};
use basher::Basher;
use client::ask;
use worker::{Keys, Worker, able, alive};

/// A server whose runs are made by these workers.
fn server(keys: &Keys, protocol: &str, workers: &[(&str, SocketAddr)]) -> Bench {
    let mut config = format!(
        "[sandbox]\nenabled = true\nkey = {:?}\nlimits = {{ time = \"5s\" }}\n",
        keys.file()
    );
    for (id, address) in workers {
        config += &format!(
            "[[sandbox.workers]]\nurl = \"http://{address}\"\nid = \"{id}\"\nprotocol = \"{protocol}\"\n"
        );
    }
    Bench::configured(&config)
}

fn order(bench: &Bench, path: &str, json: &serde_json::Value) -> Answer {
    let request = Request::post(path).header("content-type", "application/json");
    let body = Bytes::from(json.to_string());
    bench.hob.send(request.body(body).unwrap())
}

/// The data of the last event.
fn end(answer: &Answer) -> serde_json::Value {
    let text = String::from_utf8_lossy(&answer.body);
    let data = text.rsplit_once("event: exit\ndata: ").expect("an end").1;
    serde_json::from_str(data).unwrap()
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_secs()
}

/// An address where nobody listens.
fn nowhere() -> SocketAddr {
    let door = TcpListener::bind("127.0.0.1:0").unwrap();
    door.local_addr().unwrap()
}

#[test]
fn a_run_goes_through_a_worker_with_all_that_an_order_says() {
    if !able() {
        return;
    }
    let (keys, folder) = (Keys::new(), tempfile::tempdir().unwrap());
    let worker = Worker::start(
        folder.path(),
        &["--id", "box-2", "--public-key", &keys.public],
    );
    let bench = server(&keys, "hob", &[("box-2", worker.address)]);
    let answer = bench.hob.post("/run", "echo '<é>'; echo oops >&2; exit 3");
    let answer = answer.expect(200);
    assert_eq!(answer.header("worker"), "box-2");
    assert_ne!(answer.header("coord"), "");
    let mut events: Vec<&str> = answer.text().split_inclusive("\n\n").collect();
    assert_eq!(events.pop(), Some("event: exit\ndata: {\"code\":3}\n\n"));
    events.sort_unstable();
    assert_eq!(
        events,
        [
            "event: stderr\ndata: \"oops\\n\"\n\n",
            "event: stdout\ndata: \"\\u003cé\\u003e\\n\"\n\n"
        ]
    );
    // Also bytes that are no text come whole, and the two runs of one second are two.
    let answer = bench.hob.post(
        "/run?raw=1",
        "printf '\\xff\\x00\\xfe'; head -c 300000 /dev/zero",
    );
    let body = answer.expect(200).body;
    assert!(body.starts_with(b"\xff\0\xfe") && body.ends_with(b"\nexit: 0\n"));
    assert_eq!(body.len(), 3 + 300_000 + 9);
    let json = serde_json::json!({
        "language": "sh", "script": "cat note - ; echo $1 $NAME; env | grep -c HOB",
        "files": [{"name": "note", "content": "bm90ZQo=", "encoding": "base64"}],
        "args": ["arg"], "env": {"NAME": "value"}, "stdin": "stdin\n", "limits": {"pids": 20}
    });
    let answer = order(&bench, "/run?raw=1", &json).expect(200);
    assert_eq!(answer.text(), "note\nstdin\narg value\n0\n\nexit: 1\n");
    let told = end(&bench.hob.post("/run?end=1", "true").expect(200));
    assert_eq!(told["end"], "ok");
    assert!(told["memory"].as_u64() > Some(0), "{told}");
    let private = std::fs::read_to_string(keys.file()).unwrap();
    let logs = bench.hob.log() + &worker.log();
    assert!(!logs.contains(private.trim()), "{logs}");
}

#[test]
fn a_worker_lets_in_who_has_an_authorisation_for_it_and_that_once() {
    if !able() {
        return;
    }
    let (keys, folder) = (Keys::new(), tempfile::tempdir().unwrap());
    let worker = Worker::start(folder.path(), &["--id", "w", "--public-key", &keys.public]);
    // Of the second in which it started, it cannot know what was used before.
    let good = keys.sign(&["w", "--at", &(now() + 1).to_string()]);
    assert_eq!(worker.run(&good, "echo hi").status, 200);
    let early = keys.sign(&["w", "--at", &(now() - 30).to_string()]);
    let order = folder.path().join("order.json");
    let bound_order = r#"{"script":"echo bound"}"#;
    write(&order, bound_order);
    let bound = keys.sign(&["w", "--body", order.to_str().unwrap()]);
    let send = |line: &str, kind: &str, body: &str| {
        let fields = [("Authorization", bound.as_str()), ("Content-Type", kind)];
        let asked = ask(worker.address, line, &fields, body.as_bytes()).unwrap();
        asked.reply().unwrap()
    };
    let refused = [
        ("used before", good.clone(), "echo hi"),
        ("used before", format!("Bearer {good}"), "echo hi"),
        ("", Keys::new().sign(&["w"]), "echo hi"),
        ("before this worker started", early, "echo hi"),
        ("another worker", keys.sign(&["v"]), "echo hi"),
        ("without a query", bound.clone(), bound_order),
        (
            "good for 60 s",
            keys.sign(&["w", "--at", &(now() - 70).to_string()]),
            "true",
        ),
        (
            "set the clocks",
            keys.sign(&["w", "--at", &(now() + 20).to_string()]),
            "true",
        ),
        ("", "00".repeat(80), "true"),
    ];
    for (hint, authorisation, script) in refused {
        let reply = worker.run(&authorisation, script);
        assert_eq!(
            (reply.status, reply.text()),
            (401, "unauthorized\n"),
            "{hint}"
        );
        let told = reply.header("x-hob-unauthorized");
        assert!(told.contains(hint), "{told}");
        // Whoever has another key learns nothing.
        assert_eq!(told.is_empty(), hint.is_empty(), "{told}");
    }
    for (line, kind, body, hint) in [
        (
            "POST /run?raw=1",
            "application/json",
            bound_order,
            "without a query",
        ),
        ("POST /run", "text/plain", bound_order, "application/json"),
        ("POST /run", "application/json", "{}", "another script"),
    ] {
        let reply = send(line, kind, body);
        assert_eq!(reply.status, 401);
        let told = reply.header("x-hob-unauthorized");
        assert!(told.contains(hint), "{told}");
    }
    let none = worker.ask(&[], "true").unwrap().reply().unwrap();
    assert_eq!(none.status, 401);
    // The one for a script was not used up by another one.
    let reply = send("POST /run", "application/json; charset=utf-8", bound_order);
    assert!(reply.text().contains("bound"), "{reply:?}");
    let reply = send("POST /run", "application/json", bound_order);
    assert_eq!(reply.status, 401);
}

#[test]
fn a_server_with_the_wrong_key_is_told_so_and_runs_nothing() {
    if !able() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let worker = Worker::start(
        folder.path(),
        &["--id", "w", "--public-key", &Keys::new().public],
    );
    let bench = server(&Keys::new(), "hob", &[("w", worker.address)]);
    let answer = bench.hob.post("/run", "true").expect(500);
    assert_eq!(answer.text(), "no worker can be reached now\n");
    assert!(
        bench.hob.log().contains("does not let us in"),
        "{}",
        bench.hob.log()
    );
}

#[test]
fn whoever_hangs_up_at_the_server_has_the_run_killed_at_the_worker() {
    if !able() {
        return;
    }
    let (keys, folder) = (Keys::new(), tempfile::tempdir().unwrap());
    let worker = Worker::start(folder.path(), &["--id", "w", "--public-key", &keys.public]);
    let bench = server(&keys, "hob", &[("w", worker.address)]);
    let seconds = format!("sleep 5.{}", worker.pid());
    let script = format!("echo begun; setsid {seconds} & {seconds}");
    let mut asked = ask(bench.hob.address(), "POST /run", &[], script.as_bytes()).unwrap();
    asked.hears("begun");
    assert_eventually!(alive(&seconds));
    let since = Instant::now();
    drop(asked);
    assert_eventually!(!alive(&seconds));
    assert!(
        since.elapsed() < Duration::from_secs(4),
        "it ended by itself"
    );
}

#[test]
fn the_deadline_ends_all_of_it_at_the_worker() {
    if !able() {
        return;
    }
    let (keys, folder) = (Keys::new(), tempfile::tempdir().unwrap());
    let worker = Worker::start(folder.path(), &["--id", "w", "--public-key", &keys.public]);
    let bench = server(&keys, "hob", &[("w", worker.address)]);
    let seconds = format!("sleep 5.{}", worker.pid());
    let script = format!("echo begun; setsid {seconds} & {seconds}");
    let answer = bench.hob.post("/run?end=1&time=300ms", script).expect(200);
    let told = end(&answer);
    assert_eq!(told["message"], "passed its time limit of 300ms", "{told}");
    assert_eq!(told["end"], "timeout");
    assert!(!alive(&seconds));
    let silent = bench.hob.post("/run?time=200ms", "sleep 5").expect(200);
    assert_eq!((silent.text(), silent.header("worker")), ("", ""));
}

#[test]
fn where_a_worker_is_down_the_next_one_runs_it() {
    if !able() {
        return;
    }
    let (keys, folder) = (Keys::new(), tempfile::tempdir().unwrap());
    let args = ["--id", "w", "--public-key", &keys.public];
    let mut worker = Worker::start(folder.path(), &args);
    let bench = server(&keys, "hob", &[("down", nowhere()), ("w", worker.address)]);
    for _ in 0..3 {
        let answer = bench.hob.post("/run", "true").expect(200);
        assert_eq!(answer.header("worker"), "w");
    }
    worker.send(Signal::KILL);
    worker.ended();
    let answer = bench.hob.post("/run", "true").expect(500);
    assert_eq!(answer.text(), "no worker can be reached now\n");
    // Back again, and nothing of the one that was killed is in its way.
    worker.again(folder.path(), &args);
    assert_eventually!(bench.hob.post("/run", "true").status == 200);
}

#[test]
fn a_worker_that_stops_in_the_middle_is_no_end_of_the_run() {
    if !able() {
        return;
    }
    let (keys, folder) = (Keys::new(), tempfile::tempdir().unwrap());
    let mut worker = Worker::start(folder.path(), &["--id", "w", "--public-key", &keys.public]);
    let bench = server(&keys, "hob", &[("w", worker.address)]);
    let mut asked = ask(
        bench.hob.address(),
        "POST /run?end=1",
        &[],
        b"echo begun; sleep 4",
    )
    .unwrap();
    asked.hears("begun");
    worker.send(Signal::KILL);
    worker.ended();
    asked.hears("\"end\":\"host\"");
}

#[test]
fn a_worker_that_is_killed_leaves_nothing_alive_and_the_next_one_clears_the_rest() {
    if !able() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut worker = Worker::start(folder.path(), &["--id", "w"]);
    let seconds = format!("sleep 9.{}", worker.pid());
    let script = format!("echo begun; setsid {seconds} & trap '' TERM; {seconds}");
    let mut asked = worker.ask(&[], &script).unwrap();
    asked.hears("begun");
    assert_eventually!(alive(&seconds));
    let since = Instant::now();
    worker.send(Signal::KILL);
    worker.ended();
    assert_eventually!(!alive(&seconds));
    assert!(
        since.elapsed() < Duration::from_secs(6),
        "it ended by itself"
    );
    worker.again(folder.path(), &["--id", "w"]);
    let log = worker.log();
    assert!(log.contains("removed what an earlier run left"), "{log}");
    let reply = worker.ask(&[], "echo fine").unwrap().reply().unwrap();
    assert!(reply.text().contains("fine"), "{reply:?}");
}

#[test]
fn stopping_a_worker_ends_its_runs_within_a_second() {
    if !able() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut worker = Worker::start(folder.path(), &["--id", "w"]);
    let seconds = format!("sleep 6.{}", worker.pid());
    let mut asked = worker.ask(&[], &format!("echo begun; {seconds}")).unwrap();
    asked.hears("begun");
    assert_eventually!(alive(&seconds));
    let since = Instant::now();
    assert!(worker.stop().success());
    assert!(
        since.elapsed() < Duration::from_secs(1),
        "{:?}",
        since.elapsed()
    );
    assert!(!alive(&seconds));
    assert!(worker.ask(&[], "true").is_none());
}

#[test]
fn a_worker_for_one_run_serves_one_and_ends() {
    if !able() {
        return;
    }
    let (keys, folder) = (Keys::new(), tempfile::tempdir().unwrap());
    let mut worker = Worker::start(
        folder.path(),
        &["--once", "--id", "w", "--public-key", &keys.public],
    );
    let get = |line| {
        ask(worker.address, line, &[], b"")
            .unwrap()
            .reply()
            .unwrap()
    };
    let reply = get("GET /run");
    assert_eq!((reply.status, reply.header("allow")), (405, "POST"));
    assert_eq!(reply.text().trim(), "Method Not Allowed");
    let reply = get("POST /other");
    assert_eq!((reply.status, reply.text()), (404, "404 page not found\n"));
    assert_eq!(get("POST /run").status, 401);
    let sign = |at: u64| keys.sign(&["w", "--at", &(now() - at).to_string()]);
    let first = sign(0);
    let mut asked = worker
        .ask(
            &[("Authorization", &first)],
            "echo begun; read -t 20 < <(sleep 2)",
        )
        .unwrap();
    asked.hears("begun");
    let reply = worker.run(&sign(1), "echo second");
    assert_eq!((reply.status, reply.text()), (409, "conflict\n"));
    asked.hears("event: exit");
    assert!(worker.ended().success());
    assert!(worker.ask(&[], "true").is_none());
}

/// What clients of bfaas are used to, to the byte, read in the way of its coordinator.
#[test]
fn a_coordinator_of_bfaas_gets_from_a_worker_what_it_knows() {
    if !able() {
        return;
    }
    let (keys, folder) = (Keys::new(), tempfile::tempdir().unwrap());
    let args = ["--once", "--id", "m8001", "--public-key", &keys.public];
    let mut worker = Worker::start(folder.path(), &args);
    let runs: [(&str, &str, &str); 5] = [
        (
            "/run",
            "printf '<a>&\\n'",
            "event: stdout\ndata: \"\\u003ca\\u003e\\u0026\\n\"\n\nevent: exit\ndata: {\"code\":0}\n\n",
        ),
        (
            "/run?raw=",
            "nonesuch 2>/dev/null",
            "event: exit\ndata: {\"code\":127}\n\n",
        ),
        ("/run", "kill -9 $$", "event: exit\ndata: {\"code\":-1}\n\n"),
        (
            "/run",
            "printf '\\xff' >&2; exit 1",
            "event: stderr\ndata: \"\\ufffd\"\n\nevent: exit\ndata: {\"code\":1}\n\n",
        ),
        ("/run?raw=1", "printf hi", "hi\nexit: 0\n"),
    ];
    for (at, (path, script, expected)) in runs.into_iter().enumerate() {
        if at > 0 {
            assert!(worker.ended().success());
            worker.again(folder.path(), &args);
        }
        let signed = keys.sign(&["m8001"]);
        let headers = [
            ("Authorization", signed.as_str()),
            ("fly-force-instance-id", "m8001"),
        ];
        let line = format!("POST {path}");
        let asked = ask(worker.address, &line, &headers, script.as_bytes()).unwrap();
        let reply = asked.reply().unwrap();
        assert_eq!((reply.status, reply.header("worker")), (200, "m8001"));
        assert_eq!(reply.text(), expected, "{script}");
    }
}

#[test]
fn a_server_has_workers_of_bfaas_run_scripts() {
    let keys = Keys::new();
    let basher = Basher::start("m1", "127.0.0.1:0");
    let bench = server(&keys, "bfaas", &[("m1", basher.address)]);
    let script = "echo '<hi>'; head -c 5000 /dev/zero | tr '\\0' x >&2; exit 3";
    let answer = bench.hob.post("/run", script).expect(200);
    assert_eq!(answer.header("worker"), "m1");
    let text = answer.text();
    assert!(
        text.contains("event: stdout\ndata: \"\\u003chi\\u003e\\n\"\n\n"),
        "{text}"
    );
    assert_eq!(
        text.matches('x').count() - text.matches("exit").count(),
        5000
    );
    assert!(
        text.ends_with("event: exit\ndata: {\"code\":3}\n\n"),
        "{text}"
    );
    let address = basher.address.to_string();
    let head = basher.ended();
    assert!(head.to_lowercase().contains("authorization: "), "{head}");
    // It has had its run: until somebody starts it again, nobody is there.
    let answer = bench.hob.post("/run", "true").expect(500);
    assert_eq!(answer.text(), "no worker can be reached now\n");
    let again = Basher::start("m1", &address);
    let answer = bench.hob.post("/run?time=300ms", "sleep 1").expect(200);
    assert_eq!(answer.text(), "");
    again.ended();
    let answer = bench.hob.post("/run?lang=python", "print(1)").expect(400);
    assert!(
        answer.text().contains("run bash scripts only"),
        "{}",
        answer.text()
    );
}

#[test]
fn keys_are_made_for_their_owner_alone_and_never_shown() {
    let keys = Keys::new();
    let mode = keys.file().metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let file = keys.file();
    let file = file.to_str().unwrap();
    let again = hob(["keys", "generate", "--out", file]).run().fails(1);
    assert!(again.contains("is there already"), "{again}");
    let signed = hob([
        "keys", "sign", "w", "--key", file, "--at", "5", "-o", "json",
    ]);
    let signed = signed.run().json();
    let message = "352c77";
    assert!(
        signed["authorisation"].as_str().unwrap().ends_with(message),
        "{signed}"
    );
    assert_eq!(signed["at"], "1970-01-01T00:00:05Z");
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(file, open).unwrap();
    let refused = hob(["keys", "sign", "w", "--key", file]).run().fails(1);
    assert!(refused.contains("chmod 600"), "{refused}");
    let none = hob(["keys", "sign", "w", "--key", "/nonexistent"])
        .run()
        .fails(3);
    assert!(none.contains("hob keys generate"), "{none}");
    let odd = hob(["keys", "sign", "a,b", "--key", file]).run();
    assert_eq!(odd.code, 64, "{odd:?}");
}

use std::{
    net::SocketAddr,
    sync::Mutex,
    time::{Duration, SystemTime},
};

use hob_model::{Memory, Timespan, sandbox::RunLimits};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

use futures_util::StreamExt;
use hob_model::{
    End, EndReason,
    sandbox::{RunEnd, RunEvent, RunFile},
};

use super::*;
use crate::pool::{Gate, Unauthorised, local::languages_elsewhere};

const HEAD: &str = "HTTP/1.1 200 OK\r\nWorker: w1\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
/// What a worker of bfaas writes of `echo '<é'; printf '\xff' >&2; exit 3`.
const EVENTS: &str = "event: stdout\ndata: \"\\u003cé\\n\"\n\nevent: stderr\ndata: \"\\ufffd\"\n\nevent: exit\ndata: {\"code\":3}\n\n";

const EXIT: &str = "event: exit\ndata: {\"code\":0}\n\n";

/// A worker that says the same to everybody.
struct Fake {
    address: SocketAddr,
    /// What was asked, and `closed` when an asker has gone.
    heard: Mutex<mpsc::UnboundedReceiver<String>>,
}

/// What a fake does when it has said its word.
#[derive(Clone, Copy)]
enum Then {
    Close,
    Wait,
}

impl Fake {
    async fn start(says: String, then: Then) -> Self {
        Self::in_turn(vec![says], then).await
    }

    /// Says one thing after the other, the last one for ever.
    async fn in_turn(mut says: Vec<String>, then: Then) -> Self {
        let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = door.local_addr().unwrap();
        let (tell, heard) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = door.accept().await {
                let word = says[0].clone();
                if says.len() > 1 {
                    says.remove(0);
                }
                tokio::spawn(answer(stream, word, then, tell.clone()));
            }
        });
        Self {
            address,
            heard: Mutex::new(heard),
        }
    }

    fn config(&self, id: &str) -> WorkerConfig {
        at(self.address, id)
    }

    async fn hears(&mut self) -> String {
        let heard = self.heard.get_mut().unwrap();
        let heard = timeout(Duration::from_secs(10), heard.recv()).await;
        heard.expect("it is asked").unwrap()
    }
}

async fn answer(
    mut stream: TcpStream,
    says: String,
    then: Then,
    tell: mpsc::UnboundedSender<String>,
) {
    let mut heard = Vec::new();
    while !is_whole(&heard) {
        if stream.read_buf(&mut heard).await.unwrap_or(0) == 0 {
            return;
        }
    }
    tell.send(String::from_utf8_lossy(&heard).into_owned()).ok();
    stream.write_all(says.as_bytes()).await.ok();
    if let Then::Wait = then {
        let _ = stream.read(&mut [0]).await;
        tell.send("closed".into()).ok();
    }
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    body.len() >= length.and_then(|length| length.parse().ok()).unwrap_or(0)
}

fn at(address: SocketAddr, id: &str) -> WorkerConfig {
    WorkerConfig {
        url: format!("http://{address}"),
        id: id.parse().unwrap(),
        slots: 1,
    }
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

fn whole(events: &str) -> String {
    format!("{HEAD}{}0\r\n\r\n", chunk(events))
}

fn pool(protocol: Protocol, workers: Vec<WorkerConfig>, limits: RunMaxima) -> WorkerPool {
    WorkerPool::new(WorkersConfig {
        workers,
        protocol,
        key: None,
        limits,
        queue: 10,
        languages: languages_elsewhere(&[]),
    })
    .unwrap()
}

fn order(script: &str) -> RunOrder {
    RunOrder {
        language: "bash".into(),
        script: script.into(),
        ..RunOrder::default()
    }
}

fn quick() -> RunMaxima {
    RunMaxima {
        time: Timespan(Duration::from_millis(100)),
        ..RunMaxima::default()
    }
}

async fn end(run: StartedRun) -> (Vec<RunEvent>, RunEnd) {
    let mut events: Vec<_> = run.events.collect().await;
    let Some(RunEvent::End(end)) = events.pop() else {
        panic!("no end after {events:?}");
    };
    (events, end)
}

#[tokio::test]
async fn the_bytes_of_bfaas_are_understood() {
    let mut fake = Fake::start(whole(EVENTS), Then::Close).await;
    let limits = RunMaxima::default();
    let pool = pool(Protocol::Bfaas, vec![fake.config("w1")], limits);
    let run = pool.run(order("a script")).await.unwrap();
    assert_eq!(run.worker, "w1");
    assert_eq!(pool.standing().leased, 1);
    let (events, end) = end(run).await;
    assert_eq!(
        events,
        [
            RunEvent::Stdout("<é\n".into()),
            RunEvent::Stderr("\u{fffd}".into())
        ]
    );
    assert_eq!((end.code, end.end.reason), (3, EndReason::Exit));
    assert_eq!(pool.standing().leased, 0);
    let asked = fake.hears().await;
    assert!(asked.starts_with("POST /run HTTP/1.1\r\n"), "{asked}");
    assert!(asked.ends_with("\r\n\r\na script"), "{asked}");
}

#[tokio::test]
async fn all_that_a_hob_tells_of_the_end_comes_through() {
    let output = "event: stdout\ndata: \"/wA=\"\n\n";
    let told = r#"{"code":-1,"end":"memory","message":"over 64Mi","signal":9,"queue_ms":1.5,"start_ms":2,"run_ms":30.25,"cpu_ms":null,"memory":1234}"#;
    let events = format!("{output}event: exit\ndata: {told}\n\n");
    let mut fake = Fake::start(whole(&events), Then::Close).await;
    let limits = RunMaxima::default();
    let pool = pool(Protocol::Hob, vec![fake.config("w1")], limits);
    let mut order = order("x");
    order.args = vec!["a".into()];
    order.limits.pids = Some(3);
    let (events, end) = end(pool.run(order).await.unwrap()).await;
    assert_eq!(events, [RunEvent::Stdout(vec![0xff, 0])]);
    assert_eq!((end.code, end.signal), (-1, Some(9)));
    assert_eq!(end.end, End::new(EndReason::Memory, "over 64Mi"));
    assert_eq!(end.times.run, Duration::from_micros(30_250));
    assert_eq!((end.cpu, end.memory), (None, Some(1234)));
    let asked = fake.hears().await;
    assert!(asked.contains("x-hob-run-end: 1\r\n"), "{asked}");
    let body = asked.split_once("\r\n\r\n").unwrap().1;
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["script"], "eA==");
    assert_eq!(body["encoding"], "base64");
    assert_eq!(body["events"], "base64");
    assert_eq!(body["args"][0], "a");
    assert_eq!(body["limits"]["pids"], 3);
    let time: Timespan = body["limits"]["time"].as_str().unwrap().parse().unwrap();
    assert_eq!(time, limits.time);
}

#[tokio::test]
async fn a_deadline_is_told_from_other_timeouts() {
    for (said, expected) in [("true", true), ("false", false)] {
        let told = format!(r#"{{"code":-1,"end":"timeout","signal":9,"deadline":{said}}}"#);
        let events = format!("event: exit\ndata: {told}\n\n");
        let fake = Fake::start(whole(&events), Then::Close).await;
        let workers = vec![fake.config("w1")];
        let pool = pool(Protocol::Hob, workers, RunMaxima::default());
        let (_, end) = end(pool.run(order("x")).await.unwrap()).await;
        assert_eq!(end.end.reason, EndReason::Timeout);
        assert_eq!(end.by_deadline, expected);
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_the_workers_fault() {
    let half = format!("{HEAD}{}", chunk("event: stdout\ndata: \"eA==\"\n\n"));
    for says in [
        half.clone(),
        whole("event: stdout\ndata: \"eA==\"\n\n"),
        whole("event: exit\ndata: no\n\n"),
    ] {
        let fake = Fake::start(says, Then::Close).await;
        let pool = pool(Protocol::Hob, vec![fake.config("w1")], RunMaxima::default());
        let (_, end) = end(pool.run(order("x")).await.unwrap()).await;
        assert_eq!(end.end.reason, EndReason::Host, "{}", end.end);
    }
}

#[tokio::test]
async fn the_deadline_is_kept_here_too() {
    for (says, output) in [
        (String::new(), 0),
        (HEAD.to_owned(), 0),
        (
            format!("{HEAD}{}", chunk("event: stdout\ndata: \"x\"\n\n")),
            1,
        ),
    ] {
        let mut fake = Fake::start(says, Then::Wait).await;
        let pool = pool(Protocol::Bfaas, vec![fake.config("w1")], quick());
        let since = Instant::now();
        let (events, end) = end(pool.run(order("x")).await.unwrap()).await;
        assert!(since.elapsed() >= quick().time.0);
        assert_eq!((events.len(), end.end.reason), (output, EndReason::Timeout));
        assert!(end.by_deadline);
        fake.hears().await;
        assert_eq!(fake.hears().await, "closed");
    }
}

/// By itself, the deadline would count only for those who read.
#[tokio::test]
async fn a_caller_who_does_not_read_holds_nothing_up() {
    let flood = format!("event: stdout\ndata: \"{}\"\n\n", "x".repeat(1000));
    for (protocol, says) in [
        (Protocol::Bfaas, HEAD.to_owned()),
        (
            Protocol::Bfaas,
            format!("{HEAD}{}", chunk(&flood.repeat(100))),
        ),
        (Protocol::Hob, HEAD.to_owned()),
    ] {
        let mut fake = Fake::start(says, Then::Wait).await;
        let pool = pool(protocol, vec![fake.config("w1")], quick());
        let run = pool.run(order("x")).await.unwrap();
        fake.hears().await;
        assert_eq!(fake.hears().await, "closed");
        assert_eq!((pool.standing().leased, pool.standing().ready), (0, 1));
        let (_, end) = end(run).await;
        assert_eq!(end.end.reason, EndReason::Timeout);
    }
}

#[tokio::test]
async fn what_no_sandbox_would_take_is_refused_before_anybody_waits() {
    let address = "127.0.0.1:1".parse().unwrap();
    let pool = pool(Protocol::Hob, vec![at(address, "w1")], RunMaxima::default());
    type Change = fn(&mut RunOrder);
    let refused: [(Change, &str); 5] = [
        (|order| order.args = vec![String::new(); 2000], "arguments"),
        (
            |order| {
                order.files = vec![RunFile {
                    path: "../x".into(),
                    contents: Vec::new(),
                }];
            },
            "leads out of its folder",
        ),
        (
            |order| order.env = vec![("A=B".into(), String::new())],
            "no good name",
        ),
        (|order| order.stdin = vec![0; (16 << 20) + 1], "stdin"),
        (
            |order| order.language = "cobol".into(),
            "`cobol` is unknown",
        ),
    ];
    for (change, expected) in refused {
        let mut order = order("x");
        change(&mut order);
        let error = pool.run(order).await.err().unwrap();
        assert!(matches!(error, RunError::Refused(_)), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn whoever_drops_a_run_closes_its_connection() {
    let mut fake = Fake::start(HEAD.to_owned(), Then::Wait).await;
    let pool = pool(Protocol::Hob, vec![fake.config("w1")], RunMaxima::default());
    let run = pool.run(order("x")).await.unwrap();
    fake.hears().await;
    drop(run);
    assert_eq!(fake.hears().await, "closed");
    assert_eq!(pool.standing().leased, 0);
    let run = pool.run(order("x")).await.unwrap();
    pool.close().await;
    let (_, end) = end(run).await;
    assert_eq!(end.end.reason, EndReason::Cancelled);
    assert!(pool.run(order("x")).await.is_err());
}

#[tokio::test]
async fn output_beyond_the_limit_is_cut_here_too() {
    let events = format!("event: stdout\ndata: \"{}\"\n\n", "x".repeat(100));
    let fake = Fake::start(format!("{HEAD}{}", chunk(&events)), Then::Wait).await;
    let limits = RunMaxima {
        output: Memory(60),
        ..RunMaxima::default()
    };
    let pool = pool(Protocol::Bfaas, vec![fake.config("w1")], limits);
    let (events, end) = end(pool.run(order("x")).await.unwrap()).await;
    assert_eq!(events, [RunEvent::Stdout("x".repeat(60).into())]);
    assert_eq!(end.end.reason, EndReason::Output);
}

#[tokio::test]
async fn who_is_not_there_is_passed_over_and_left_alone() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    let fake = Fake::start(whole(EVENTS), Then::Close).await;
    let workers = vec![at(address, "w0"), fake.config("w1")];
    let both = pool(Protocol::Bfaas, workers, RunMaxima::default());
    let run = both.run(order("x")).await.unwrap();
    assert_eq!(run.worker, "w1");
    // The one that is there is busy, the other one rests.
    assert_eq!(both.standing().ready, 0);
    let since = Instant::now();
    let waits = both.run(order("x"));
    let (next, _) = tokio::join!(waits, end(run));
    assert_eq!(next.unwrap().worker, "w1");
    assert!(since.elapsed() < Duration::from_secs(5));
    let alone = pool(
        Protocol::Bfaas,
        vec![at(address, "w0")],
        RunMaxima::default(),
    );
    let error = alone.run(order("x")).await.err().unwrap();
    assert!(matches!(error, RunError::Unavailable(_)), "{error}");
    assert_eq!(alone.standing().leased, 0);
}

#[tokio::test]
async fn what_a_worker_answers_instead_is_told_apart() {
    let says = |head: &str| format!("HTTP/1.1 {head}\r\nContent-Length: 5\r\n\r\nwhy \n");
    let full: fn(&RunError) -> bool = |error| matches!(error, RunError::Full { .. });
    let refused: fn(&RunError) -> bool = |error| *error == RunError::Refused("why".to_owned());
    let away: fn(&RunError) -> bool = |error| matches!(error, RunError::Unavailable(_));
    for (head, is) in [
        ("409 Conflict", full),
        ("503 Service Unavailable", full),
        ("400 Bad Request", refused),
        ("401 Unauthorized\r\nX-Hob-Unauthorized: clocks", away),
        ("404 Not Found", away),
        ("200 OK\r\nWorker: another", away),
        ("200 OK", away),
        ("302 Found\r\nLocation: http://127.0.0.1:1/", away),
    ] {
        let fake = Fake::start(says(head), Then::Close).await;
        let pool = pool(Protocol::Hob, vec![fake.config("w1")], RunMaxima::default());
        let error = pool.run(order("x")).await.err().unwrap();
        assert!(is(&error), "{head}: {error}");
        assert_eq!(pool.standing().leased, 0);
    }
}

#[tokio::test]
async fn one_that_has_just_started_is_asked_again_with_a_new_authorisation() {
    let refused = "HTTP/1.1 401 Unauthorized\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";
    let says = vec![refused.to_owned(), whole(EXIT)];
    let mut fake = Fake::in_turn(says, Then::Close).await;
    let pool = WorkerPool::new(WorkersConfig {
        workers: vec![fake.config("w1")],
        protocol: Protocol::Hob,
        key: Some(SigningKey::generate().unwrap()),
        limits: RunMaxima::default(),
        queue: 0,
        languages: languages_elsewhere(&[]),
    })
    .unwrap();
    let (_, end) = end(pool.run(order("x")).await.unwrap()).await;
    assert_eq!(end.end.reason, EndReason::Ok);
    let signed = [fake.hears().await, fake.hears().await].map(|asked| {
        let mut lines = asked.lines();
        lines
            .find(|line| line.starts_with("authorization: "))
            .map(str::to_owned)
    });
    assert!(signed[0].is_some() && signed[0] != signed[1], "{signed:?}");
}

#[tokio::test]
async fn a_worker_of_bfaas_is_not_asked_for_what_it_cannot_do() {
    let address = "127.0.0.1:1".parse().unwrap();
    let pool = pool(
        Protocol::Bfaas,
        vec![at(address, "w1")],
        RunMaxima::default(),
    );
    let python = RunOrder {
        language: "python".into(),
        ..order("x")
    };
    let stdin = RunOrder {
        stdin: b"x".to_vec(),
        ..order("x")
    };
    let memory = RunOrder {
        limits: RunLimits {
            memory: Some(Memory(64 << 20)),
            ..RunLimits::default()
        },
        ..order("x")
    };
    for (order, expected) in [
        (python, "run bash scripts only"),
        (stdin, "take no stdin"),
        (memory, "limit nothing but time and output"),
    ] {
        let error = pool.run(order).await.err().unwrap().to_string();
        assert!(error.ends_with(expected), "{error}");
    }
}

#[tokio::test]
async fn runs_are_signed_in_the_way_of_the_worker() {
    for (protocol, again) in [
        (Protocol::Bfaas, Err(Unauthorised::Used)),
        (Protocol::Hob, Ok(())),
    ] {
        let mut fake = Fake::start(whole(EXIT), Then::Close).await;
        let key = SigningKey::generate().unwrap();
        let start = SystemTime::now() - Duration::from_secs(10);
        let gate = Gate::new(key.public(), "w1".parse().unwrap(), start);
        let pool = WorkerPool::new(WorkersConfig {
            workers: vec![fake.config("w1")],
            protocol,
            key: Some(key),
            limits: RunMaxima::default(),
            queue: 0,
            languages: languages_elsewhere(&[]),
        })
        .unwrap();
        let mut admitted = Vec::new();
        for _ in 0..2 {
            end(pool.run(order("x")).await.unwrap()).await;
            let asked = fake.hears().await;
            let (head, body) = asked.split_once("\r\n\r\n").unwrap();
            let header = head
                .lines()
                .find_map(|line| line.strip_prefix("authorization: "));
            let now = SystemTime::now();
            let pass = gate.look(header, now).unwrap();
            assert_eq!(pass.is_for_one_body(), protocol == Protocol::Hob);
            admitted.push(gate.admit(&pass, body.as_bytes(), now));
        }
        // Two in one second are the same to bfaas; the second one may have begun in between.
        assert_eq!(admitted[0], Ok(()));
        assert!(admitted[1] == again || admitted[1].is_ok(), "{admitted:?}");
    }
}

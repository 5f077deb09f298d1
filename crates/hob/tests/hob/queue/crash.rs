use std::{
    collections::{BTreeMap, HashMap},
    fs,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use hob_testkit::{has_programs, wait_until};

use super::{deploy, depth};
use crate::bench::Bench;

const CALLS: usize = 20_000;
const DEATHS: usize = 10;
const CALLERS: usize = 16;
/// Of so many calls one fails at first, so that it waits for its next try, and one has a callback.
const ODD: usize = 8;
/// Longest wait for the rest of the calls, once all were taken.
const REST: Duration = Duration::from_secs(120);
/// Longest silence of a server that lives.
const SILENCE: Duration = Duration::from_secs(20);

/// What the callers share.
#[derive(Default)]
struct Callers {
    /// Where the server is now; none while it is dead.
    address: Mutex<Option<SocketAddr>>,
    /// The next call's number.
    next: AtomicUsize,
    /// Numbers of the calls that were acknowledged.
    taken: Mutex<Vec<usize>>,
}

impl Callers {
    /// Has calls taken, one after the other, until all numbers are given away. A call that was not
    /// acknowledged is sent again under a new number.
    fn call(&self) {
        let mut connection = None;
        while self.taken.lock().unwrap().len() < CALLS {
            if connection.is_none() {
                wait_until(SILENCE, || self.address.lock().unwrap().is_some());
                let address = *self.address.lock().unwrap();
                connection = address.and_then(|address| TcpStream::connect(address).ok());
            }
            let Some(stream) = &connection else { continue };
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            match send(stream, number) {
                Some(true) => self.taken.lock().unwrap().push(number),
                Some(false) => panic!("call {number} was refused"),
                // It died under it, before or after it took the call.
                None => connection = None,
            }
        }
    }

    fn taken(&self) -> Vec<usize> {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.clone()
    }
}

/// Whether the call was acknowledged; `None` when the connection broke.
fn send(mut stream: &TcpStream, number: usize) -> Option<bool> {
    stream.set_read_timeout(Some(SILENCE)).ok()?;
    let (body, callback) = match number % ODD {
        0 => ("f", ""),
        1 => ("x", "X-Callback-Url: http://gateway:8080/function/note\r\n"),
        _ => ("x", ""),
    };
    let request = format!(
        "POST /async-function/note HTTP/1.1\r\nHost: h\r\nX-Call-Id: call-{number}\r\n{callback}Content-Length: 1\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut head = String::new();
    let mut reader = BufReader::new(stream);
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    Some(head.starts_with("HTTP/1.1 202 "))
}

#[test]
fn no_acknowledged_call_is_lost_by_ten_deaths() {
    if !has_programs(&["python3"]) {
        return;
    }
    let mut bench = Bench::new();
    // A call may fail once in each life of the function, since that forgets what it has seen.
    // One line for each run, written at once, so that lines are never mixed.
    let body = "import os\nid = req.headers['x-call-id']\ntold = 'x-function-status' in req.headers\nseen = handle.__dict__\nif str(req) == 'f' and id not in seen:\n    seen[id] = True\n    return '', 503\nos.write(1, f'{\"told\" if told else \"ran\"} {id}\\n'.encode())";
    deploy(
        &bench,
        "note",
        body,
        "[async]\nconcurrency = 32\nattempts = 100\nmin_wait = 0\nmax_wait = \"1s\"\n",
    );
    let callers = Callers::default();
    let mut logs = BTreeMap::new();
    thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| callers.call());
        }
        for death in 1..=DEATHS {
            *callers.address.lock().unwrap() = Some(bench.hob.address());
            let enough = CALLS * death / (DEATHS + 1);
            let gone_on = || callers.taken.lock().unwrap().len() >= enough;
            assert!(wait_until(REST, gone_on), "the server takes calls");
            *callers.address.lock().unwrap() = None;
            bench.hob.kill();
            read_logs(&bench, &mut logs);
            bench.hob.restart();
        }
        *callers.address.lock().unwrap() = Some(bench.hob.address());
    });
    let taken = callers.taken();
    let left = || {
        let states = ["waiting", "running", "callbacks"];
        states
            .map(|state| depth(&bench.hob, state))
            .iter()
            .sum::<u64>()
    };
    assert!(
        wait_until(REST, || left() == 0),
        "{} calls are left",
        left()
    );
    read_logs(&bench, &mut logs);

    let (runs, told) = (counted(&logs, "ran "), counted(&logs, "told "));
    let missing: Vec<_> = taken
        .iter()
        .filter(|number| !runs.contains_key(format!("call-{number}").as_str()))
        .collect();
    assert!(
        missing.is_empty(),
        "lost after they were acknowledged: {missing:?}"
    );
    let untold: Vec<_> = taken
        .iter()
        .filter(|number| *number % ODD == 1)
        .filter(|number| !told.contains_key(format!("call-{number}").as_str()))
        .collect();
    assert!(untold.is_empty(), "callbacks lost: {untold:?}");
    let repeated: usize = runs.values().map(|count| count - 1).sum();
    // Straight to the terminal, since it is worth reading where all is well.
    let _ = writeln!(
        std::io::stderr(),
        "{} calls acknowledged over {DEATHS} deaths, {} ran, {repeated} duplicates",
        taken.len(),
        runs.len()
    );
    assert_eq!(depth(&bench.hob, "dead"), 0);
}

/// How often each call left a line that begins so.
fn counted<'l>(logs: &'l BTreeMap<PathBuf, String>, prefix: &str) -> HashMap<&'l str, usize> {
    let mut counts = HashMap::new();
    for line in logs.values().flat_map(|log| log.lines()) {
        if let Some(id) = line.strip_prefix(prefix) {
            *counts.entry(id).or_default() += 1;
        }
    }
    counts
}

/// The logs of all replicas, also of those that went since the last look. What a replica writes
/// between its server's death and its own is read the next time.
fn read_logs(bench: &Bench, logs: &mut BTreeMap<PathBuf, String>) {
    let folder = bench.hob.data().join("logs/openfaas-fn/note");
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let log = fs::read_to_string(&path).unwrap();
        logs.insert(path, log);
    }
}

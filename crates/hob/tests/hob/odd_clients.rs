//! Clients of every odd kind at once, and ordinary callers who do not notice.

mod attack;

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use hob_testkit::{Hob, Net, assert_eventually, has_programs};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
};

use crate::{
    bench::{HOB, handler, write},
    tls::tls_address,
};
use attack::{Attack, Door, Wire, connect};

/// How long the attack lasts.
const ATTACK: Duration = Duration::from_secs(15);
/// Connections of each kind of attack, each from an address of its own kind.
const EACH: usize = 6;
/// By when a head that does not come, or a connection on which nothing happens, is over; with what
/// a busy machine takes.
const LATE: Duration = Duration::from_secs(8);
/// The same for bodies, which have 10 s of grace, and for what ends only after them.
const SLOW: Duration = Duration::from_secs(25);
/// How long a handshake of TLS may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Ordinary callers, and how long each of their calls may take.
const CALLERS: usize = 3;
const CALL: Duration = Duration::from_secs(10);
/// What all of it may cost in memory, in KiB.
const MEMORY: u64 = 128 << 10;

const SETTINGS: &str = "\
[limits]
head_timeout = \"2s\"
idle_timeout = \"3s\"
connections_per_address = 100
[tls]
listen = \"0.0.0.0:0\"
own = true
";

const HELLO: &str = "return 'x' * 2000000 if req == 'large' else 'hello ' + req";

#[test]
fn ordinary_callers_do_not_notice_odd_ones() {
    if !has_programs(&["ip", "unshare", "nsenter", "python3"]) {
        return;
    }
    let net = Arc::new(Net::new());
    let attacks = attack::all(LATE, SLOW);
    let address = |number: usize| format!("203.0.113.{}", number + 1);
    let mut addresses: Vec<_> = (0..attacks.len()).map(address).collect();
    addresses.push("198.51.100.7".into());
    for address in &addresses {
        net.own(address);
    }
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("config.toml");
    fs::write(&settings, SETTINGS).unwrap();
    let function = folder.path().join("hello");
    write(&function.join("handler.py"), &handler(HELLO));
    write(&function.join("hob.toml"), "[scale]\nmin = 1\n");
    let hob = Hob::builder(HOB)
        .env("HOB_CONFIG", &settings)
        .env("HOB_LISTEN", "0.0.0.0:0")
        .inside(&net)
        .start();
    hob.cli(["deploy", function.to_str().unwrap()]).ok();
    let replica = replica(&hob);
    for door in doors(&hob) {
        let before = memory(&hob);
        let stop = AtomicBool::new(false);
        let seen = net.enter(|| under_attack(&attacks, &address, door, &stop, &hob));
        eprintln!(
            "{}: {} calls, slowest {:?}",
            door.name, seen.calls, seen.slowest
        );
        for (name, life) in &seen.lives {
            eprintln!("  {name}: {} ended, the longest after {:?}", life.0, life.1);
        }
        assert!(seen.calls > 100, "{} calls only", seen.calls);
        let grown = seen.memory.saturating_sub(before);
        eprintln!("  memory grew by {grown} KiB");
        assert!(grown < MEMORY, "{grown} KiB more");
        assert_eventually!(connections(&hob, door) == 0);
    }
    assert_eq!(self::replica(&hob), replica, "no replica was lost to it");
}

/// Where clients come in; each gets the whole of it.
fn doors(hob: &Hob) -> [Door; 2] {
    let root = hob.data().join("pki/ca.pem");
    TRUSTING.get_or_init(|| Arc::new(trusting(&root)));
    [
        Door {
            name: "plain",
            port: hob.address().port(),
            open: plain,
            opening: Duration::ZERO,
        },
        Door {
            name: "TLS",
            port: tls_address(hob).port(),
            open: encrypted,
            opening: HANDSHAKE,
        },
    ]
}

/// How clients of the TLS door find out that it is the right one.
static TRUSTING: OnceLock<Arc<ClientConfig>> = OnceLock::new();

fn trusting(root: &Path) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(root).unwrap())
        .unwrap();
    ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

fn plain(stream: TcpStream) -> Box<dyn Wire> {
    Box::new(stream)
}

fn encrypted(stream: TcpStream) -> Box<dyn Wire> {
    let config = Arc::clone(TRUSTING.get().unwrap());
    let name = "localhost".try_into().unwrap();
    let connection = ClientConnection::new(config, name).unwrap();
    Box::new(StreamOwned::new(connection, stream))
}

/// What came of an attack.
struct Seen {
    calls: usize,
    slowest: Duration,
    /// Most that the server had, in KiB.
    memory: u64,
    /// By the kind of attack: how many the server ended, and the longest of them.
    lives: BTreeMap<&'static str, (usize, Duration)>,
}

fn under_attack(
    attacks: &[Attack],
    address: &(impl Fn(usize) -> String + Sync),
    door: Door,
    stop: &AtomicBool,
    hob: &Hob,
) -> Seen {
    let known = Mutex::new(BTreeMap::new());
    let lives = &known;
    let (calls, slowest, memory) = thread::scope(|scope| {
        for (number, attack) in attacks.iter().enumerate() {
            for one in 0..EACH {
                // Half of them know nothing of TLS: junk instead of handshakes, or half of one.
                let open = if one % 2 == 0 { door.open } else { plain };
                let door = Door { open, ..door };
                scope.spawn(move || {
                    while !stop.load(Ordering::SeqCst) {
                        let life = attack.run(&address(number), door);
                        let life = life.unwrap_or_else(|| panic!("{} is not ended", attack.name));
                        let mut lives = lives.lock().unwrap();
                        let known = lives.entry(attack.name).or_insert((0, Duration::ZERO));
                        *known = (known.0 + 1, known.1.max(life));
                        drop(lives);
                        thread::sleep(Duration::from_millis(50));
                    }
                });
            }
        }
        let callers: Vec<_> = (0..CALLERS)
            .map(|number| scope.spawn(move || calls(number, door, stop)))
            .collect();
        let begun = Instant::now();
        let mut memory = 0;
        while begun.elapsed() < ATTACK {
            memory = memory.max(self::memory(hob));
            thread::sleep(Duration::from_millis(100));
        }
        stop.store(true, Ordering::SeqCst);
        let mut took: Vec<Duration> = Vec::new();
        for caller in callers {
            took.extend(caller.join().expect("no call fails"));
        }
        let slowest = took.iter().max().copied().unwrap_or_default();
        (took.len(), slowest, memory)
    });
    Seen {
        calls,
        slowest,
        memory,
        lives: known.into_inner().unwrap(),
    }
}

/// Calls as ordinary callers do, on a new connection each time; returns how long each took.
fn calls(number: usize, door: Door, stop: &AtomicBool) -> Vec<Duration> {
    let mut took = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let begun = Instant::now();
        let stream = connect("198.51.100.7", door).expect("a connection");
        stream.set_read_timeout(Some(CALL)).unwrap();
        let mut wire = (door.open)(stream);
        let body = format!("{number}-{}", took.len());
        let request = format!(
            "POST /function/hello HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        wire.write_all(request.as_bytes())
            .expect("a connection that lasts");
        let mut answer = String::new();
        wire.read_to_string(&mut answer).expect("an answer in time");
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.ends_with(&format!("hello {body}")),
            "{answer}"
        );
        took.push(begun.elapsed());
    }
    took
}

/// Resident memory of the server, in KiB.
fn memory(hob: &Hob) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", hob.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.unwrap().parse().unwrap()
}

/// Connections of the server that are open, whoever is at the other end.
fn connections(hob: &Hob, door: Door) -> usize {
    const ESTABLISHED: &str = "01";
    let port = format!(":{:04X}", door.port);
    let table = fs::read_to_string(format!("/proc/{}/net/tcp", hob.pid())).unwrap();
    let open = table.lines().filter(|line| {
        let mut words = line.split_whitespace().skip(1);
        let own = words.next().is_some_and(|own| own.ends_with(&port));
        own && words.nth(1) == Some(ESTABLISHED)
    });
    open.count()
}

fn replica(hob: &Hob) -> String {
    let detail = hob.cli(["describe", "hello", "-o", "json"]).json();
    detail["instances"][0]["id"].as_str().unwrap().to_owned()
}

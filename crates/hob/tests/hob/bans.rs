//! Who is shut out of a real server, on a machine that the test makes up: addresses of its own
//! loopback interface stand for callers from elsewhere.

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use hob_testkit::{Hob, Net, assert_eventually, has_programs};
use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::bench::{HOB, write};

const NEEDED: [&str; 3] = ["ip", "unshare", "nsenter"];
const GUEST: &str = "203.0.113.9";
const NEIGHBOUR: &str = "203.0.113.10";
/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(15);

const SETTINGS: &str = "\
[bans]
logins = 6
misses = 20
never = [\"198.51.100.0/24\"]
";

/// A server that listens on every address of its machine.
struct Site {
    hob: Hob,
    net: Arc<Net>,
    settings: tempfile::TempDir,
}

impl Site {
    fn new(settings: &str) -> Option<Self> {
        if !has_programs(&NEEDED) {
            return None;
        }
        let net = Arc::new(Net::new());
        for address in [
            GUEST,
            NEIGHBOUR,
            "198.51.100.7",
            "2001:db8::9",
            "2001:db8::a",
        ] {
            net.own(address);
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        fs::write(&file, settings).unwrap();
        let hob = Hob::builder(HOB)
            .env("HOB_CONFIG", &file)
            .env("HOB_LISTEN", "[::]:0")
            .inside(&net)
            .start();
        Some(Self {
            hob,
            net,
            settings: folder,
        })
    }

    /// A request from `address`, and its answer to the end; empty when the connection is closed
    /// without one.
    fn ask(&self, address: &str, head: &str) -> String {
        let port = self.hob.address().port();
        let own: SocketAddr = match address.contains(':') {
            true => format!("[{address}]:0").parse().unwrap(),
            false => format!("{address}:0").parse().unwrap(),
        };
        let to = SocketAddr::new(own.ip(), port);
        self.net.enter(|| {
            let socket = Socket::new(Domain::for_address(own), Type::STREAM, None).unwrap();
            socket.bind(&own.into()).unwrap();
            socket.connect(&to.into()).unwrap();
            let mut stream = TcpStream::from(socket);
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let _ = stream.write_all(head.replace('\n', "\r\n").as_bytes());
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            let _ = stream.shutdown(Shutdown::Both);
            String::from_utf8_lossy(&answer).into_owned()
        })
    }

    fn logs_in(&self, address: &str, password: &str) -> String {
        let login = base64(&format!("x\" path=\"/:{password}"));
        let login = match password {
            "right" => base64(&format!("admin:{}", self.hob.password())),
            _ => login,
        };
        self.ask(
            address,
            &format!("GET /hob/v1/functions HTTP/1.1\nHost: h\nConnection: close\nAuthorization: Basic {login}\n\n"),
        )
    }

    fn bans(&self) -> Vec<Value> {
        let list = self.hob.cli(["ban", "list", "-o", "json"]).json();
        list.as_array().unwrap().clone()
    }
}

fn base64(text: &str) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    STANDARD.encode(text)
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

const GET: &str = "GET /healthz HTTP/1.1\nHost: h\nConnection: close\n\n";

#[test]
fn who_guesses_is_shut_out_and_the_owner_lets_him_in() {
    let Some(mut site) = Site::new(SETTINGS) else {
        return;
    };
    let begun = Instant::now();
    for _ in 0..6 {
        assert_eq!(status(&site.logs_in(GUEST, "wrong")), "401");
    }
    // The fourth waited for a second, the fifth for two.
    assert!(begun.elapsed() >= Duration::from_secs(3));
    assert_eq!(site.ask(GUEST, GET), "", "closed without a word");
    // Others are served, whatever they have in common with him.
    assert_eq!(status(&site.ask(NEIGHBOUR, GET)), "200");
    assert_eq!(status(&site.logs_in(NEIGHBOUR, "right")), "200");

    let bans = site.bans();
    assert_eq!(bans.len(), 1);
    assert_eq!(bans[0]["address"], GUEST);
    assert_eq!(bans[0]["origin"], "conduct");
    assert_eq!(bans[0]["reason"], "6 failed logins");
    let log = site.hob.log();
    let refused = format!("WARN login refused address={GUEST} user=");
    assert_eq!(log.matches(&refused).count(), 6, "{log}");
    let banned = format!("WARN banned address={GUEST} for=3600s reason=\"6 failed logins\"");
    assert_eq!(log.matches(&banned).count(), 1, "{log}");
    let metrics = site.hob.metrics();
    for line in [
        "hob_bans 1\n",
        "hob_door_refused_total{reason=\"banned\"} 1\n",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }

    // It outlives a restart.
    site.hob.stop();
    site.hob.restart();
    assert_eq!(site.ask(GUEST, GET), "");
    let said = site.hob.cli(["ban", "remove", GUEST]).ok();
    assert_eq!(said, format!("{GUEST} is let in again\n"));
    assert_eq!(status(&site.ask(GUEST, GET)), "200");
    let line = site.hob.cli(["ban", "remove", GUEST]).fails(3);
    assert!(line.contains("is not banned"), "{line}");
    // As long as it was banned, it was not forgotten; now it is.
    site.hob.stop();
    site.hob.restart();
    assert_eq!(status(&site.ask(GUEST, GET)), "200");
}

#[test]
fn this_machine_and_the_exempt_are_never_shut_out() {
    let Some(site) = Site::new(SETTINGS) else {
        return;
    };
    for address in ["127.0.0.1", "198.51.100.7", "::1"] {
        let begun = Instant::now();
        for _ in 0..10 {
            assert_eq!(status(&site.logs_in(address, "wrong")), "401");
        }
        // Checking a password takes its time, but nobody waits on purpose.
        assert!(begun.elapsed() < Duration::from_secs(8), "{address}");
        assert_eq!(status(&site.ask(address, GET)), "200");
    }
    assert!(site.bans().is_empty());
    for (address, why) in [
        ("127.0.0.1", "it is this machine itself"),
        ("0.0.0.0/0", "it is this machine itself"),
        ("::/0", "it is this machine itself"),
        ("198.51.100.7", "`never` in the table `bans`"),
        ("10.62.3.4", "functions have these addresses"),
    ] {
        let line = site.hob.cli(["ban", "add", address]).fails(1);
        assert!(line.contains(why), "{address}: {line}");
    }
    site.hob.cli(["ban", "add", "here"]).fails(64);
}

#[test]
fn storms_are_shut_out_and_ipv6_by_its_network() {
    let Some(site) = Site::new(SETTINGS) else {
        return;
    };
    let nothing = "GET /function/none HTTP/1.1\nHost: h\nConnection: close\n\n";
    for address in ["2001:db8::9", "2001:db8::a"].iter().cycle().take(20) {
        assert_eq!(status(&site.ask(address, nothing)), "404");
    }
    assert_eq!(site.ask("2001:db8::9", GET), "");
    assert_eq!(site.ask("2001:db8::a", GET), "");
    assert_eq!(site.bans()[0]["address"], "2001:db8::/64");
    assert_eq!(status(&site.ask(GUEST, GET)), "200");
}

#[test]
fn a_restart_forgets_neither_how_often_nor_who_is_exempt_by_now() {
    let short = SETTINGS.to_owned() + "time = \"6s\"\n";
    let Some(mut site) = Site::new(&short) else {
        return;
    };
    let guess = |site: &Site| {
        for _ in 0..6 {
            assert_eq!(status(&site.logs_in(GUEST, "wrong")), "401");
        }
        assert_eq!(site.ask(GUEST, GET), "");
    };
    guess(&site);
    site.hob.stop();
    site.hob.restart();
    assert_eventually!(!site.ask(GUEST, GET).is_empty());
    guess(&site);
    let banned = format!("WARN banned address={GUEST} for=12s");
    assert!(site.hob.log().contains(&banned), "{}", site.hob.log());

    // It is let in where it is exempt, and for good.
    let file = site.settings.path().join("config.toml");
    let exempt = short.replace("198.51.100.0/24", "203.0.113.0/24");
    for settings in [exempt, short] {
        site.hob.stop();
        fs::write(&file, settings).unwrap();
        site.hob.restart();
        assert_eq!(status(&site.ask(GUEST, GET)), "200");
    }
}

#[test]
fn the_owner_bans_for_a_while_or_for_good() {
    let Some(mut site) = Site::new("") else {
        return;
    };
    let hob = &site.hob;
    assert!(hob.cli(["ban", "list"]).ok().is_empty());
    let said = hob.cli([
        "ban",
        "add",
        "203.0.113.8/30",
        "--for",
        "2h",
        "--reason",
        "night scans",
    ]);
    assert!(said.ok().starts_with("203.0.113.8/30 is shut out until 20"));
    let said = hob.cli(["ban", "add", "2001:db8::/64", "--forever"]).ok();
    assert_eq!(said, "2001:db8::/64 is shut out for good\n");
    let brief = hob
        .cli(["ban", "add", "192.0.2.1", "--for", "1s", "-o", "json"])
        .json();
    assert_eq!(brief["address"], "192.0.2.1");
    for address in [GUEST, NEIGHBOUR, "2001:db8::9"] {
        assert_eq!(site.ask(address, GET), "", "{address}");
    }
    assert_eq!(status(&site.ask("198.51.100.7", GET)), "200");
    assert_eventually!(site.bans().len() == 2);
    site.hob.kill();
    site.hob.restart();
    let hob = &site.hob;
    assert_eq!(site.ask(GUEST, GET), "");
    let list = hob.cli(["ban", "list"]).ok();
    let line = list.lines().find(|line| line.starts_with("203.0.113.8/30"));
    let line = line.expect(&list);
    assert!(
        line.contains("hand") && line.ends_with("night scans"),
        "{line}"
    );
    assert!(list.contains("forever"), "{list}");
    // An address of a range is not let in by itself.
    for (address, range) in [(GUEST, "203.0.113.8/30"), ("2001:db8::9", "2001:db8::/64")] {
        let line = hob.cli(["ban", "remove", address]).fails(3);
        let cure = format!("{range} is banned: `hob ban remove {range}`");
        assert!(line.contains(&cure), "{line}");
    }
    hob.cli(["ban", "remove", "203.0.113.8/30"]).ok();
    assert_eq!(status(&site.ask(GUEST, GET)), "200");
}

#[test]
fn who_guesses_at_a_function_is_shut_out_too() {
    let Some(site) = Site::new(SETTINGS) else {
        return;
    };
    let command = site.hob.command().args(["secret", "set", "users"]);
    command.stdin("ann:one\n").run().ok();
    let shop = tempfile::tempdir().unwrap();
    let shop = shop.path().join("shop");
    write(&shop.join("index.html"), "things");
    let auth = "auth = { type = \"basic\", secret = \"users\" }\n";
    write(&shop.join("hob.toml"), auth);
    site.hob.cli(["deploy", shop.to_str().unwrap()]).ok();
    let call = |address, login: &str| {
        let login = base64(login);
        site.ask(
            address,
            &format!("GET /function/shop/ HTTP/1.1\nHost: h\nConnection: close\nAuthorization: Basic {login}\n\n"),
        )
    };
    assert_eq!(status(&call(GUEST, "ann:one")), "200");
    let begun = Instant::now();
    for _ in 0..6 {
        assert_eq!(status(&call(GUEST, "ann:two")), "401");
    }
    assert!(begun.elapsed() >= Duration::from_secs(3));
    assert_eq!(call(GUEST, "ann:one"), "");
    assert_eq!(status(&call(NEIGHBOUR, "ann:one")), "200");
    assert_eq!(site.bans()[0]["reason"], "6 failed logins");
    let log = site.hob.log();
    let refused = format!("WARN login refused address={GUEST} user=\"\" path=\"/function/shop/\"");
    assert_eq!(log.matches(&refused).count(), 6, "{log}");
    assert!(!log.contains("ann:"), "{log}");
}

#[test]
fn behind_a_proxy_the_caller_is_shut_out_and_never_the_proxy() {
    let proxy = NEIGHBOUR;
    let Some(site) = Site::new(&format!("{SETTINGS}[proxy]\ntrusted = [\"{proxy}\"]\n")) else {
        return;
    };
    let ask = |path: &str, caller: &str, login: &str| {
        let login = base64(login);
        site.ask(
            proxy,
            &format!("GET {path} HTTP/1.1\nHost: h\nConnection: close\nX-Forwarded-For: {caller}\nAuthorization: Basic {login}\n\n"),
        )
    };
    for _ in 0..6 {
        let answer = ask("/hob/v1/functions", "192.0.2.50", "admin:wrong");
        assert_eq!(status(&answer), "401");
    }
    for path in ["/healthz", "/hob/v1/functions", "/function/none"] {
        let answer = ask(path, "192.0.2.50", "admin:wrong");
        assert_eq!(status(&answer), "403", "{answer}");
    }
    // Whatever the one did, the others and the proxy itself are none the worse for it.
    assert_eq!(status(&ask("/healthz", "192.0.2.51", "")), "200");
    for _ in 0..10 {
        assert_eq!(status(&site.logs_in(proxy, "wrong")), "401");
    }
    assert_eq!(status(&site.ask(proxy, GET)), "200");
    let bans = site.bans();
    assert_eq!(bans.len(), 1);
    assert_eq!(bans[0]["address"], "192.0.2.50");
    let line = site.hob.cli(["ban", "add", proxy]).fails(1);
    assert!(line.contains("has it speak for others"), "{line}");
}

#[test]
fn fail2ban_reads_the_log() {
    if !has_programs(&["fail2ban-regex"]) {
        return;
    }
    let Some(site) = Site::new(SETTINGS) else {
        return;
    };
    for _ in 0..6 {
        site.logs_in(GUEST, "wrong");
    }
    // Lines that look alike: names and paths are the stranger's to choose.
    let forged = base64("\" path=\"/\"\nWARN login refused address=192.0.2.1 user=\"x:y");
    site.ask(
        NEIGHBOUR,
        &format!("GET /system/login%20refused%20address=192.0.2.1 HTTP/1.1\nHost: h\nConnection: close\nAuthorization: Basic {forged}\n\n"),
    );
    let log = site.hob.data().join("../hob-for-fail2ban.log");
    let log = log.with_extension(format!("{}.log", std::process::id()));
    fs::write(&log, site.hob.log()).unwrap();
    let filter =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/fail2ban/filter.d/hob.conf");
    let run = Command::new("fail2ban-regex")
        .args(["--out", "ip"])
        .args([&log, &filter])
        .output();
    let _ = fs::remove_file(&log);
    let run = run.unwrap();
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    let mut found: Vec<_> = said.lines().filter(|line| !line.is_empty()).collect();
    found.sort_unstable();
    // Six logins and the ban that came of them, and the one of the neighbour.
    let mut expected = [NEIGHBOUR].to_vec();
    expected.extend([GUEST; 7]);
    expected.sort_unstable();
    assert_eq!(
        found,
        expected,
        "{said}\n{}",
        String::from_utf8_lossy(&run.stderr)
    );
}

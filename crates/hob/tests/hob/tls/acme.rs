use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    time::Duration,
};

use hob_testkit::{Hob, assert_eventually, has_programs, wait_until};
use serde_json::Value;

use super::{
    can_test, curl,
    pebble::{PROGRAMS, Pebble, Wish},
    presented,
};
use crate::bench::{Bench, HOB, write};

/// Lives long enough for a test.
const YEAR: u32 = 365 * 24 * 60 * 60;
/// Is due after two thirds of it.
const SHORT: u32 = 15;
/// Longest wait for that.
const RENEWAL: Duration = Duration::from_secs(40);

/// Sockets that stay the same, so that Pebble knows where to look: those of systemd would.
struct Doors {
    tls: TcpListener,
    redirect: TcpListener,
}

impl Doors {
    fn new() -> Self {
        let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            tls: listen(),
            redirect: listen(),
        }
    }

    fn tls(&self) -> SocketAddr {
        self.tls.local_addr().unwrap()
    }

    fn redirect(&self) -> SocketAddr {
        self.redirect.local_addr().unwrap()
    }

    fn pebble(&self, life: u32) -> Pebble {
        Pebble::start(&Wish {
            http: self.redirect(),
            tls: self.tls(),
            life,
        })
    }

    /// A server that asks Pebble for certificates.
    fn start(&self, pebble: &Pebble, domains: &[&str], challenge: &str) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config.toml");
        let (directory, ca) = (pebble.directory(), pebble.ca());
        let (tls, redirect) = (self.tls(), self.redirect());
        let table = format!(
            "[tls]\nlisten = \"{tls}\"\nredirect = \"{redirect}\"\ndomains = {domains:?}\n[tls.acme]\nterms_agreed = true\nemail = \"me@example.net\"\ndirectory = {directory:?}\nca = {ca:?}\n{challenge}"
        );
        write(&config, &table);
        let hob = Hob::builder(HOB).env("HOB_CONFIG", config);
        let hob = hob.holds("tls", self.tls.try_clone().unwrap());
        let hob = hob.holds("redirect", self.redirect.try_clone().unwrap());
        Bench {
            hob: hob.start(),
            folder,
        }
    }
}

fn can_ask() -> bool {
    can_test() && has_programs(&PROGRAMS)
}

fn of(hob: &Hob, host: &str) -> Value {
    let listed = hob.cli(["certificate", "list", "-o", "json"]).json();
    let all = listed.as_array().unwrap().iter();
    let mut all = all.filter(|one| one["hosts"][0] == host);
    all.next().cloned().unwrap_or(Value::Null)
}

fn serial(address: SocketAddr, host: &str) -> Option<String> {
    let shown = presented(address, host);
    let line = shown
        .lines()
        .find_map(|line| line.strip_prefix("serial="))?;
    Some(line.to_owned())
}

fn is_private(path: &Path) -> bool {
    let mode = fs::metadata(path).unwrap().permissions().mode();
    mode & 0o077 == 0
}

#[test]
fn acme_gives_every_host_a_certificate_of_its_own_by_tls_alpn_01() {
    if !can_ask() {
        return;
    }
    let doors = Doors::new();
    let pebble = doors.pebble(YEAR);
    let mut bench = doors.start(&pebble, &["hob.test", "a.hob.test"], "");
    for host in ["hob.test", "a.hob.test"] {
        assert_eventually!(
            of(&bench.hob, host)["ends"].is_string(),
            "{}\n{}",
            bench.hob.log(),
            pebble.log()
        );
    }
    let root = pebble.root();
    let got = curl(doors.tls(), &root, "https://a.hob.test/healthz", &[]);
    assert!(got.ok().contains("HTTP/2 200"));
    let own = presented(doors.tls(), "hob.test");
    assert!(
        own.contains("DNS:hob.test\n") && own.contains("Pebble Intermediate"),
        "{own}"
    );
    // Who asks for nobody gets that of the server.
    assert_eq!(presented(doors.tls(), ""), own);

    // A function's domain, while hob runs.
    let shop = bench.site("shop", "things");
    write(&shop.join("hob.toml"), "domain = [\"shop.test\"]\n");
    bench.deploy(&shop);
    assert_eventually!(curl(doors.tls(), &root, "https://shop.test/healthz", &[]).code == Some(0));
    // It is presented first: it counts whether the disk is full or not.
    assert_eventually!(of(&bench.hob, "shop.test")["ends"].is_string());
    assert_eq!(of(&bench.hob, "shop.test")["source"], "acme");

    // What is kept is the owner's alone, and presented after a crash with nothing asked for.
    let acme = bench.hob.data().join("pki/acme");
    let kept = fs::read_dir(acme).unwrap().next().unwrap().unwrap().path();
    for name in ["account.json", "shop.test.pem"] {
        assert!(is_private(&kept.join(name)), "{name}");
    }
    let (before, orders) = (serial(doors.tls(), "shop.test"), pebble.orders());
    bench.hob.kill();
    bench.hob.restart();
    assert_eq!(serial(doors.tls(), "shop.test"), before);
    assert!(of(&bench.hob, "shop.test")["renews"].is_string());
    assert_eq!(pebble.orders(), orders);

    // They are in backups.
    let archive = bench.folder.path().join("all.tar.gz");
    bench.hob.cli(["backup", archive.to_str().unwrap()]).ok();
    let listed = Command::new("tar")
        .args(["-tf"])
        .arg(&archive)
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    for name in ["/account.json", "/shop.test.pem"] {
        assert!(listed.lines().any(|line| line.ends_with(name)), "{listed}");
    }

    // And one can be asked for by hand; of others there is nothing to ask.
    bench.hob.cli(["certificate", "renew", "shop.test"]).ok();
    assert_eventually!(serial(doors.tls(), "shop.test") != before);
    let said = bench
        .hob
        .cli(["certificate", "renew", "other.test"])
        .fails(3);
    assert!(said.contains("no certificate for `other.test`"), "{said}");
}

#[test]
fn who_deploys_many_hosts_does_not_use_up_the_account() {
    if !can_ask() {
        return;
    }
    let doors = Doors::new();
    let pebble = doors.pebble(YEAR);
    let bench = doors.start(&pebble, &["hob.test"], "");
    let hosts: Vec<_> = (10..32).map(|number| format!("n{number}.test")).collect();
    let shop = bench.site("shop", "things");
    write(&shop.join("hob.toml"), &format!("domain = {hosts:?}\n"));
    bench.deploy(&shop);
    let has = |host: &&str| of(&bench.hob, host)["ends"].is_string();
    let asked = || hosts.iter().map(String::as_str).filter(has).count();
    assert!(wait_until(RENEWAL, || asked() == 20), "{}", bench.hob.log());
    assert_eventually!(has(&"hob.test"));
    let later: Vec<_> = hosts.iter().filter(|host| !has(&host.as_str())).collect();
    for host in &later {
        let line = format!("a certificate for {host} is asked for at 20");
        assert_eventually!(bench.hob.log().contains(&line), "{}", bench.hob.log());
        assert!(of(&bench.hob, host)["renews"].is_string());
    }
    // Whoever knows better asks for it by hand.
    bench.hob.cli(["certificate", "renew", later[1]]).ok();
    assert_eventually!(has(&later[1].as_str()));
    assert!(!has(&later[0].as_str()));
}

#[test]
fn acme_works_by_http_01_and_renews_in_time() {
    if !can_ask() {
        return;
    }
    let doors = Doors::new();
    let pebble = doors.pebble(SHORT);
    let bench = doors.start(&pebble, &["hob.test"], "challenge = \"http-01\"");
    let listed = || of(&bench.hob, "hob.test");
    assert_eventually!(listed()["ends"].is_string(), "{}", bench.hob.log());
    let first = serial(doors.tls(), "hob.test").unwrap();
    // It is never without one meanwhile.
    let renewed = || serial(doors.tls(), "hob.test").unwrap() != first;
    assert!(wait_until(RENEWAL, renewed), "{}", bench.hob.log());
    let second = serial(doors.tls(), "hob.test").unwrap();
    let renewed = || serial(doors.tls(), "hob.test").unwrap() != second;
    assert!(wait_until(RENEWAL, renewed), "{}", bench.hob.log());
    let got = curl(doors.tls(), &pebble.root(), "https://hob.test/healthz", &[]);
    assert!(got.ok().contains("200"));
    // It was proved at the other door, where nobody learns of tokens that are over.
    assert!(
        pebble.log().contains("validate w/ HTTP:"),
        "{}",
        pebble.log()
    );
    let over = "http://hob.test/.well-known/acme-challenge/over";
    assert!(
        curl(doors.redirect(), &pebble.root(), over, &[])
            .text
            .contains("404")
    );
}

#[test]
fn acme_renews_by_tls_alpn_01_also_at_a_server_that_forgot_who_asks() {
    if !can_ask() {
        return;
    }
    let doors = Doors::new();
    let mut pebble = doors.pebble(SHORT);
    let bench = doors.start(&pebble, &["hob.test"], "");
    let listed = || of(&bench.hob, "hob.test");
    assert_eventually!(listed()["ends"].is_string(), "{}", bench.hob.log());
    let first = serial(doors.tls(), "hob.test").unwrap();
    pebble.forget();
    let renewed = || serial(doors.tls(), "hob.test").unwrap() != first;
    assert!(wait_until(RENEWAL, renewed), "{}", bench.hob.log());
    assert!(listed()["problem"].is_null());
}

#[test]
fn a_certificate_that_cannot_be_had_is_named_and_not_asked_for_at_every_start() {
    if !can_ask() {
        return;
    }
    let doors = Doors::new();
    // Pebble looks where nobody answers as it should.
    let pebble = Pebble::start(&Wish {
        http: doors.tls(),
        tls: doors.redirect(),
        life: YEAR,
    });
    let mut bench = doors.start(&pebble, &["hob.test"], "");
    let listed = |bench: &Bench| of(&bench.hob, "hob.test");
    assert_eventually!(listed(&bench)["problem"].is_string(), "{}", bench.hob.log());
    let said = bench.hob.cli(["status"]).ok();
    assert!(
        said.contains("there is no certificate for hob.test: "),
        "{said}"
    );
    let doctor = bench.hob.cli(["doctor", "--public"]);
    let said = doctor.stdout.lines();
    let mut said = said.filter(|line| line.starts_with("certificate of hob.test"));
    let line = said.next().unwrap_or_else(|| panic!("{doctor:?}"));
    assert!(
        line.contains(" fail ") && line.contains("`hob certificate renew hob.test`"),
        "{line}"
    );
    let log = bench.hob.log();
    assert!(
        log.contains("no certificate for hob.test from") && log.contains("next try at"),
        "{log}"
    );
    let (problem, orders) = (listed(&bench), pebble.orders());
    assert_eq!(orders, 1);

    bench.hob.kill();
    bench.hob.restart();
    assert_eq!(listed(&bench), problem);
    assert_eq!(pebble.orders(), orders);
    // The owner may know better.
    bench.hob.cli(["certificate", "renew", "hob.test"]).ok();
    assert_eventually!(pebble.orders() > orders);
}

//! The machine's own certificate authority, as other programs see it: OpenSSL judges what it
//! makes, Python serves with it, curl trusts it.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use hob_testkit::{Outcome, has_programs};
use tempfile::TempDir;

use crate::bench::hob;

/// A data directory with no server.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn with_root() -> Self {
        let place = Self::new();
        place.ca(["init", "--name", "Test root"]).ok();
        place
    }

    fn ca<const N: usize>(&self, args: [&str; N]) -> Outcome {
        let command = hob(["ca"]).args(args);
        command.env("HOB_DATA", self.0.path()).run()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join("pki").join(name)
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.file(name)).unwrap()
    }
}

fn run(program: &str, args: &[&str]) -> Output {
    let output = Command::new(program).args(args).output();
    output.unwrap_or_else(|error| panic!("{program}: {error}"))
}

#[track_caller]
fn openssl(args: &[&str]) -> String {
    let output = run("openssl", args);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A web server on a free port, which ends with its test.
struct Server {
    child: Child,
    port: String,
}

impl Server {
    fn start(certificate: &Path, key: &Path) -> Self {
        let program = "import http.server, ssl, sys\n\
            server = http.server.HTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler)\n\
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n\
            context.load_cert_chain(sys.argv[1], sys.argv[2])\n\
            server.socket = context.wrap_socket(server.socket, server_side=True)\n\
            print(server.server_port, flush=True)\n\
            server.serve_forever()\n";
        let mut child = Command::new("python3")
            .args(["-c", program, text(certificate), text(key)])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut port = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        lines.read_line(&mut port).unwrap();
        let port = port.trim().to_owned();
        Self { child, port }
    }

    /// How curl ends that trusts `root`, or only what the system does.
    fn get(&self, host: &str, root: Option<&Path>) -> Option<i32> {
        let url = format!("https://{host}:{}/", self.port);
        let resolve = format!("{host}:{}:127.0.0.1", self.port);
        let mut args = vec!["-sS", "--noproxy", "*", "--resolve", &resolve, &url];
        if let Some(root) = root {
            args.extend(["--cacert", text(root)]);
        }
        run("curl", &args).status.code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// curl's exit code for a server that it does not trust.
const NOT_TRUSTED: i32 = 60;

#[test]
fn a_server_is_trusted_where_its_root_is_and_only_by_its_names() {
    if !has_programs(&["python3", "curl"]) {
        return;
    }
    let place = Place::with_root();
    let said = place
        .ca(["issue", "Shop.home.arpa", "*.test.arpa", "127.0.0.1"])
        .ok();
    assert!(said.contains("servers/shop.home.arpa.pem"), "{said}");
    let certificate = place.file("servers/shop.home.arpa.pem");
    let key = place.file("servers/shop.home.arpa.key");
    let root = place.file("ca.pem");
    let before = fs::read(&certificate).unwrap();
    for renewed in [false, true] {
        if renewed {
            place.ca(["renew", "shop.home.arpa"]).ok();
            assert_ne!(fs::read(&certificate).unwrap(), before);
        }
        let server = Server::start(&certificate, &key);
        for name in ["shop.home.arpa", "any.test.arpa", "127.0.0.1"] {
            assert_eq!(server.get(name, Some(&root)), Some(0), "{name}");
        }
        assert_eq!(server.get("other.arpa", Some(&root)), Some(NOT_TRUSTED));
        assert_eq!(server.get("shop.home.arpa", None), Some(NOT_TRUSTED));
    }
}

#[test]
fn openssl_finds_nothing_wrong_with_what_it_makes() {
    if !has_programs(&["openssl"]) {
        return;
    }
    let place = Place::with_root();
    place.ca(["issue", "a.home.arpa", "::1"]).ok();
    let (root, leaf) = (place.file("ca.pem"), place.file("servers/a.home.arpa.pem"));
    let verify = ["verify", "-x509_strict", "-purpose", "sslserver"];
    let verify = [&verify[..], &["-CAfile", text(&root), text(&leaf)]].concat();
    assert!(openssl(&verify).ends_with("OK\n"));
    let shown = |path: &Path| openssl(&["x509", "-noout", "-text", "-in", text(path)]);
    let of_root = shown(&root);
    for words in [
        "CN = Test root",
        "CA:TRUE, pathlen:0",
        "Certificate Sign, CRL Sign",
    ] {
        assert!(of_root.contains(words), "{words} is not in {of_root}");
    }
    let of_leaf = shown(&leaf);
    for words in [
        "CA:FALSE",
        "TLS Web Server Authentication",
        "Digital Signature",
        "DNS:a.home.arpa, IP Address:0:0:0:0:0:0:0:1",
    ] {
        assert!(of_leaf.contains(words), "{words} is not in {of_leaf}");
    }
    for name in ["ca.key", "servers/a.home.arpa.key", ""] {
        let mode = fs::metadata(place.file(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name}");
    }
    // The same fingerprint as everybody else's.
    let theirs = openssl(&[
        "x509",
        "-noout",
        "-fingerprint",
        "-sha256",
        "-in",
        text(&leaf),
    ]);
    let shown = place.ca(["show", "-o", "json"]).json();
    let ours = shown["certificates"][0]["sha256"].as_str().unwrap();
    assert!(theirs.trim().ends_with(ours), "{theirs} {ours}");
    assert_eq!(shown["certificates"][0]["names"][1], "::1");
    assert_eq!(shown["root"]["names"][0], "Test root");
}

#[test]
fn only_what_ends_soon_is_renewed_unless_it_is_named() {
    if !has_programs(&["openssl"]) {
        return;
    }
    let place = Place::with_root();
    place.ca(["issue", "late.arpa"]).ok();
    place.ca(["issue", "soon.arpa"]).ok();
    // The same names and key, signed by the same root, but for nine days only.
    let (soon, key) = (
        place.file("servers/soon.arpa.pem"),
        place.file("servers/soon.arpa.key"),
    );
    let (root, root_key) = (place.file("ca.pem"), place.file("ca.key"));
    let request = place.file("request.pem");
    openssl(&[
        "req",
        "-new",
        "-key",
        text(&key),
        "-subj",
        "/CN=soon.arpa",
        "-addext",
        "subjectAltName=DNS:soon.arpa,DNS:also.arpa",
        "-out",
        text(&request),
    ]);
    openssl(&[
        "x509",
        "-req",
        "-in",
        text(&request),
        "-CA",
        text(&root),
        "-CAkey",
        text(&root_key),
        "-days",
        "9",
        "-copy_extensions",
        "copy",
        "-out",
        text(&soon),
    ]);
    let (late_before, key_before) = (
        place.bytes("servers/late.arpa.pem"),
        fs::read(&key).unwrap(),
    );
    let shown = place.ca(["show"]).ok();
    assert!(shown.contains("soon: renew it"), "{shown}");
    let said = place.ca(["renew"]).ok();
    assert!(
        said.starts_with("certificate for soon.arpa, also.arpa until "),
        "{said}"
    );
    assert_eq!(place.bytes("servers/late.arpa.pem"), late_before);
    assert_eq!(fs::read(&key).unwrap(), key_before);
    let again = place.ca(["renew"]);
    assert!(
        again
            .stderr
            .starts_with("nothing to renew: the next one ends on "),
        "{again:?}"
    );
    assert!(!place.ca(["show"]).ok().contains("renew it"));
}

#[test]
fn mistakes_change_nothing() {
    let place = Place::new();
    for args in [&["show"][..], &["issue", "a.arpa"]] {
        let line = hob(["ca"])
            .args(args)
            .env("HOB_DATA", place.0.path())
            .run()
            .fails(3);
        assert!(line.ends_with("`hob ca init` makes one"), "{line}");
    }
    assert!(!place.file("").exists());
    let line = place.ca(["init", "--name", ""]).fails(64);
    assert!(line.contains("1 to 64 characters"), "{line}");

    place.ca(["init"]).ok();
    place.ca(["issue", "a.arpa"]).ok();
    let files = [
        "ca.pem",
        "ca.key",
        "servers/a.arpa.pem",
        "servers/a.arpa.key",
    ];
    let before: Vec<_> = files.iter().map(|name| place.bytes(name)).collect();
    let line = place.ca(["init"]).fails(1);
    assert!(line.contains("there is a root already"), "{line}");
    let line = place.ca(["issue", "A.arpa"]).fails(1);
    assert!(line.contains("`hob ca renew a.arpa`"), "{line}");
    let line = place.ca(["renew", "b.arpa"]).fails(3);
    assert!(line.contains("`hob ca show` lists"), "{line}");
    for name in ["https://a.arpa", "a.arpa:5000", "../../x", "a..b", "1.2.3"] {
        let line = place.ca(["issue", name]).fails(64);
        assert!(
            line.contains("is not a host name or an IP address"),
            "{line}"
        );
    }
    place.ca(["issue"]).fails(64);
    let after: Vec<_> = files.iter().map(|name| place.bytes(name)).collect();
    assert!(before == after);
}

#[test]
fn damaged_files_are_named_and_keys_never_written_over() {
    let place = Place::with_root();
    place.ca(["issue", "a.arpa"]).ok();
    let leaf = place.bytes("servers/a.arpa.pem");
    fs::write(place.file("servers/a.arpa.key"), "junk").unwrap();
    let line = place.ca(["renew", "a.arpa"]).fails(1);
    assert!(line.contains("a.arpa.key` cannot be used"), "{line}");
    assert_eq!(place.bytes("servers/a.arpa.pem"), leaf);
    fs::write(place.file("servers/a.arpa.pem"), "junk").unwrap();
    let line = place.ca(["show"]).fails(1);
    assert!(
        line.contains("a.arpa.pem` cannot be used: it is not PEM"),
        "{line}"
    );

    // A root whose certificate was lost is made anew with the key that signed everything.
    let key = place.bytes("ca.key");
    fs::remove_file(place.file("ca.pem")).unwrap();
    place.ca(["init"]).ok();
    assert_eq!(place.bytes("ca.key"), key);
    fs::remove_file(place.file("ca.key")).unwrap();
    let line = place.ca(["issue", "b.arpa"]).fails(1);
    assert!(
        line.contains("ca.key` cannot be used: it is missing"),
        "{line}"
    );
    assert!(!place.file("servers/b.arpa.pem").exists());
}

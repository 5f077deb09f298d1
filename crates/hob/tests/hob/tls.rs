//! Calls by TLS, as curl, OpenSSL and Python make them, with certificates from everywhere.

mod acme;
mod files;
mod own;
mod pebble;
mod service;
mod slow;
mod sslyze;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use hob_testkit::{Hob, HobBuilder, has_programs};
use tempfile::TempDir;

use crate::bench::{HOB, hob, write};

/// curl's exit code for a server that it does not trust.
const NOT_TRUSTED: i32 = 60;

/// An authority of the test's own, and a folder for what it signs.
struct Authority(TempDir);

impl Authority {
    fn new() -> Self {
        let authority = Self(tempfile::tempdir().unwrap());
        authority.run(&["init", "--name", "Root of the test"]);
        authority
    }

    fn run(&self, args: &[&str]) {
        let command = hob(["ca"]).args(args);
        command.env("HOB_DATA", self.0.path()).run().ok();
    }

    fn root(&self) -> PathBuf {
        self.0.path().join("pki/ca.pem")
    }

    /// Makes a certificate; returns its file and that of its key.
    fn issue(&self, names: &[&str]) -> (PathBuf, PathBuf) {
        self.run(&[&["issue"], names].concat());
        let stem = self.0.path().join("pki/servers").join(names[0]);
        let with = |end: &str| PathBuf::from(format!("{}.{end}", stem.display()));
        (with("pem"), with("key"))
    }
}

/// A server with this `[tls]` table, but for where it listens.
fn with_tls(folder: &Path, table: &str) -> HobBuilder {
    let config = folder.join("config.toml");
    let table = format!("[tls]\nlisten = \"127.0.0.1:0\"\nredirect = \"127.0.0.1:0\"\n{table}\n");
    write(&config, &table);
    Hob::builder(HOB).env("HOB_CONFIG", config)
}

/// Where a server accepts calls by TLS, and where it sends everybody there.
fn doors(hob: &Hob) -> (SocketAddr, SocketAddr) {
    (tls_address(hob), address(hob, "redirect ", "http://"))
}

/// Where a server accepts calls by TLS.
pub(crate) fn tls_address(hob: &Hob) -> SocketAddr {
    address(hob, "tls ", "https://")
}

fn address(hob: &Hob, key: &str, scheme: &str) -> SocketAddr {
    let line = hob.banner().iter().find_map(|line| line.strip_prefix(key));
    let address = line.and_then(|line| line.trim().strip_prefix(scheme));
    address.expect("a line with the address").parse().unwrap()
}

/// What curl said.
#[derive(Debug)]
struct Got {
    code: Option<i32>,
    /// Heads and body.
    text: String,
}

impl Got {
    #[track_caller]
    fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.text);
        self.text
    }

    /// A field of the last head.
    fn field(&self, name: &str) -> Option<&str> {
        let fields = self.text.lines().filter_map(|line| line.split_once(": "));
        let mut fields = fields.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        fields.next_back().map(|(_, value)| value.trim())
    }
}

/// Has curl ask for a URL without a port, whose host is at `address`.
fn curl(address: SocketAddr, root: &Path, url: &str, more: &[&str]) -> Got {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let port = address.port();
    let output = Command::new("curl")
        .args(["-sSi", "--noproxy", "*", "--max-time", "30"])
        .args(["--resolve", &format!("{host}:{port}:127.0.0.1")])
        .arg("--cacert")
        .arg(root)
        .args(more)
        .arg(format!("{scheme}://{host}:{port}/{path}"))
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    Got {
        code: output.status.code(),
        text: String::from_utf8_lossy(&text).into_owned(),
    }
}

/// The certificate that those get who ask for `host`, as OpenSSL describes it.
fn presented(address: SocketAddr, host: &str) -> String {
    let script = "openssl s_client -connect \"$0\" ${1:+-servername \"$1\"} </dev/null 2>/dev/null \
         | openssl x509 -noout -serial -issuer -subject -dates -ext subjectAltName 2>&1";
    let output = Command::new("sh")
        .args(["-c", script, &address.to_string(), host])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn can_test() -> bool {
    has_programs(&["curl", "openssl", "python3"])
}

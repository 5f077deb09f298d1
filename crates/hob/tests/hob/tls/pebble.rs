//! Pebble, the ACME server that its makers test clients with, and a name server in which every
//! name is this machine.

use std::{
    fs::{self, File},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use hob_testkit::{EVENTUALLY, assert_eventually, wait_until};
use tempfile::TempDir;

use super::Authority;

pub(super) const PROGRAMS: [&str; 2] = ["pebble", "pebble-challtestsrv"];
/// Free ports are looked for before they are taken, and somebody may be quicker.
const ATTEMPTS: usize = 5;
const CONFIG: &str = "pebble.json";

pub(super) struct Pebble {
    authority: Authority,
    folder: TempDir,
    ports: Ports,
    names: Child,
    server: Child,
}

struct Ports {
    acme: u16,
    management: u16,
    names: u16,
    names_management: u16,
}

/// How it is to be.
pub(super) struct Wish {
    /// Where it asks for the proof of `http-01`.
    pub(super) http: SocketAddr,
    /// Where it looks for that of `tls-alpn-01`.
    pub(super) tls: SocketAddr,
    /// How long its certificates last, in seconds.
    pub(super) life: u32,
}

impl Pebble {
    pub(super) fn start(wish: &Wish) -> Self {
        for _ in 0..ATTEMPTS {
            let pebble = Self::try_start(wish);
            if wait_until(EVENTUALLY, || pebble.answers()) {
                return pebble;
            }
        }
        panic!("Pebble does not come up");
    }

    /// Ends it and starts it again at the same address, with nothing in its memory.
    pub(super) fn forget(&mut self) {
        end(&mut self.server);
        self.server = start_server(self.folder.path(), &self.ports);
        assert_eventually!(self.answers());
    }

    fn try_start(wish: &Wish) -> Self {
        let authority = Authority::new();
        let (certificate, key) = authority.issue(&["localhost"]);
        let folder = tempfile::tempdir().unwrap();
        let ports = Ports::free();
        let config = serde_json::json!({"pebble": {
            "listenAddress": at(ports.acme),
            "managementListenAddress": at(ports.management),
            "certificate": certificate,
            "privateKey": key,
            "httpPort": wish.http.port(),
            "tlsPort": wish.tls.port(),
            "certificateValidityPeriod": wish.life,
        }});
        fs::write(folder.path().join(CONFIG), config.to_string()).unwrap();
        let (dns, management) = (at(ports.names), at(ports.names_management));
        let names = [
            "-dns01",
            &dns,
            "-management",
            &management,
            "-defaultIPv6",
            "",
        ];
        let no_challenges = ["-http01", "", "-https01", "", "-tlsalpn01", ""];
        let names = [&names[..], &no_challenges].concat();
        Self {
            names: start(folder.path(), "pebble-challtestsrv", &names),
            server: start_server(folder.path(), &ports),
            authority,
            folder,
            ports,
        }
    }

    fn answers(&self) -> bool {
        self.get(self.ports.acme, "dir").is_some()
            && self.get(self.ports.management, "roots/0").is_some()
    }

    fn get(&self, port: u16, path: &str) -> Option<Vec<u8>> {
        let output = Command::new("curl")
            .args([
                "-sS",
                "--noproxy",
                "*",
                "--max-time",
                "5",
                "--fail",
                "--cacert",
            ])
            .arg(self.ca())
            .arg(format!("https://localhost:{port}/{path}"))
            .output()
            .unwrap();
        output.status.success().then_some(output.stdout)
    }

    pub(super) fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.ports.acme)
    }

    /// What vouches for its own address.
    pub(super) fn ca(&self) -> PathBuf {
        self.authority.root()
    }

    /// Writes down what vouches for the certificates that it gives.
    pub(super) fn root(&self) -> PathBuf {
        let root = self.folder.path().join("root.pem");
        let pem = self.get(self.ports.management, "roots/0").unwrap();
        fs::write(&root, pem).unwrap();
        root
    }

    /// How many orders it has got.
    pub(super) fn orders(&self) -> usize {
        self.log().matches("POST /order-plz").count()
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("pebble.log")).unwrap()
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        end(&mut self.server);
        end(&mut self.names);
    }
}

impl Ports {
    fn free() -> Self {
        let sockets = [(); 4].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let ports = sockets.map(|socket| socket.local_addr().unwrap().port());
        let [acme, management, names, names_management] = ports;
        Self {
            acme,
            management,
            names,
            names_management,
        }
    }
}

fn at(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

fn start_server(folder: &Path, ports: &Ports) -> Child {
    let config = folder.join(CONFIG);
    let config = config.to_str().unwrap();
    start(
        folder,
        "pebble",
        &["-config", config, "-dnsserver", &at(ports.names)],
    )
}

fn start(folder: &Path, program: &str, args: &[&str]) -> Child {
    let mut log = File::options();
    let log = log.create(true).append(true);
    let log = log.open(folder.join(format!("{program}.log"))).unwrap();
    Command::new(program)
        .args(args)
        // It does not dawdle, and every order has to be proved.
        .env("PEBBLE_VA_NOSLEEP", "1")
        .env("PEBBLE_AUTHZREUSE", "0")
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

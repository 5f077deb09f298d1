//! Pebble, the ACME server that its makers test clients with, and a name server in which every
//! name is this machine.

use std::{
    fs::{self, File},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use hob_testkit::{EVENTUALLY, wait_until};
use tempfile::TempDir;

use super::Authority;

pub(super) const PROGRAMS: [&str; 2] = ["pebble", "pebble-challtestsrv"];
/// Free ports are looked for before they are taken, and somebody may be quicker.
const ATTEMPTS: usize = 5;

pub(super) struct Pebble {
    authority: Authority,
    folder: TempDir,
    children: Vec<Child>,
    port: u16,
    management: u16,
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
        let authority = Authority::new();
        for _ in 0..ATTEMPTS {
            if let Some(pebble) = Self::try_start(&authority, wish) {
                let (folder, children, port, management) = pebble;
                return Self {
                    authority,
                    folder,
                    children,
                    port,
                    management,
                };
            }
        }
        panic!("Pebble does not come up");
    }

    fn try_start(authority: &Authority, wish: &Wish) -> Option<(TempDir, Vec<Child>, u16, u16)> {
        let folder = tempfile::tempdir().unwrap();
        let [port, management, dns, dns_management] = free_ports();
        let stem = authority.root().with_file_name("servers/localhost");
        if !stem.with_extension("pem").exists() {
            authority.issue(&["localhost"]);
        }
        let config = serde_json::json!({"pebble": {
            "listenAddress": format!("127.0.0.1:{port}"),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": stem.with_extension("pem"),
            "privateKey": stem.with_extension("key"),
            "httpPort": wish.http.port(),
            "tlsPort": wish.tls.port(),
            "certificateValidityPeriod": wish.life,
        }});
        let path = folder.path().join("pebble.json");
        fs::write(&path, config.to_string()).unwrap();
        let names = start(
            folder.path(),
            "pebble-challtestsrv",
            &[
                "-defaultIPv6",
                "",
                "-http01",
                "",
                "-https01",
                "",
                "-tlsalpn01",
                "",
                "-dns01",
                &format!("127.0.0.1:{dns}"),
                "-management",
                &format!("127.0.0.1:{dns_management}"),
            ],
        );
        let server = format!("127.0.0.1:{dns}");
        let pebble = start(
            folder.path(),
            "pebble",
            &["-config", path.to_str().unwrap(), "-dnsserver", &server],
        );
        let children = vec![names, pebble];
        let answers = || {
            let get = |port, path: &str| get(&format!("https://localhost:{port}{path}"), authority);
            get(port, "/dir").is_some() && get(management, "/roots/0").is_some()
        };
        if wait_until(EVENTUALLY, answers) {
            return Some((folder, children, port, management));
        }
        children.into_iter().for_each(end);
        None
    }

    pub(super) fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.port)
    }

    /// What vouches for its own address.
    pub(super) fn ca(&self) -> PathBuf {
        self.authority.root()
    }

    /// Writes down what vouches for the certificates that it gives.
    pub(super) fn root(&self) -> PathBuf {
        let url = format!("https://localhost:{}/roots/0", self.management);
        let root = self.folder.path().join("root.pem");
        fs::write(&root, get(&url, &self.authority).unwrap()).unwrap();
        root
    }

    /// How many orders it has got.
    pub(super) fn orders(&self) -> usize {
        let log = fs::read_to_string(self.folder.path().join("pebble.log")).unwrap();
        log.matches("POST /order-plz").count()
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("pebble.log")).unwrap()
    }
}

impl Drop for Pebble {
    fn drop(&mut self) {
        self.children.drain(..).for_each(end);
    }
}

fn start(folder: &Path, program: &str, args: &[&str]) -> Child {
    let log = File::create(folder.join(format!("{program}.log"))).unwrap();
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

fn end(mut child: Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn get(url: &str, authority: &Authority) -> Option<Vec<u8>> {
    let root = authority.root();
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
        .arg(root)
        .arg(url)
        .output()
        .unwrap();
    output.status.success().then_some(output.stdout)
}

fn free_ports<const N: usize>() -> [u16; N] {
    let sockets = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    sockets.map(|socket| socket.local_addr().unwrap().port())
}

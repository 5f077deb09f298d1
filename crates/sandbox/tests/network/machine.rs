//! The machine that the tests run on, with a network for functions and a peer on its LAN.

use std::{
    fs,
    io::Write,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use hob_sandbox::network::{Namespace, Network, NetworkConfig, Outbound, enter};
use tempfile::TempDir;

use crate::yard::eventually;

/// The gateway's only open port.
pub(crate) const GATEWAY_PORT: u16 = 8000;
/// A machine's address on the LAN, and its peer's.
pub(crate) const HOST: &str = "192.0.2.1";
pub(crate) const PEER: &str = "192.0.2.2";

/// After this long an answer is not on its way.
const SILENCE: Duration = Duration::from_millis(200);

pub(crate) struct Machine {
    pub(crate) network: Network,
    /// Of another daemon: `lan` in it plays the peer.
    others: Network,
    lan: Namespace,
    folder: TempDir,
}

impl Machine {
    pub(crate) fn new() -> Self {
        ip("link set lo up");
        let folder = tempfile::tempdir().unwrap();
        let others = NetworkConfig {
            bridge: "hoblan".into(),
            spares: 0,
            ..NetworkConfig::new(folder.path().join("others"))
        };
        let others = Network::new(others, &[]).unwrap();
        let lan = others.lease(Outbound::No).unwrap();
        let file = lan.path().display();
        // Where both ends happen to have one number, the kernel takes a second to see them joined.
        ip(&format!(
            "link add wan0 index 100 type veth peer name lan0 netns {file}"
        ));
        ip(&format!("address add {HOST}/24 dev wan0"));
        ip("link set wan0 up");
        enter(lan.path(), || {
            ip(&format!("address add {PEER}/24 dev lan0"));
            ip("link set lan0 up");
            ip(&format!("route add default via {HOST}"));
        })
        .unwrap();
        eventually("the LAN is up", || {
            is_up("wan0") && enter(lan.path(), || is_up("lan0")).unwrap()
        });
        Self {
            network: Network::new(config(folder.path()), &[]).unwrap(),
            others,
            lan,
            folder,
        }
    }

    pub(crate) fn lease(&self, outbound: Outbound) -> Namespace {
        self.network
            .lease(outbound)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) fn lan(&self) -> &Path {
        self.lan.path()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Has spares made and waits for them.
    pub(crate) fn prepare(&self, outbound: Outbound, count: usize) {
        self.network.prepare(outbound);
        eventually("spares are ready", || {
            let ready = files(self.folder()).into_iter().filter(|name| {
                let file = self.folder().join("netns").join(name);
                let routes = enter(&file, || fs::read_to_string("/proc/thread-self/net/route"));
                // The default route is the last thing to be set.
                routes.is_ok_and(|text| text.unwrap().contains("eth0\t00000000"))
            });
            ready.count() == count
        });
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        ip("link delete wan0");
        self.network.shutdown().unwrap();
        self.others.shutdown().unwrap();
        if !std::thread::panicking() {
            let left = leftovers(self.folder());
            assert!(left.is_empty(), "left behind: {left:?}");
        }
    }
}

pub(crate) fn config(state: &Path) -> NetworkConfig {
    NetworkConfig {
        gateway_ports: vec![GATEWAY_PORT],
        ..NetworkConfig::new(state)
    }
}

/// Names of the namespaces' files.
pub(crate) fn files(state: &Path) -> Vec<String> {
    let entries = fs::read_dir(state.join("netns")).into_iter().flatten();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// Links, tables, files and mounts that hob makes and that are there now.
pub(crate) fn leftovers(state: &Path) -> Vec<String> {
    let mut left: Vec<String> = links()
        .into_iter()
        .filter(|link| link.starts_with("hob"))
        .collect();
    let tables = Command::new("nft")
        .args(["list", "tables"])
        .output()
        .unwrap();
    let tables = String::from_utf8(tables.stdout).unwrap();
    left.extend(tables.lines().map(str::to_owned));
    left.extend(files(state));
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let state = state.display().to_string();
    let ours = mounts.lines().filter(|line| line.contains(&state));
    left.extend(ours.map(str::to_owned));
    left
}

/// Links of this thread's namespace.
pub(crate) fn links() -> Vec<String> {
    let text = fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let names = text.lines().filter_map(|line| line.split_once(':'));
    names.map(|(name, _)| name.trim().to_owned()).collect()
}

pub(crate) fn ip(command: &str) {
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(format!("{command}\n").as_bytes()).unwrap();
    drop(stdin);
    assert!(child.wait().unwrap().success(), "{command}");
}

fn is_up(link: &str) -> bool {
    let mut ip = Command::new("ip");
    let shown = ip.args(["link", "show", "dev", link]).output().unwrap();
    String::from_utf8(shown.stdout)
        .unwrap()
        .contains("state UP")
}

/// A service in the namespace `at`.
pub(crate) fn listen(at: &Path, address: &str) -> TcpListener {
    enter(at, || TcpListener::bind(address)).unwrap().unwrap()
}

/// Connects from the namespace `from`.
pub(crate) fn connect(from: &Path, address: &str) -> std::io::Result<TcpStream> {
    let address: SocketAddr = address.parse().unwrap();
    enter(from, || TcpStream::connect_timeout(&address, SILENCE)).unwrap()
}

/// This thread's own namespace.
pub(crate) fn here() -> &'static Path {
    Path::new("/proc/thread-self/ns/net")
}

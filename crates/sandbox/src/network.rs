//! A network of its own for each replica: a namespace that other functions, the machine's other
//! users and the LAN cannot reach.
//!
//! The way out is a bridge with a port for each namespace, and translation of addresses behind
//! it. The way in is not the bridge: [`enter`] makes the gateway's socket inside the namespace,
//! which only root can do, so a function may listen on whatever address it likes.
//!
//! Everything carries the bridge's name, by which the next daemon finds what a killed one left.
//! Forwarding of IPv4 is switched on and stays on, since others may have come to need it.

use std::{
    fs, io,
    net::Ipv4Addr,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixListener},
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{Able, SandboxError, capabilities};

mod bridge;
mod leftovers;
mod namespace;
mod pool;
mod program;
mod resolver;
mod subnet;

pub(crate) use namespace::join as join_network;
pub use namespace::{Namespace, enter};
pub use resolver::resolver;
pub use subnet::Subnet;

use pool::Pool;

/// Longest name of a bridge: with `-` and five digits it has to fit an interface's name.
const MAX_BRIDGE: usize = 9;
/// Number of the capability that links and rules need.
const CAP_NET_ADMIN: u32 = 12;

/// How long the name of a network that was just dropped may be in use: a program that is being
/// started has a copy of all that is open, until its exec.
const CLAIM_TIMEOUT: Duration = Duration::from_millis(200);
const CLAIM_POLL: Duration = Duration::from_millis(1);

/// What a [`Network`] needs to know.
#[derive(Debug, Clone)]
pub struct NetworkConfig {
    /// The bridge, also the name of the nftables table and the beginning of all other names; 1 to
    /// 9 of `a-z` and `0-9`, not starting with a digit. Two daemons on one machine need two.
    pub bridge: String,
    /// Addresses of the namespaces; the first is the bridge's. Two daemons on one machine need two.
    pub subnet: Subnet,
    /// TCP ports of the bridge's address that functions may connect to; all else of the machine
    /// is closed to them.
    pub gateway_ports: Vec<u16>,
    /// Namespaces are files of `netns` in this folder, which is made when missing.
    pub state: PathBuf,
    /// Namespaces of each kind in use that are kept ready.
    pub spares: usize,
}

/// Whether a namespace has a way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outbound {
    /// To the Internet and the LAN, and to the gateway, from an address of its own.
    Yes,
    /// To nowhere: only the loopback interface is there.
    No,
}

/// Makes namespaces. One per daemon, which has to be root.
///
/// Dropping it removes everything, leased namespaces too; that blocks for some thirty milliseconds
/// for each.
#[derive(Debug)]
pub struct Network {
    pool: Arc<Pool>,
    /// Keeps spares ready.
    maker: Mutex<Option<JoinHandle<()>>>,
    /// Its name, which dies with this process, keeps a second daemon from this one's bridge.
    _claim: UnixListener,
}

/// Whether images can run here, as far as can be seen without changing anything: this takes root,
/// and for the way out `ip` and `nft`.
pub fn able() -> Able {
    if !capabilities::is_privileged() || !capabilities::has(CAP_NET_ADMIN) {
        return Able::No {
            why: "networks of their own take root with CAP_NET_ADMIN".into(),
            cure: "run hob as root".into(),
        };
    }
    let missing = program::missing();
    if missing.is_empty() {
        return Able::Yes;
    }
    Able::No {
        why: "the programs that make networks are missing".into(),
        cure: format!("apt-get install {}", missing.join(" ")),
    }
}

// === impl NetworkConfig ===

impl NetworkConfig {
    /// Bridge `hob0`, subnet 10.62.0.0/16, two spares, no port of the gateway.
    pub fn new(state: impl Into<PathBuf>) -> Self {
        Self {
            bridge: "hob0".into(),
            subnet: Subnet::default(),
            gateway_ports: Vec::new(),
            state: state.into(),
            spares: 2,
        }
    }

    fn check(&self) -> Result<(), SandboxError> {
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        if self.bridge.is_empty()
            || self.bridge.len() > MAX_BRIDGE
            || self.bridge.starts_with(|c: char| c.is_ascii_digit())
            || !self.bridge.chars().all(good)
        {
            return Err(SandboxError::Network(format!(
                "bridge `{}` must be 1 to {MAX_BRIDGE} of a-z and 0-9 and start with a letter",
                self.bridge
            )));
        }
        Ok(())
    }
}

// === impl Network ===

impl Network {
    /// Removes what an earlier daemon with the same bridge left, but for the namespaces `kept`,
    /// each of which [`Network::adopt`] takes over. The bridge itself is made when it is first
    /// needed.
    ///
    /// # Errors
    /// Without root, when another daemon has this bridge, or when a leftover does not go away.
    pub fn new(mut config: NetworkConfig, kept: &[PathBuf]) -> Result<Self, SandboxError> {
        config.check()?;
        if !capabilities::is_privileged() || !capabilities::has(CAP_NET_ADMIN) {
            return Err(SandboxError::Network(
                "own networks for functions need root with CAP_NET_ADMIN: run hob as root".into(),
            ));
        }
        let claim = claim(&config.bridge)?;
        let folder = config.state.join("netns");
        fs::create_dir_all(&folder).map_err(SandboxError::io("cannot create", &folder))?;
        config.state = fs::canonicalize(&config.state)
            .map_err(SandboxError::io("cannot find", &config.state))?;
        leftovers::remove(&config, kept)?;
        let pool = Arc::new(Pool::new(config));
        let maker = thread::Builder::new().name("hob-network".into());
        let shared = Arc::clone(&pool);
        let maker = maker
            .spawn(move || shared.keep_spares())
            .map_err(SandboxError::system("cannot start a thread"))?;
        Ok(Self {
            pool,
            maker: Mutex::new(Some(maker)),
            _claim: claim,
        })
    }

    /// Has namespaces of this kind made ahead, in the background; so does every lease.
    pub fn prepare(&self, outbound: Outbound) {
        self.pool.prepare(outbound);
    }

    /// A namespace for one replica. At once when one is ready; else it takes some ten milliseconds,
    /// and thirty for the first, which makes the bridge.
    ///
    /// # Errors
    /// Names what is missing on the machine or full, and the cure.
    pub fn lease(&self, outbound: Outbound) -> Result<Namespace, SandboxError> {
        Pool::lease(&self.pool, outbound)
    }

    /// Takes over a namespace that an earlier daemon with the same bridge and subnet leased, and
    /// that was kept. Its rules are those of now.
    ///
    /// # Errors
    /// When it is not whole any more.
    pub fn adopt(&self, path: &Path) -> Result<Namespace, SandboxError> {
        Pool::adopt(&self.pool, path)
    }

    /// The bridge's address, by which functions reach the gateway's ports.
    pub fn gateway(&self) -> Ipv4Addr {
        self.pool.config().subnet.gateway()
    }

    /// Removes everything: namespaces, leased ones too, the bridge and its rules. Nothing can be
    /// leased afterwards.
    ///
    /// # Errors
    /// When something does not go away.
    pub fn shutdown(&self) -> Result<(), SandboxError> {
        match self.close() {
            // It has nothing to tell.
            Some(maker) => drop(maker.join()),
            None => return Ok(()),
        }
        leftovers::remove(self.pool.config(), &[])
    }

    /// Leaves everything as it is to the next daemon. Nothing can be leased afterwards.
    pub fn let_go(&self) {
        if let Some(maker) = self.close() {
            // It has nothing to tell.
            drop(maker.join());
        }
    }

    /// Lets nothing more be made.
    fn close(&self) -> Option<JoinHandle<()>> {
        self.pool.close();
        let mut maker = self.maker.lock().unwrap_or_else(PoisonError::into_inner);
        maker.take()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Err(error) = self.shutdown() {
            tracing::warn!(%error, "cannot remove all of the functions' network");
        }
    }
}

/// An abstract socket's name belongs to the network namespace, as the bridge's does.
fn claim(bridge: &str) -> Result<UnixListener, SandboxError> {
    let deadline = Instant::now() + CLAIM_TIMEOUT;
    let address = SocketAddr::from_abstract_name(format!("hob-network-{bridge}"));
    let address = address.map_err(SandboxError::system("cannot name a socket"))?;
    loop {
        match UnixListener::bind_addr(&address) {
            Ok(claim) => return Ok(claim),
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                return Err(SandboxError::system("cannot claim the bridge's name")(
                    error,
                ));
            }
            Err(_) if Instant::now() < deadline => thread::sleep(CLAIM_POLL),
            Err(_) => {
                return Err(SandboxError::Network(format!(
                    "another hob uses the bridge `{bridge}`: set another `bridge` and `subnet`"
                )));
            }
        }
    }
}

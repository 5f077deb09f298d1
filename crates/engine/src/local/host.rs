use std::{
    collections::BTreeSet,
    future::pending,
    io,
    net::{Ipv4Addr, TcpListener},
    os::fd::{BorrowedFd, OwnedFd},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hob_model::{FunctionName, Isolation, Revision, Routes, port::EngineError, port::Secrets};
use hob_sandbox::{CAGE_UID, Sandbox};
use tokio::io::{Interest, unix::AsyncFd};
use tokio_util::sync::CancellationToken;

use super::{
    LocalConfig,
    isolation::{self, CageKind},
    logs::{LogKeeper, Quota},
    networks::Networks,
    places::{Owner, Places},
};

/// How often a free port is looked for before giving up; each try is a new port.
const PORT_TRIES: usize = 64;

/// What all functions of this machine share.
pub(super) struct Host {
    pub(super) places: Places,
    pub(super) sandbox: Arc<Sandbox>,
    pub(super) routes: Arc<Routes>,
    pub(super) secrets: Arc<dyn Secrets>,
    /// Longest time from the start of a replica until it listens.
    pub(super) start_timeout: Duration,
    /// Cancelled once, when all replicas are to stop for good.
    pub(super) closing: CancellationToken,
    pub(super) networks: Networks,
    pub(super) logs: Arc<LogKeeper>,
    isolation: Option<Isolation>,
    ports: Arc<Mutex<BTreeSet<u16>>>,
}

/// A port of the loopback interface that no two replicas get at the same time.
#[derive(Debug)]
pub(super) struct PortLease {
    port: u16,
    ports: Arc<Mutex<BTreeSet<u16>>>,
}

// === impl Host ===

impl Host {
    /// Of the networks that an earlier daemon left, those of the namespaces `kept` stay.
    pub(super) fn new(
        config: LocalConfig,
        sandbox: Arc<Sandbox>,
        routes: Arc<Routes>,
        secrets: Arc<dyn Secrets>,
        kept: &[PathBuf],
    ) -> Self {
        let places = Places::new(config.data, config.run);
        let hosts = places.hosts();
        Self {
            networks: Networks::new(config.network, kept, hosts, Arc::clone(&routes)),
            places,
            logs: LogKeeper::new(Quota(config.log_quota)),
            sandbox,
            routes,
            secrets,
            start_timeout: config.start_timeout,
            closing: CancellationToken::new(),
            isolation: config.isolation,
            ports: Arc::default(),
        }
    }

    /// The kind of cage for a revision.
    pub(super) fn cage_for(
        &self,
        function: &FunctionName,
        revision: &Revision,
    ) -> Result<CageKind, EngineError> {
        let machine = self.sandbox.capabilities();
        isolation::choose(function, revision, self.isolation, machine)
    }

    /// As whom programs in cages run, where that is not hob's own user.
    pub(super) fn cage_owner() -> Owner {
        let root = rustix::process::geteuid().is_root();
        root.then_some((CAGE_UID, CAGE_UID))
    }

    /// A port that was free a moment ago. Nothing holds it until the program listens there.
    pub(super) fn lease_port(&self) -> io::Result<PortLease> {
        for _ in 0..PORT_TRIES {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
                .local_addr()?
                .port();
            let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
            if ports.insert(port) {
                drop(ports);
                return Ok(self.port_lease(port));
            }
        }
        Err(io::Error::other(
            "every free loopback port is promised to a replica",
        ))
    }

    /// The port of a replica of an earlier daemon.
    pub(super) fn keep_port(&self, port: u16) -> PortLease {
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        ports.insert(port);
        drop(ports);
        self.port_lease(port)
    }

    fn port_lease(&self, port: u16) -> PortLease {
        let ports = Arc::clone(&self.ports);
        PortLease { port, ports }
    }
}

// === impl PortLease ===

impl PortLease {
    pub(super) fn number(&self) -> u16 {
        self.port
    }
}

impl Drop for PortLease {
    fn drop(&mut self) {
        let mut ports = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        ports.remove(&self.port);
    }
}

/// Waits for news there, which never come where there is nobody to tell; what can be read is to
/// be read after this.
pub(crate) async fn told(news: Option<&AsyncFd<OwnedFd>>) {
    match news {
        Some(news) => match news.readable().await {
            Ok(mut ready) => ready.clear_ready(),
            Err(_) => pending().await,
        },
        None => pending().await,
    }
}

/// Tells when there is something to read at what `fd` stands for. Has to be called inside a tokio
/// runtime.
pub(crate) fn listen_to(fd: BorrowedFd<'_>) -> io::Result<AsyncFd<OwnedFd>> {
    let fd = fd.try_clone_to_owned()?;
    #[expect(
        deprecated,
        reason = "an `OwnedFd` stays what it is, which is all that the unsafe twin asks for"
    )]
    AsyncFd::with_interest(fd, Interest::READABLE)
}

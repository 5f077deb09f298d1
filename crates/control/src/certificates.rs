//! Certificates for the TLS listener: from files, by the machine's own authority, or by an authority
//! that speaks ACME. Each host gets the first of these that is configured and has one.

mod acme;
mod entry;
mod files;
mod new_hosts;
mod own;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use hob_model::{
    Routes,
    port::{Keyring, PemPair, Presented},
    wire::{CertificateSource, CertificateSummary},
};
use hob_store::{HostName, forget_hosts};
use thiserror::Error;
use tokio::{sync::Semaphore, time::interval};
use tokio_util::sync::CancellationToken;

use crate::control::on_disk;
use acme::Acme;
use entry::{Entry, Slot};
use files::Stamps;
use new_hosts::NewHosts;

/// How often hob looks whether a file has changed, a host is new, or a certificate is due.
const CHECK: Duration = Duration::from_secs(2);
/// How often files of hosts that are gone are looked for, the first time at the start.
const TIDY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long the files of a host that is gone are kept: whoever comes back soon needs no new ones.
const KEPT: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// Certificates that are asked for at once.
const ORDERS: usize = 4;
/// In the data directory: everything here, and in backups.
const PKI: &str = "pki";
/// Of the certificates that the own authority makes for this server, in there.
const OWN: &str = "own";
/// Of what ACME servers gave, in there.
const ACME: &str = "acme";

/// Where certificates come from.
#[derive(Debug, Clone, PartialEq)]
pub struct CertificatesConfig {
    /// What the server is called. The first certificate for them is also for callers who ask for a
    /// name that nobody knows.
    pub domains: Vec<HostName>,
    /// Pairs of the owner's; they count before all others.
    pub files: Vec<CertificateFiles>,
    /// Whether the own authority makes certificates for `domains` and those of functions.
    pub own: bool,
    /// The authority that is asked for them; counts before the own one.
    pub acme: Option<AcmeConfig>,
}

/// A certificate and its key, in two files or twice the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// In PEM, with those that vouch for it.
    pub certificate: PathBuf,
    /// In PEM.
    pub key: PathBuf,
}

/// How an authority that speaks ACME (RFC 8555) is asked. To ask it is to agree to its terms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcmeConfig {
    /// The address of its directory, with `https`.
    pub directory: String,
    /// Where it may write to.
    pub email: Option<String>,
    /// How it sees whose a host is.
    pub challenge: AcmeChallenge,
    /// A certificate in PEM that vouches for the server itself, in place of the system's.
    pub ca: Option<PathBuf>,
}

/// How an ACME server sees whose a host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcmeChallenge {
    /// It asks at port 80.
    Http01,
    /// It looks at a certificate at port 443.
    TlsAlpn01,
}

/// Why there is no certificate; one line with the cure.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct CertificatesError(String);

/// Gets certificates, keeps them fresh and hands them to the data plane.
pub struct Certificates {
    config: CertificatesConfig,
    pki: PathBuf,
    keyring: Arc<dyn Keyring>,
    routes: Arc<Routes>,
    acme: Option<Acme>,
    entries: Mutex<BTreeMap<Slot, Entry>>,
    new_hosts: Mutex<NewHosts>,
    /// What the files of the configuration were when they were last looked at.
    stamps: Mutex<Vec<Stamps>>,
}

impl Certificates {
    /// Presents what the owner's files have.
    ///
    /// # Errors
    /// When one of them cannot be used.
    pub fn open(
        config: CertificatesConfig,
        data: &Path,
        keyring: Arc<dyn Keyring>,
        routes: Arc<Routes>,
    ) -> Result<Arc<Self>, CertificatesError> {
        routes.keep_back(config.domains.iter().map(HostName::as_str));
        let pki = data.join(PKI);
        let acme = config.acme.clone();
        let acme = acme.map(|acme| Acme::new(acme, &pki.join(ACME), Arc::clone(&keyring)));
        let this = Self {
            config,
            pki,
            keyring,
            routes,
            acme,
            entries: Mutex::default(),
            new_hosts: Mutex::default(),
            stamps: Mutex::default(),
        };
        this.open_files()?;
        Ok(Arc::new(this))
    }

    /// Presents what there is for the hosts of the server and its functions. Blocks on the disk.
    pub fn look(&self) {
        self.check_files();
        let hosts = self.hosts();
        let now = SystemTime::now();
        if self.config.own {
            self.look_after_own(&hosts, now);
        }
        if let Some(acme) = &self.acme {
            self.look_for_stored(acme, &hosts);
        }
        self.withdraw_others(&hosts);
    }

    /// Looks again and again, and asks for what is missing or due, until `stop`.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let room = Arc::new(Semaphore::new(ORDERS));
        let (mut check, mut tidy) = (interval(CHECK), interval(TIDY));
        loop {
            tokio::select! {
                _ = check.tick() => {}
                _ = tidy.tick() => {
                    let this = Arc::clone(&self);
                    on_disk(move || this.tidy()).await;
                    continue;
                }
                () = stop.cancelled() => return,
            }
            let this = Arc::clone(&self);
            on_disk(move || this.look()).await;
            for host in self.due(SystemTime::now(), room.available_permits()) {
                let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
                    break;
                };
                self.change(&Slot::Acme(host.clone()), Entry::begin);
                let (this, stop) = (Arc::clone(&self), stop.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = this.order(&host) => {}
                        () = stop.cancelled() => {}
                    }
                    this.change(&Slot::Acme(host), |entry| entry.busy = false);
                    drop(permit);
                });
            }
        }
    }

    /// All that is presented or should be, by source.
    pub(crate) fn list(&self) -> Vec<CertificateSummary> {
        self.entries().values().map(Entry::summary).collect()
    }

    /// What the owner should know, one line each.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let now = SystemTime::now();
        let entries = self.entries();
        entries
            .values()
            .flat_map(|entry| entry.warning(now))
            .collect()
    }

    /// Asks for a new certificate of `host` soon, whatever failed before. `None` when none is asked
    /// for anywhere, for that host.
    pub(crate) async fn renew(&self, host: &str) -> Option<CertificateSummary> {
        let acme = self.acme.as_ref()?;
        let slot = Slot::Acme(host.to_owned());
        let summary = self.entries().get_mut(&slot).map(|entry| {
            entry.renews = Some(SystemTime::UNIX_EPOCH);
            entry.by_hand = true;
            entry.summary()
        })?;
        let (folder, host) = (acme.folder.clone(), host.to_owned());
        let forgotten = on_disk(move || folder.forget_retry(&host)).await;
        if let Err(error) = forgotten {
            tracing::warn!("what failed before is not forgotten: {error}");
        }
        Some(summary)
    }

    /// Removes the files of hosts that are no more. Blocks on the disk.
    fn tidy(&self) {
        let hosts = self.routes.hosts().into_iter();
        let mut wanted: Vec<HostName> = hosts.filter_map(|host| host.parse().ok()).collect();
        // That of the own authority is called by the first of all the server's names.
        wanted.extend(self.server_names());
        let before = SystemTime::now() - KEPT;
        let own = self.pki.join(OWN);
        let acme = self.acme.as_ref().map(|acme| acme.folder.folder());
        for folder in [Some(own.as_path()), acme].into_iter().flatten() {
            match forget_hosts(folder, &wanted, before) {
                Ok(0) => {}
                Ok(count) => tracing::info!(count, "files of hosts that are gone were removed"),
                Err(error) => tracing::warn!("files of hosts that are gone stay: {error}"),
            }
        }
    }

    // === what is wanted ===

    /// Host names of functions that neither a file nor `domains` has.
    fn hosts(&self) -> BTreeSet<String> {
        let mut hosts: BTreeSet<String> = self.routes.hosts().into_iter().map(Into::into).collect();
        for domain in &self.config.domains {
            hosts.remove(domain.as_str());
        }
        let entries = self.entries();
        let files = entries
            .values()
            .filter(|entry| entry.source == CertificateSource::File);
        for file in files {
            hosts.retain(|host| !file.is_for(host));
        }
        hosts
    }

    /// Domains of the server's that an ACME server can give a certificate for, and no file has.
    fn public_domains(&self) -> Vec<String> {
        let entries = self.entries();
        let files = || {
            entries
                .values()
                .filter(|entry| entry.source == CertificateSource::File)
        };
        let domains = self.config.domains.iter().map(HostName::as_str);
        let domains = domains.filter(|domain| acme::can_have(domain));
        let domains = domains.filter(|domain| !files().any(|file| file.is_for(domain)));
        domains.map(str::to_owned).collect()
    }

    fn withdraw_others(&self, hosts: &BTreeSet<String>) {
        let domains = self.public_domains();
        let gone = |slot: &Slot| match slot {
            Slot::File(_) | Slot::OwnServer => false,
            Slot::Own(host) => !hosts.contains(host),
            Slot::Acme(host) => !hosts.contains(host) && !domains.contains(host),
        };
        self.entries().retain(|slot, entry| {
            let gone = gone(slot) && !entry.busy;
            if gone {
                self.keyring.withdraw(&slot.to_string());
            }
            !gone
        });
    }

    /// Presents a pair in a slot.
    fn present(&self, slot: &Slot, hosts: &[String], pair: PemPair) -> Result<(), String> {
        let first = self
            .config
            .domains
            .iter()
            .find(|own| AcmeConfig::can_have(own));
        let presented = Presented {
            hosts: hosts.to_vec(),
            rank: slot.rank(),
            fallback: match slot {
                Slot::File(_) | Slot::OwnServer => true,
                Slot::Own(_) => false,
                Slot::Acme(host) => first.is_some_and(|first| first.as_str() == host),
            },
            pair,
        };
        let presented = self.keyring.present(&slot.to_string(), &presented);
        presented.map_err(|error| error.to_string())
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<Slot, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// False when there is no such entry.
    fn change(&self, slot: &Slot, change: impl FnOnce(&mut Entry)) -> bool {
        let mut entries = self.entries();
        entries.get_mut(slot).map(change).is_some()
    }
}

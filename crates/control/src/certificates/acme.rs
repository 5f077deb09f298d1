//! Certificates by ACME (RFC 8555): when one is due, how it is asked for, and when again.

mod order;

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash, Hasher},
    net::IpAddr,
    path::Path,
    sync::{Arc, PoisonError},
    time::{Duration, SystemTime},
};

use hob_model::{
    port::{Keyring, PemPair},
    wire::CertificateSource,
};
use hob_store::{AcmeFolder, AcmeRetry, Certificate, HostName};
use instant_acme::Account;
use tokio::sync::Mutex;

use super::{
    AcmeConfig, Certificates,
    entry::{Entry, Slot},
};
use crate::control::on_disk;
use order::OrderError;

/// Wait after the first failure; each further one takes three times as long, so that an hour sees
/// five at most, which is as many as Let's Encrypt lets a host fail.
const FIRST_WAIT: Duration = Duration::from_secs(60);
/// The longest.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);
/// The shortest after the server has said that it was asked too often.
const LIMITED_WAIT: Duration = Duration::from_secs(60 * 60);
/// How much sooner than at two thirds of their lives certificates may be renewed, as a part of
/// these: those of one day are not all renewed on one day.
const SPREAD: u32 = 30;
/// Endings of names that no public authority signs.
const PRIVATE: [&str; 7] = [
    "arpa",
    "internal",
    "invalid",
    "lan",
    "local",
    "localhost",
    "onion",
];

/// How certificates are asked for.
pub(super) struct Acme {
    pub(super) config: AcmeConfig,
    pub(super) folder: AcmeFolder,
    keyring: Arc<dyn Keyring>,
    /// Once it is known; held by who asks for it.
    account: Mutex<Option<Account>>,
}

// === impl Acme ===

impl Acme {
    pub(super) fn new(config: AcmeConfig, folder: &Path, keyring: Arc<dyn Keyring>) -> Self {
        Self {
            folder: AcmeFolder::at(folder, &config.directory),
            config,
            keyring,
            account: Mutex::default(),
        }
    }
}

impl AcmeConfig {
    /// Whether there can be a certificate for `host`: not for addresses, not for `*`, which neither
    /// challenge proves, and not for names that are private.
    pub fn can_have(host: &HostName) -> bool {
        can_have(host.as_str())
    }
}

pub(super) fn can_have(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or_default();
    host.contains('.')
        && !host.starts_with('*')
        && host.parse::<IpAddr>().is_err()
        && !PRIVATE.contains(&last)
}

// === impl Certificates ===

impl Certificates {
    /// Presents what is kept for hosts that are new here.
    pub(super) fn look_for_stored(&self, acme: &Acme, hosts: &BTreeSet<String>) {
        let domains = self.public_domains();
        let public = hosts.iter().filter(|host| can_have(host));
        for host in domains.iter().chain(public) {
            let slot = Slot::Acme(host.clone());
            if self.entries().contains_key(&slot) {
                continue;
            }
            let mut entry = Entry::missing(CertificateSource::Acme, vec![host.clone()]);
            match self.stored(acme, host, &slot) {
                Ok(Some(certificate)) => {
                    let renews = renewal(host, &certificate);
                    entry.take(certificate, Some(renews));
                }
                Ok(None) => entry.renews = Some(SystemTime::UNIX_EPOCH),
                Err(problem) => {
                    tracing::warn!("a new certificate for {host} is asked for: {problem}");
                    entry.renews = Some(SystemTime::UNIX_EPOCH);
                }
            }
            if let Some(retry) = acme.folder.retry(host) {
                entry.problem = Some(retry.problem);
                entry.renews = Some(retry.next);
            }
            self.entries().insert(slot, entry);
        }
    }

    fn stored(&self, acme: &Acme, host: &str, slot: &Slot) -> Result<Option<Certificate>, String> {
        let stored = acme.folder.pair(host).map_err(|error| error.to_string())?;
        let Some(pem) = stored else {
            return Ok(None);
        };
        self.accept(acme, host, slot, &pem).map(Some)
    }

    /// Presents a certificate and its key, in one text.
    fn accept(
        &self,
        acme: &Acme,
        host: &str,
        slot: &Slot,
        pem: &[u8],
    ) -> Result<Certificate, String> {
        let path = acme.folder.path(host);
        let certificate = Certificate::of_file(&path, &path, pem).map_err(|e| e.to_string())?;
        let pair = PemPair {
            chain: pem.to_vec(),
            key: pem.to_vec().into(),
        };
        self.present(slot, &certificate.names, pair)?;
        Ok(certificate)
    }

    /// Hosts that a certificate is to be asked for now, `room` at most.
    pub(super) fn due(&self, now: SystemTime, room: usize) -> Vec<String> {
        let mut entries = self.entries();
        let due = entries.iter_mut().filter_map(|(slot, entry)| match slot {
            Slot::Acme(host) if !entry.busy && entry.renews.is_some_and(|at| at <= now) => {
                self.has_its_turn(host, entry, now).then(|| host.clone())
            }
            _ => None,
        });
        due.take(room).collect()
    }

    /// False for a new host while too many new ones are asked for; it comes later then. Those of the
    /// server itself are not counted, nor those that somebody asks for by hand.
    fn has_its_turn(&self, host: &str, entry: &mut Entry, now: SystemTime) -> bool {
        let mut own = self.config.domains.iter();
        if !entry.is_new() || entry.by_hand || own.any(|own| own.as_str() == host) {
            return true;
        }
        let mut new = self
            .new_hosts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let Err(later) = new.take(now) else {
            return true;
        };
        let shown = humantime::format_rfc3339_seconds(later);
        tracing::warn!(
            "a certificate for {host} is asked for at {shown}, since many hosts are new; or by `hob certificate renew {host}`"
        );
        entry.renews = Some(later);
        false
    }

    /// Gets a certificate for `host`, keeps it and presents it; or remembers what failed.
    pub(super) async fn order(self: &Arc<Self>, host: &str) {
        let Some(acme) = &self.acme else { return };
        let ordered = acme.order(host).await;
        let (this, name) = (Arc::clone(self), host.to_owned());
        on_disk(move || {
            let Some(acme) = &this.acme else { return };
            let slot = Slot::Acme(name.clone());
            let kept = ordered.and_then(|pem| {
                let accepted = this.accept(acme, &name, &slot, &pem);
                let certificate = accepted.map_err(OrderError::failed)?;
                // Presented in any case: it counts whether the disk is full or not.
                let kept = acme.folder.put_pair(&name, &pem);
                Ok((certificate, kept))
            });
            match kept {
                Ok((certificate, kept)) => {
                    tracing::info!("there is a new certificate for {name}");
                    if let Err(error) = kept {
                        tracing::error!("the certificate for {name} is not kept: {error}");
                    }
                    let renews = renewal(&name, &certificate);
                    this.change(&slot, |entry| entry.take(certificate, Some(renews)));
                }
                Err(error) => this.wait(acme, &name, &error),
            }
        })
        .await;
    }

    fn wait(&self, acme: &Acme, host: &str, error: &OrderError) {
        let failures = acme.folder.retry(host).map_or(0, |retry| retry.failures);
        let failures = failures.saturating_add(1);
        let mut wait = wait_after(failures);
        if error.limited {
            wait = wait.max(LIMITED_WAIT);
        }
        let next = whole_seconds(SystemTime::now() + wait + wait.mul_f64(part(host) / 10.0));
        let retry = AcmeRetry {
            failures,
            next,
            problem: error.problem.clone(),
        };
        let shown = humantime::format_rfc3339_seconds(next);
        tracing::warn!(
            "no certificate for {host} from {}: {}; next try at {shown}, or by `hob certificate renew {host}`",
            acme.config.directory,
            error.problem
        );
        if let Err(error) = acme.folder.put_retry(host, &retry) {
            tracing::error!("a restart will not remember that: {error}");
        }
        self.change(&Slot::Acme(host.to_owned()), |entry| {
            entry.problem = Some(retry.problem);
            entry.renews = Some(next);
        });
    }
}

/// As it is kept.
fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.unwrap_or_default().as_secs())
}

/// How long to wait after so many failures in a row.
fn wait_after(failures: u32) -> Duration {
    let factor = 3_u32.saturating_pow(failures.saturating_sub(1));
    FIRST_WAIT.saturating_mul(factor).min(LONGEST_WAIT)
}

/// At two thirds of its life, or a little before.
fn renewal(host: &str, certificate: &Certificate) -> SystemTime {
    let life = certificate.ends.duration_since(certificate.begins);
    let life = life.unwrap_or_default();
    let sooner = (life / SPREAD).mul_f64(part(host));
    certificate.begins + (life * 2 / 3).saturating_sub(sooner)
}

/// Of 1, the same for a host at all times.
fn part(host: &str) -> f64 {
    let mut hasher = DefaultHasher::new();
    host.hash(&mut hasher);
    f64::from((hasher.finish() >> 32) as u32) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_waited_out_longer_and_longer() {
        let waits: Vec<u64> = (1..=9).map(|n| wait_after(n).as_secs() / 60).collect();
        assert_eq!(waits, [1, 3, 9, 27, 81, 243, 729, 1440, 1440]);
        assert_eq!(wait_after(u32::MAX), LONGEST_WAIT);
    }

    #[test]
    fn names_that_no_public_authority_signs_are_not_asked_for() {
        for (host, expected) in [
            ("example.net", true),
            ("a.b.example.net", true),
            ("*.example.net", false),
            ("printer", false),
            ("hob.home.arpa", false),
            ("hob.local", false),
            ("192.168.1.1", false),
            ("::1", false),
        ] {
            assert_eq!(can_have(host), expected, "{host}");
        }
    }
}

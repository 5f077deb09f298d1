use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, SystemTime},
};

use hob_model::{port::PemPair, wire::CertificateSource};
use hob_store::{Authority, AuthorityError, Certificate, HostName};

use super::{
    Certificates, OWN,
    entry::{Entry, Slot},
};

/// How long after a failure the own authority is tried again.
const PAUSE: Duration = Duration::from_secs(10 * 60);
/// Names that are this machine's everywhere.
const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

impl Certificates {
    /// Makes what is missing or due for the server and for `hosts`, and presents it.
    pub(super) fn look_after_own(&self, hosts: &BTreeSet<String>, now: SystemTime) {
        self.look_after(&Slot::OwnServer, self.server_names(), now);
        for host in hosts {
            if let Ok(name) = host.parse() {
                self.look_after(&Slot::Own(host.clone()), vec![name], now);
            }
        }
    }

    /// The server's domains, and what everybody calls the machine that he sits at.
    pub(super) fn server_names(&self) -> Vec<HostName> {
        let mut names = self.config.domains.clone();
        let loopback = LOOPBACK.iter().filter_map(|name| name.parse().ok());
        for name in loopback {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    fn look_after(&self, slot: &Slot, names: Vec<HostName>, now: SystemTime) {
        let due = self
            .entries()
            .get(slot)
            .is_none_or(|entry| entry.renews.is_some_and(|renews| renews <= now));
        if !due {
            return;
        }
        let made = self.make(&names).and_then(|certificate| {
            let (chain, key) = (fs::read(&certificate.path), fs::read(&certificate.key));
            let (Ok(chain), Ok(key)) = (chain, key) else {
                return Err(format!("cannot read {}", certificate.path.display()));
            };
            let pair = PemPair {
                chain,
                key: key.into(),
            };
            self.present(slot, &certificate.names, pair)?;
            Ok(certificate)
        });
        let mut entries = self.entries();
        let entry = entries.entry(slot.clone()).or_insert_with(|| {
            let names = names.iter().map(HostName::to_string).collect();
            Entry::missing(CertificateSource::Own, names)
        });
        match made {
            Ok(certificate) => {
                let renews = certificate.ends.checked_sub(Authority::RENEW_BEFORE);
                // Where the root ends soon, there is nothing better to be had.
                let renews = renews.map(|renews| renews.max(now + PAUSE));
                entry.take(certificate, renews);
            }
            Err(problem) => {
                tracing::error!("no certificate of the own authority: {problem}");
                entry.problem = Some(problem);
                entry.renews = Some(now + PAUSE);
            }
        }
    }

    fn make(&self, names: &[HostName]) -> Result<Certificate, String> {
        let authority = Authority::at(&self.pki).keeping_in(&self.pki.join(OWN));
        let make = || {
            if let Err(AuthorityError::NoRoot { .. }) = authority.root() {
                let root = authority.init(&Authority::default_name())?;
                tracing::info!(
                    "made the root of an authority for this machine, {}: `hob ca show` tells where to install it",
                    root.path.display()
                );
            }
            let (first, more) = names.split_first().ok_or(AuthorityError::RootName)?;
            authority.keep(first, more)
        };
        make().map_err(|error: AuthorityError| error.to_string())
    }
}

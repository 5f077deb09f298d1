use std::{
    fmt,
    time::{Duration, SystemTime},
};

use hob_model::wire::{CertificateSource, CertificateSummary};
use hob_store::Certificate;

/// From when on an end is worth a word.
const ENDS_SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);
/// Certificates that last less than that are warned of in this last part of their life.
const LAST_PART: u32 = 6;

/// Whose place a certificate has.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Slot {
    /// That of a pair of files, by its number in the configuration.
    File(usize),
    /// Of the own authority, for all names of the server.
    OwnServer,
    /// Of the own authority, for a host of a function.
    Own(String),
    /// By ACME.
    Acme(String),
}

/// What is known of a certificate, or of the lack of one.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) source: CertificateSource,
    /// Who it is for.
    pub(super) hosts: Vec<String>,
    pub(super) certificate: Option<Certificate>,
    /// When the next one is seen to, or tried.
    pub(super) renews: Option<SystemTime>,
    pub(super) problem: Option<String>,
    /// Whether the next one is being asked for.
    pub(super) busy: bool,
    /// Whether somebody wants it now, whatever counts else.
    pub(super) by_hand: bool,
}

// === impl Slot ===

impl Slot {
    /// Which certificate counts where there are two for a host: the lower.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::File(_) => 0,
            Self::Acme(_) => 1,
            Self::OwnServer => 2,
            Self::Own(_) => 3,
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // Their order is that of the configuration.
            Self::File(number) => write!(f, "file {number:06}"),
            Self::OwnServer => f.write_str("own"),
            Self::Own(host) => write!(f, "own {host}"),
            Self::Acme(host) => write!(f, "acme {host}"),
        }
    }
}

// === impl Entry ===

impl Entry {
    /// One that has no certificate yet.
    pub(super) fn missing(source: CertificateSource, hosts: Vec<String>) -> Self {
        Self {
            source,
            hosts,
            certificate: None,
            renews: None,
            problem: None,
            busy: false,
            by_hand: false,
        }
    }

    /// Says that the next certificate is being asked for.
    pub(super) fn begin(&mut self) {
        self.busy = true;
        self.by_hand = false;
    }

    /// Whether none was ever asked for.
    pub(super) fn is_new(&self) -> bool {
        self.certificate.is_none() && self.problem.is_none()
    }

    /// Takes over a certificate that is presented from now on.
    pub(super) fn take(&mut self, certificate: Certificate, renews: Option<SystemTime>) {
        self.hosts.clone_from(&certificate.names);
        self.certificate = Some(certificate);
        self.renews = renews;
        self.problem = None;
    }

    /// Whether those who ask for `host` get it.
    pub(super) fn is_for(&self, host: &str) -> bool {
        let any = host.split_once('.').map(|(_, rest)| rest);
        self.hosts.iter().any(|own| match own.strip_prefix("*.") {
            Some(rest) => any == Some(rest) || own == host,
            None => own == host,
        })
    }

    pub(super) fn summary(&self) -> CertificateSummary {
        let certificate = self.certificate.as_ref();
        CertificateSummary {
            hosts: self.hosts.clone(),
            source: self.source,
            file: certificate.map(|one| one.path.display().to_string()),
            issuer: certificate.map(|one| one.issuer.clone()),
            ends: certificate.map(|one| one.ends),
            renews: self.renews,
            problem: self.problem.clone(),
        }
    }

    /// What the owner should know of it.
    pub(super) fn warning(&self, now: SystemTime) -> Option<String> {
        let hosts = self.hosts.join(", ");
        let Some(certificate) = &self.certificate else {
            let problem = self.problem.as_ref()?;
            return Some(format!("there is no certificate for {hosts}: {problem}"));
        };
        let life = certificate.ends.duration_since(certificate.begins);
        let soon = ENDS_SOON.min(life.unwrap_or_default() / LAST_PART);
        let ends = humantime::format_rfc3339_seconds(certificate.ends);
        let because = match &self.problem {
            Some(problem) => format!(": {problem}"),
            None if self.source == CertificateSource::File => {
                format!(": put a new one in place of {}", certificate.path.display())
            }
            None => String::new(),
        };
        if certificate.left(now) <= soon {
            let verb = if now < certificate.ends {
                "ends"
            } else {
                "ended"
            };
            return Some(format!(
                "the certificate for {hosts} {verb} at {ends}{because}"
            ));
        }
        self.problem.is_some().then(|| {
            format!("the certificate for {hosts}, which ends at {ends}, cannot be renewed{because}")
        })
    }
}

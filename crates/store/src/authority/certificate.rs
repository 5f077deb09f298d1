use std::{
    fmt::Write,
    net::IpAddr,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use sha2::{Digest, Sha256};
use x509_parser::{
    certificate::X509Certificate,
    extensions::GeneralName,
    pem::parse_x509_pem,
    prelude::{FromDer, X509Name},
};

use super::AuthorityError;

/// A certificate of the authority, as its file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The file, in PEM.
    pub path: PathBuf,
    /// The file of its private key, in PEM.
    pub key: PathBuf,
    /// What it is for: the name of the root, or the names and addresses of a server.
    pub names: Vec<String>,
    /// From when it counts.
    pub begins: SystemTime,
    /// Until when it counts.
    pub ends: SystemTime,
    /// SHA-256 of the certificate, as browsers show it: `AB:CD:…`.
    pub fingerprint: String,
}

impl Certificate {
    pub(super) fn parse(path: &Path, key: PathBuf, pem: &[u8]) -> Result<Self, AuthorityError> {
        let damaged = |problem: String| AuthorityError::Damaged {
            path: path.to_owned(),
            problem,
        };
        let (_, pem) = parse_x509_pem(pem).map_err(|_| damaged("it is not PEM".into()))?;
        let (_, parsed) = X509Certificate::from_der(&pem.contents)
            .map_err(|_| damaged("it has no certificate".into()))?;
        Ok(Self {
            path: path.to_owned(),
            key,
            names: names(&parsed),
            begins: time(parsed.validity().not_before.timestamp()),
            ends: time(parsed.validity().not_after.timestamp()),
            fingerprint: fingerprint(&pem.contents),
        })
    }

    /// Time until it ends; none when it has.
    pub fn left(&self, now: SystemTime) -> Duration {
        self.ends.duration_since(now).unwrap_or_default()
    }
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = certificate.subject_alternative_name().ok().flatten();
    match names {
        Some(names) => names.value.general_names.iter().filter_map(name).collect(),
        None => common_name(certificate.subject()).into_iter().collect(),
    }
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let address = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let address = address.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
            address.ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

fn common_name(name: &X509Name<'_>) -> Option<String> {
    let name = name.iter_common_name().next()?;
    name.as_str().ok().map(str::to_owned)
}

fn time(seconds: i64) -> SystemTime {
    let since = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    SystemTime::UNIX_EPOCH + since
}

fn fingerprint(der: &[u8]) -> String {
    let mut text = String::new();
    for (index, byte) in Sha256::digest(der).iter().enumerate() {
        let colon = if index > 0 { ":" } else { "" };
        // Writing to a string cannot fail.
        let _ = write!(text, "{colon}{byte:02X}");
    }
    text
}

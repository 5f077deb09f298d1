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
    pem::Pem,
    prelude::{FromDer, X509Name},
};

use super::AuthorityError;

/// How PEM names one.
const CERTIFICATE: &str = "CERTIFICATE";

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
    /// What its signer is called.
    pub issuer: String,
    /// SHA-256 of the certificate, as browsers show it: `AB:CD:…`.
    pub fingerprint: String,
}

impl Certificate {
    /// The first certificate of a PEM file that is not the authority's own.
    ///
    /// # Errors
    /// When there is none in it.
    pub fn of_file(path: &Path, key: &Path, pem: &[u8]) -> Result<Self, AuthorityError> {
        Self::parse(path, key.to_owned(), pem)
    }

    pub(super) fn parse(path: &Path, key: PathBuf, pem: &[u8]) -> Result<Self, AuthorityError> {
        let damaged = |problem: String| AuthorityError::Damaged {
            path: path.to_owned(),
            problem,
        };
        let mut blocks = Pem::iter_from_buffer(pem).flatten();
        let pem = blocks.find(|block| block.label == CERTIFICATE);
        let pem = pem.ok_or_else(|| damaged("it is not PEM".into()))?;
        let (_, parsed) = X509Certificate::from_der(&pem.contents)
            .map_err(|_| damaged("it has no certificate".into()))?;
        Ok(Self {
            path: path.to_owned(),
            key,
            names: names(&parsed),
            begins: time(parsed.validity().not_before.timestamp()),
            ends: time(parsed.validity().not_after.timestamp()),
            issuer: signer(parsed.issuer()),
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

/// The common name, or whatever there is.
fn signer(name: &X509Name<'_>) -> String {
    common_name(name).unwrap_or_else(|| name.to_string())
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

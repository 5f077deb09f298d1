use std::fmt;

use thiserror::Error;
use zeroize::Zeroizing;

/// What is presented to those who come by TLS: how the control plane, which gets certificates, hands
/// them to the data plane. Nothing here waits for anything.
pub trait Keyring: Send + Sync {
    /// Presents a certificate from now on, in place of the one of this `slot`.
    ///
    /// # Errors
    /// When the pair cannot be used; then all is as it was.
    fn present(&self, slot: &str, presented: &Presented) -> Result<(), KeyringError>;

    /// Presents the certificate of `slot` no more.
    fn withdraw(&self, slot: &str);

    /// Has a certificate that proves to an ACME server whose `host` is, for as long as it asks
    /// (RFC 8737); `None` ends it.
    ///
    /// # Errors
    /// When the pair cannot be used.
    fn prove(&self, host: &str, proof: Option<&PemPair>) -> Result<(), KeyringError>;

    /// Has the answer to an ACME server's question for `token` (RFC 8555, section 8.3); `None` ends
    /// it.
    fn answer(&self, token: &str, answer: Option<&str>);
}

/// A certificate as callers get it.
#[derive(Debug, Clone)]
pub struct Presented {
    /// Those who ask for one of these get it: names in lower case, `*.` for any first part, or
    /// addresses.
    pub hosts: Vec<String>,
    /// Where two are for one host, the lower one counts.
    pub rank: u8,
    /// Whether it may be had by those who ask for a host that nobody knows, or for none.
    pub fallback: bool,
    /// The certificate and its key.
    pub pair: PemPair,
}

/// A certificate with those that vouch for it, and its private key, in PEM.
#[derive(Clone)]
pub struct PemPair {
    /// The certificate first.
    pub chain: Vec<u8>,
    /// Of that certificate.
    pub key: Zeroizing<Vec<u8>>,
}

/// Why a pair cannot be used; one line.
#[derive(Debug, Clone, Error)]
#[error("{0}")]
pub struct KeyringError(pub String);

impl fmt::Debug for PemPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PemPair(…)")
    }
}

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A certificate that the TLS listener presents, or should.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CertificateSummary {
    /// For whom: host names and addresses.
    pub hosts: Vec<String>,
    /// Where it comes from.
    pub source: CertificateSource,
    /// Its file; `None` while there is none.
    pub file: Option<String>,
    /// Who signed it; `None` while there is none.
    pub issuer: Option<String>,
    /// Until when it counts; `None` while there is none.
    #[serde(with = "crate::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ends: Option<SystemTime>,
    /// When hob sees to the next one; `None` for files, which are their owner's to renew.
    #[serde(with = "crate::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub renews: Option<SystemTime>,
    /// What went wrong last; `None` when all is well.
    pub problem: Option<String>,
}

/// Where a certificate comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CertificateSource {
    /// Files that the owner named.
    File,
    /// The machine's own authority.
    Own,
    /// An authority that speaks ACME.
    Acme,
}

impl CertificateSource {
    /// As it stands in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Own => "own",
            Self::Acme => "acme",
        }
    }
}

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A change that somebody made or tried to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditRecord {
    /// When it ended.
    #[serde(with = "crate::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub at: SystemTime,
    /// Who: `admin`, `token:NAME`, `local:UID` of a user of the machine itself, or `signed`.
    pub who: String,
    /// Whence: an address, or `local` for the machine's own socket.
    pub from: String,
    /// What: `function.deploy`.
    pub action: String,
    /// The name of what was changed; empty where it has none.
    pub target: String,
    /// How it went, as a status of HTTP: below 400 it was made.
    pub status: u16,
}

//! What a server says of itself.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The answer to `GET /system/info`. Clients refuse texts that are missing or empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ServerInfo {
    /// What runs the functions.
    pub provider: ProviderInfo,
    /// The server's version.
    pub version: VersionInfo,
    /// Processor architecture: `x86_64`.
    pub arch: String,
}

/// What runs the functions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProviderInfo {
    /// Its name.
    pub provider: String,
    /// Its version.
    pub version: VersionInfo,
    /// What it runs on.
    pub orchestration: String,
}

/// A version, of which clients show all three.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VersionInfo {
    /// The number: `0.1.0`.
    pub release: String,
    /// The commit that it was built from.
    pub sha: String,
    /// What that says of itself.
    pub commit_message: String,
}

/// The answer to `GET /system/telemetry`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Telemetry {
    /// What runs the functions.
    pub provider: String,
    /// Its version.
    pub release: String,
    /// How many functions there are.
    pub functions: usize,
    /// How many namespaces.
    pub namespaces: usize,
    /// Seconds since the server began.
    pub uptime: u64,
}

//! What a backup is: a gzip-compressed tar with [`MANIFEST`] first, then files of the data
//! directory under their own names, and [`END`] last, so that a part is never taken for the whole.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// The format that this hob writes, and the newest that it reads.
pub const FORMAT: u32 = 1;
/// The first entry, a [`BackupManifest`].
pub const MANIFEST: &str = "backup.json";
/// The last entry, a [`BackupEnd`].
pub const END: &str = "backup-end.json";
/// Most bytes that [`MANIFEST`] and [`END`] may have.
pub const MANIFEST_MAX: u64 = 64 << 10;

/// The database, as one consistent snapshot.
pub const DATABASE: &str = "hob.db";
/// The key to the secrets.
pub const IDENTITY: &str = "identity.txt";
/// Whom to trust of registries.
pub const REGISTRIES: &str = "registries.toml";
/// Built folders, each with a record beside it.
pub const BUNDLES: &str = "bundles";
/// An OCI layout.
pub const IMAGES: &str = "images";
/// The machine's own certificate authority.
pub const PKI: &str = "pki";
/// The secrets, sealed.
pub const SECRETS: &str = "secrets";
/// All that may stand at the top, besides the first and the last entry.
pub const TOP: [&str; 7] = [
    DATABASE, IDENTITY, REGISTRIES, BUNDLES, IMAGES, PKI, SECRETS,
];

/// What a backup says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupManifest {
    /// [`FORMAT`] of the hob that wrote it.
    pub format: u32,
    /// Version of the hob that wrote it.
    pub hob: String,
    /// When it was begun.
    #[serde(with = "crate::rfc3339")]
    pub made_at: SystemTime,
    /// Functions in the database.
    pub functions: u64,
    /// Asynchronous calls in the database that are still to be made.
    pub calls: u64,
    /// Whether the key to the secrets is in it.
    pub identity: bool,
    /// Whether images are in it.
    pub images: bool,
}

/// The end of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupEnd {
    /// Entries before this one.
    pub entries: u64,
}

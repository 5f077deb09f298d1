//! Room on the disk of the data directory.

use std::path::Path;

/// Below so many free bytes the owner is warned: 1 GiB. A build of some size may fail then, and what
/// is written all the time has not far to go.
pub const FREE_MIN: u64 = 1 << 30;
/// A disk with fewer free bytes is full: SQLite needs 32 KiB to open a database.
const FULL: u64 = 64 << 10;

/// Bytes that this user may still write to the disk of `folder`; `None` where nobody can tell.
pub fn free(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Whether there is so little that what SQLite calls by another name is a full disk.
pub(crate) fn is_full(folder: &Path) -> bool {
    free(folder).is_some_and(|free| free < FULL)
}

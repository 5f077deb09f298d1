//! Room on the disk.

use std::path::Path;

use crate::{Digest, ImageError, ImageStore};

/// What images leave free, in bytes, for logs, secrets and the database.
const RESERVE: u64 = 256 << 20;

/// Bytes that images may still fill on the disk of `path`; what cannot be told is no bound.
pub(crate) fn free(path: &Path) -> u64 {
    let folder = path.parent().unwrap_or(path);
    rustix::fs::statvfs(folder).map_or(u64::MAX, |disk| {
        disk.f_bavail
            .saturating_mul(disk.f_frsize)
            .saturating_sub(RESERVE)
    })
}

/// Refuses what does not fit, before it is begun.
pub(crate) fn check(path: &Path, what: &str, needed: u64) -> Result<(), ImageError> {
    let free = free(path);
    if needed <= free {
        return Ok(());
    }
    Err(ImageError::Space {
        what: what.to_owned(),
        needed: needed.saturating_add(RESERVE),
        free: free.saturating_add(RESERVE),
        path: path.parent().unwrap_or(path).to_owned(),
    })
}

// === impl ImageStore ===

impl ImageStore {
    /// Refuses what does not fit on the disk beside the reserve, before it is begun.
    ///
    /// # Errors
    /// [`ImageError::Space`] names `what`.
    pub fn check_room(&self, what: &str, needed: u64) -> Result<(), ImageError> {
        check(&self.blob_path(&Digest::of(b"")), what, needed)
    }
}

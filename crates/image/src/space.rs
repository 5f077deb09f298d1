//! Room on the disk.

use std::path::Path;

use crate::{Digest, ImageError, ImageStore};

/// What images leave free, in bytes, for logs, secrets and the database.
const RESERVE: u64 = 256 << 20;

/// Bytes that images may still fill on the disk of `path`; what cannot be told is no bound.
pub(crate) fn free(path: &Path) -> u64 {
    available(path.parent().unwrap_or(path)).saturating_sub(RESERVE)
}

/// Bytes that are free on the disk of `folder`.
fn available(folder: &Path) -> u64 {
    let disk = rustix::fs::statvfs(folder);
    disk.map_or(u64::MAX, |disk| disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Refuses what does not fit, before it is begun.
pub(crate) fn check(path: &Path, what: &str, needed: u64) -> Result<(), ImageError> {
    match needed <= free(path) {
        true => Ok(()),
        false => Err(full(path, what, needed)),
    }
}

/// Says that `what` does not fit, of which at least `needed` bytes are known.
pub(crate) fn full(path: &Path, what: &str, needed: u64) -> ImageError {
    let folder = path.parent().unwrap_or(path);
    ImageError::Space {
        what: what.to_owned(),
        needed: needed.saturating_add(RESERVE),
        free: available(folder),
        path: folder.to_owned(),
    }
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

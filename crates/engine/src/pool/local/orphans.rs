//! Removing sandboxes that a hob left which is no more.

use std::{
    collections::BTreeMap,
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

use hob_sandbox::{CageRecord, Sandbox, boot_id, living_since};
use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, openat, unlinkat},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
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
/// Most run folders of one user that are looked at in one folder, and most leases in one of them:
/// whoever fills a folder that is everybody's must neither keep hob busy nor have others' folders
/// passed over. The rest has its turn when these are gone.
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

/// Another hob's run folder.
struct Neighbour {
    path: PathBuf,
    leases: OwnedFd,
    /// Whose they are.
    uid: u32,
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
                if !self.remove(&lease.cage, &path) {
                    // By it, the next one finds what is left.
                    continue;
                }
                cleared += 1;
            }
            fs::remove_file(&path)?;
        }
        Ok(cleared)
    }

    /// Removes what hobs of other data directories left, once their leases are over. Never
    /// touches what belongs to one that lives. Blocks.
    pub(super) fn clear_others(&self) {
        for parent in &self.neighbours {
            let mut looked_at = BTreeMap::<u32, usize>::new();
            for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
                let path = entry.path();
                if !entry.file_name().as_bytes().starts_with(RUN_FOLDER) || path == self.own {
                    continue;
                }
                // Most have no leases, and a folder may be gone by now.
                let Ok(run) = Neighbour::open(path) else {
                    continue;
                };
                let count = looked_at.entry(run.uid).or_default();
                if *count < FOLDERS_MOST {
                    *count += 1;
                    let _ = self.clear_neighbour(&run);
                }
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

    fn clear_neighbour(&self, run: &Neighbour) -> io::Result<()> {
        for name in names(&run.leases)? {
            let Some(found) = read(&run.leases, &name)? else {
                continue;
            };
            let path = run.path.join(FOLDER).join(&found.lease.worker);
            let Some(cage) = found.to_remove() else {
                continue;
            };
            if !self.remove(&cage, &path) {
                continue;
            }
            unlinkat(&run.leases, &name, AtFlags::empty())?;
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

// === impl Neighbour ===

impl Neighbour {
    fn open(path: PathBuf) -> io::Result<Self> {
        let run = open_folder(CWD, &c_string(path.as_os_str().as_bytes())?)?;
        let leases = open_folder(run.as_fd(), &c_string(FOLDER.as_bytes())?)?;
        let uid = fstat(&leases)?.st_uid;
        match fstat(&run)?.st_uid == uid {
            true => Ok(Self { path, leases, uid }),
            false => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }
}

// === impl Found ===

impl Found {
    /// What there is to remove, if it is an orphan.
    ///
    /// A lease in a folder that is everybody's must not have root remove what its writer could not
    /// have removed himself. So of another user's, hob looks at each thing by itself; a bundle,
    /// which nobody but root makes, is not among them.
    fn to_remove(&self) -> Option<CageRecord> {
        if !self.lease.owner.is_dead() || !self.lease.is_expired() {
            return None;
        }
        let me = rustix::process::geteuid().as_raw();
        let mut cage = self.lease.cage.clone();
        if self.uid == me {
            return Some(cage);
        }
        let is_theirs = |folder: &PathBuf| {
            let plain = fs::symlink_metadata(folder);
            plain.map_or(true, |data| data.is_dir() && data.uid() == self.uid)
        };
        if me != 0 || !cage.cgroups.iter().all(is_theirs) || !self.end_process() {
            return None;
        }
        cage.bundle = None;
        cage.pid = 0;
        Some(cage)
    }

    /// Ends the first process of a cage of another user, if it lives. False when it is not that
    /// user's.
    fn end_process(&self) -> bool {
        let cage = &self.lease.cage;
        let pid = i32::try_from(cage.pid).ok().and_then(Pid::from_raw);
        // In this order: the handle stays that of the process which is looked at after it.
        let Some(pidfd) = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else {
            return true;
        };
        if boot_id() != cage.boot || living_since(cage.pid) != Some(cage.start_time) {
            return true;
        }
        if process_uid(cage.pid) != Some(self.uid) {
            return false;
        }
        // One that has ended meanwhile is as well.
        let _ = pidfd_send_signal(&pidfd, Signal::KILL);
        true
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

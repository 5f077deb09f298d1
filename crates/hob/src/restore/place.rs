use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, lchown},
    path::{Path, PathBuf},
};

use hob_model::backup::{DATABASE, TOP};
use hob_store::{DataLock, LOCK, RESTORING};

use crate::exit::Failure;

/// Where a killed server kept its sockets.
const RUN: &str = "run";

/// An empty data directory that nobody else works in, and a folder in it. Whatever is not
/// [settled](Place::settle) goes when this is dropped.
pub(super) struct Place {
    data: PathBuf,
    folder: PathBuf,
    /// Whether the data directory was made for this.
    made: bool,
    settled: bool,
    _lock: DataLock,
}

// === impl Place ===

impl Place {
    /// Takes the data directory `data`, as a server would.
    ///
    /// # Errors
    /// When it is in use, or not empty; then it is as it was.
    pub(super) fn take(data: &Path) -> anyhow::Result<Self> {
        let made = !data.exists();
        let cannot = |error: io::Error| {
            Failure::failed(format!("cannot restore into {}: {error}", data.display()))
        };
        fs::create_dir_all(data).map_err(cannot)?;
        let had_lock = data.join(LOCK).exists();
        let lock = DataLock::take(data)?;
        let folder = data.join(RESTORING);
        if let Err(error) = clear(data, &folder) {
            if !had_lock {
                // Best effort: what matters is why it was refused.
                let _ = fs::remove_file(data.join(LOCK));
            }
            return Err(error);
        }
        let mut private = fs::DirBuilder::new();
        private.mode(0o700).create(&folder).map_err(cannot)?;
        Ok(Self {
            data: data.to_owned(),
            folder,
            made,
            settled: false,
            _lock: lock,
        })
    }

    /// Where to unpack.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Puts everything in its place, on the disk first; the database comes last, since a server
    /// without it starts anew.
    ///
    /// # Errors
    /// The disk's. What is in its place by then goes at the next attempt.
    pub(super) fn settle(mut self) -> anyhow::Result<()> {
        give_to_owner(&self.folder, &fs::metadata(&self.data)?)?;
        let data = File::open(&self.data)?;
        rustix::fs::syncfs(&data)?;
        self.settled = true;
        let others = TOP.iter().filter(|name| **name != DATABASE);
        for name in others.chain([&DATABASE]) {
            let from = self.folder.join(name);
            if *name == DATABASE {
                data.sync_all()?;
            }
            if from.exists() {
                fs::rename(from, self.data.join(name))?;
            }
        }
        data.sync_all()?;
        fs::remove_dir_all(&self.folder)?;
        data.sync_all()?;
        Ok(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        // Best effort: why it failed is on its way to the user, and the next attempt clears up.
        let _ = fs::remove_dir_all(&self.folder);
        if self.made {
            let _ = fs::remove_file(self.data.join(LOCK));
            let _ = fs::remove_dir(&self.data);
        }
    }
}

/// Takes away what a restore that was cut short has left. Anything else is somebody's.
fn clear(data: &Path, folder: &Path) -> anyhow::Result<()> {
    // The last step was under way: all is in its place.
    if data.join(DATABASE).exists() && folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    let cut_short = folder.exists();
    for entry in fs::read_dir(data)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == OsStr::new(LOCK) || name == OsStr::new(RUN) {
            continue;
        }
        if !cut_short {
            let (name, data) = (name.to_string_lossy(), data.display());
            let message = format!(
                "{data} is not empty, {name} is in it: name a new directory with --data DIR, or move this one away (`mv {data} {data}.old`)"
            );
            return Err(Failure::failed(message).into());
        }
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// When root restores for somebody else, who owns the data directory, all of it is theirs.
fn give_to_owner(folder: &Path, owner: &fs::Metadata) -> io::Result<()> {
    if owner.uid() == rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        lchown(&path, Some(owner.uid()), Some(owner.gid()))?;
        if path.symlink_metadata()?.is_dir() {
            for entry in fs::read_dir(&path)? {
                open.push(entry?.path());
            }
        }
    }
    Ok(())
}

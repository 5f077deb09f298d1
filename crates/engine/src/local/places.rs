use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
};

use hob_model::FunctionName;

use crate::remove;

/// Folders on the way to what a cage may use: anyone may pass through, only hob may list.
const PASSAGE_MODE: u32 = 0o711;
/// Folders of one replica or function: its own user and nobody else.
const OWN_MODE: u32 = 0o700;

/// The user and group of files that a cage's program owns; `None` is hob's own.
pub(super) type Owner = Option<(u32, u32)>;

/// Where everything that belongs to replicas lies on the host.
#[derive(Debug)]
pub(super) struct Places {
    /// Survives a restart of the machine: bundles, logs.
    data: PathBuf,
    /// Gone with a restart of the machine, best on tmpfs: sockets, records, secrets in the clear.
    run: PathBuf,
}

impl Places {
    pub(super) fn new(data: PathBuf, run: PathBuf) -> Self {
        Self { data, run }
    }

    pub(super) fn bundle(&self, digest: &str) -> PathBuf {
        self.data.join("bundles").join(digest)
    }

    /// A layer of an image, unpacked.
    pub(super) fn layer(&self, name: &str) -> PathBuf {
        self.data.join("layers").join(name)
    }

    /// The file that all cages of images see as `/etc/hosts`.
    pub(super) fn hosts(&self) -> PathBuf {
        self.run.join("hosts")
    }

    /// Logs of all replicas of `function`.
    pub(super) fn logs(&self, function: &FunctionName) -> PathBuf {
        let namespace = self.data.join("logs").join(function.namespace());
        namespace.join(function.name())
    }

    /// The secrets of `function` in the clear, bound into its cages; `owner` is their user where
    /// that is not the usual one.
    pub(super) fn secrets(&self, function: &FunctionName, owner: Owner) -> PathBuf {
        match owner {
            Some((uid, gid)) => {
                let namespace = self.private().join("secrets").join(function.namespace());
                // No function's name has a dot.
                namespace.join(format!("{}.{uid}.{gid}", function.name()))
            }
            None => {
                let namespace = self.run.join("secrets").join(function.namespace());
                namespace.join(function.name())
            }
        }
    }

    /// What belongs to users that images name, who may be people of this machine as well: nobody
    /// but root gets here, and the cages that see it are made by root.
    fn private(&self) -> PathBuf {
        self.run.join("x")
    }

    /// The replica's own folder, which holds its socket. The name is short, since the path of a
    /// unix socket has to fit into 107 bytes. `owner` is its user where that is not the usual one.
    pub(super) fn replica(&self, id: &str, owner: Owner) -> PathBuf {
        match owner {
            Some(_) => self.private().join(id),
            None => self.run.join("r").join(id),
        }
    }

    /// What ordinary tools and the next daemon can know of a running replica.
    pub(super) fn record(&self, id: &str) -> PathBuf {
        self.records().join(format!("{id}.json"))
    }

    /// The records of all replicas.
    pub(super) fn records(&self) -> PathBuf {
        self.run.join("replicas")
    }

    /// Removes what replicas of an earlier daemon left, but for the paths `kept` and the folders
    /// on the way to them, and makes the folders anew.
    pub(super) fn reset(&self, kept: &BTreeSet<PathBuf>) -> io::Result<()> {
        for name in ["r", "secrets", "replicas", "x"] {
            clear_but(&self.run.join(name), kept)?;
        }
        passage(&self.run)?;
        for name in ["r", "secrets", "replicas"] {
            passage(&self.run.join(name))?;
        }
        match self.private().is_dir() {
            true => Ok(()),
            false => own_folder(&self.private(), None),
        }
    }

    /// Removes everything that only makes sense while replicas run.
    pub(super) fn clear(&self) -> io::Result<()> {
        for name in ["r", "secrets", "replicas", "x"] {
            remove_tree(&self.run.join(name))?;
        }
        Ok(())
    }
}

/// Removes what is at `path`, but for the paths `kept` and the folders on the way to them.
fn clear_but(path: &Path, kept: &BTreeSet<PathBuf>) -> io::Result<()> {
    if kept.contains(path) {
        return Ok(());
    }
    let on_the_way = kept.iter().any(|kept| kept.starts_with(path));
    match fs::symlink_metadata(path) {
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(problem) => Err(problem),
        Ok(found) if !found.is_dir() => remove_file(path),
        Ok(_) if !on_the_way => remove_tree(path),
        Ok(_) => fs::read_dir(path)?.try_for_each(|entry| clear_but(&entry?.path(), kept)),
    }
}

/// Makes a folder that cages reach through but cannot list, parents included.
pub(super) fn passage(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(PASSAGE_MODE))
}

/// Hands a file or folder to `owner`, the user of the cages; `None` leaves it to hob's own.
pub(super) fn give(path: &Path, owner: Owner) -> io::Result<()> {
    owner.map_or(Ok(()), |(uid, gid)| chown(path, Some(uid), Some(gid)))
}

/// Makes a new folder that only `owner` may use. Fails if there is one of that name.
pub(super) fn own_folder(path: &Path, owner: Owner) -> io::Result<()> {
    fs::create_dir(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(OWN_MODE))?;
    give(path, owner)
}

/// Removes a folder with all that is in it, and does not mind if there is nothing.
pub(super) fn remove_tree(path: &Path) -> io::Result<()> {
    match remove::remove_tree(path) {
        Err(problem) if problem.kind() != io::ErrorKind::NotFound => Err(problem),
        _ => Ok(()),
    }
}

/// `fs::remove_file` that does not mind if there is nothing.
pub(super) fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(problem) if problem.kind() != io::ErrorKind::NotFound => Err(problem),
        _ => Ok(()),
    }
}

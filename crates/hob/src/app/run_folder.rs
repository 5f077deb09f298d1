use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use anyhow::Context;
use rustix::fs::statfs;

use crate::environment::Environment;

/// Type of a tmpfs in `statfs` (linux/magic.h).
const TMPFS_MAGIC: u64 = 0x0102_1994;
/// Cages reach their sockets through it, but nobody else may list it.
const MODE: u32 = 0o711;

/// Sockets, records of replicas, and secrets in the clear: in memory only, and gone with the
/// server. `<data>/run` is a link to it.
#[derive(Debug)]
pub(crate) struct RunFolder {
    path: PathBuf,
    /// Where the data directory has a link to it.
    link: Option<PathBuf>,
    on_tmpfs: bool,
}

impl RunFolder {
    /// Makes the folder for the data directory `data`, which nobody else uses now. `id` tells it
    /// from those of other data directories.
    pub(crate) fn make(data: &Path, id: &str, env: &Environment) -> anyhow::Result<Self> {
        let link = data.join("run");
        for path in candidates(id, env) {
            if !is_tmpfs(&path) || own(&path).is_err() {
                continue;
            }
            point(&link, &path)
                .with_context(|| format!("cannot make the link {}", link.display()))?;
            return Ok(Self {
                path,
                link: Some(link),
                on_tmpfs: true,
            });
        }
        if link.is_symlink() {
            fs::remove_file(&link)?;
        }
        own(&link).with_context(|| format!("cannot make the folder {}", link.display()))?;
        Ok(Self {
            path: link,
            link: None,
            on_tmpfs: false,
        })
    }

    /// Makes one for a process that keeps no data. `id` tells it from all others on the machine.
    pub(crate) fn apart(id: &str, env: &Environment) -> anyhow::Result<Self> {
        let path = candidates(id, env)
            .into_iter()
            .find(|path| is_tmpfs(path) && own(path).is_ok())
            .context("no tmpfs is at hand: mount one at /dev/shm, or set XDG_RUNTIME_DIR to one")?;
        Ok(Self {
            path,
            link: None,
            on_tmpfs: true,
        })
    }

    /// Where it is, with no link in the path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What an owner of this machine should know.
    pub(crate) fn warning(&self) -> Option<String> {
        (!self.on_tmpfs).then(|| {
            format!(
                "no tmpfs is at hand for {}: secrets of running functions are written to disk",
                self.path.display()
            )
        })
    }

    /// Takes folder and link away.
    pub(crate) fn remove(self) -> io::Result<()> {
        self.clear()
    }

    fn clear(&self) -> io::Result<()> {
        fs::remove_dir_all(&self.path)?;
        if let Some(link) = &self.link {
            fs::remove_file(link)?;
        }
        Ok(())
    }
}

/// A start that fails half-way leaves nothing, but for replicas that wait for the next server.
impl Drop for RunFolder {
    fn drop(&mut self) {
        let records = fs::read_dir(self.path.join("replicas"));
        if records.is_ok_and(|mut records| records.next().is_some()) {
            return;
        }
        let _ = self.clear();
    }
}

/// Where a private folder on a tmpfs may be had, the best place first.
pub(crate) fn candidates(id: &str, env: &Environment) -> Vec<PathBuf> {
    let mut places = Vec::new();
    if env.root {
        places.push(format!("/run/hob-{id}").into());
    }
    if let Some(runtime) = env.path("XDG_RUNTIME_DIR") {
        places.push(runtime.join(format!("hob-{id}")));
    }
    let uid = rustix::process::geteuid().as_raw();
    places.push(format!("/dev/shm/hob-{uid}-{id}").into());
    places
}

/// Whether `path`, or where it would be made, is on a tmpfs.
pub(crate) fn is_tmpfs(path: &Path) -> bool {
    let Some(parent) = path.parent() else {
        return false;
    };
    statfs(parent).is_ok_and(|stat| u64::try_from(stat.f_type) == Ok(TMPFS_MAGIC))
}

/// Makes the folder, or takes it over when it is ours already: `/dev/shm` is everybody's.
fn own(path: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(MODE).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let data = fs::symlink_metadata(path)?;
    let ours = data.is_dir() && data.uid() == rustix::process::geteuid().as_raw();
    if !ours {
        return Err(io::Error::other("belongs to somebody else"));
    }
    fs::set_permissions(path, fs::Permissions::from_mode(MODE))
}

/// Makes `link` point to `path`, whatever was there of an earlier server.
fn point(link: &Path, path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(link) {
        Ok(old) if old.is_dir() => fs::remove_dir_all(link)?,
        Ok(_) => fs::remove_file(link)?,
        Err(_) => {}
    }
    symlink(path, link)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_the_server_before_is_taken_over() {
        let data = tempfile::tempdir().expect("temp dir");
        let id = format!("test-{}", std::process::id());
        let make = || RunFolder::make(data.path(), &id, &Environment::default()).expect("makes");
        // As after a kill: nothing is dropped.
        let first = std::mem::ManuallyDrop::new(make());
        fs::write(first.path().join("leftover"), "x").expect("file");
        let second = make();
        assert_eq!(first.path(), second.path());
        let link = data.path().join("run");
        assert_eq!(
            link.canonicalize().expect("there"),
            second.path().canonicalize().expect("there")
        );
        second.remove().expect("removes");
        assert!(!first.path().exists() && !link.is_symlink());
    }

    #[test]
    fn a_folder_of_somebody_else_is_not_used() {
        let above = tempfile::tempdir().expect("temp dir");
        let trap = above.path().join("hob-x");
        symlink("/etc", &trap).expect("link");
        assert!(own(&trap).is_err());
    }
}

//! The temporary folder of one build, gone with it whatever happens.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt, lchown},
    path::{Path, PathBuf},
};

use hob_sandbox::CAGE_UID;

use super::tree::Tree;
use crate::remove::remove_tree;

/// `<data>/tmp/<random>`; removed on drop.
#[derive(Debug)]
pub(crate) struct Workplace {
    root: tempfile::TempDir,
}

impl Workplace {
    /// Makes a new one in `tmp`.
    pub(crate) fn new(tmp: &Path) -> io::Result<Self> {
        fs::create_dir_all(tmp)?;
        let root = tempfile::Builder::new()
            .prefix("build-")
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir_in(tmp)?;
        for part in ["function", "scratch", "settings"] {
            fs::create_dir(root.path().join(part))?;
        }
        let place = Self { root };
        give_to_cage(&place.scratch())?;
        Ok(place)
    }

    /// What becomes the bundle.
    pub(crate) fn function(&self) -> PathBuf {
        self.root.path().join("function")
    }

    /// Home and temporary folder of tools that have no private `/tmp`.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.root.path().join("scratch")
    }

    /// Private copies of the owner's settings for tools.
    pub(crate) fn settings(&self) -> PathBuf {
        self.root.path().join("settings")
    }

    /// The file of this name, in no use yet.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        let _ = remove_tree(self.root.path());
    }
}

/// Lets the user of cages write `path`, and everything below it.
pub(crate) fn give_to_cage(path: &Path) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    lchown(path, Some(CAGE_UID), Some(CAGE_UID))?;
    if path.is_dir() {
        for node in Tree::read(path, None)?.entries() {
            lchown(path.join(&node.path), Some(CAGE_UID), Some(CAGE_UID))?;
        }
    }
    Ok(())
}

/// Makes a folder that tools keep between builds.
pub(super) fn make_cache(cache: &Path) -> io::Result<()> {
    if !cache.is_dir() {
        fs::create_dir_all(cache)?;
        give_to_cage(cache)?;
    }
    Ok(())
}

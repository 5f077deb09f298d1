//! A folder to unpack into, and a canary beside it that must live.

use std::{
    env, fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
};

use hob_image::{Rule, UnpackError, UnpackLimits, Unpacked, unpack_layer};
use tempfile::TempDir;

const CANARY: &str = "alive";

pub(crate) struct Place {
    outside: TempDir,
    pub(crate) target: PathBuf,
    canary: PathBuf,
}

// === impl Place ===

impl Place {
    pub(crate) fn new() -> Self {
        let outside = tempfile::tempdir().unwrap();
        let (target, canary) = (outside.path().join("target"), outside.path().join("canary"));
        fs::create_dir(&target).unwrap();
        fs::write(&canary, CANARY).unwrap();
        Self {
            outside,
            target,
            canary,
        }
    }

    /// Unpacks, and sees to it that nothing outside has changed.
    pub(crate) fn unpack(&self, layer: &[u8]) -> Result<Unpacked, UnpackError> {
        self.unpack_within(layer, &UnpackLimits::default())
    }

    pub(crate) fn unpack_within(
        &self,
        layer: &[u8],
        limits: &UnpackLimits,
    ) -> Result<Unpacked, UnpackError> {
        let unpacked = unpack_layer(layer, &self.target, limits);
        let outside = fs::read_dir(self.outside.path()).unwrap().count();
        assert_eq!(outside, 2, "something was made outside");
        assert_eq!(fs::read_to_string(&self.canary).unwrap(), CANARY);
        assert_eq!(fs::metadata(&self.canary).unwrap().nlink(), 1);
        unpacked
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.target.join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn metadata(&self, name: &str) -> fs::Metadata {
        fs::symlink_metadata(self.path(name)).unwrap()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        fs::symlink_metadata(self.path(name)).is_ok()
    }

    pub(crate) fn is_whiteout(&self, name: &str) -> bool {
        let metadata = self.metadata(name);
        metadata.file_type().is_char_device() && metadata.rdev() == 0
    }

    pub(crate) fn is_opaque(&self, name: &str) -> bool {
        xattr(&self.path(name), "user.overlay.opaque").as_deref() == Some(b"y")
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.target).unwrap();
        let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
        let mut names: Vec<_> = entries.map(|entry| name(entry.unwrap())).collect();
        names.sort();
        names
    }
}

/// The rule that the layer breaks, and the entry that breaks it.
pub(crate) fn refusal(layer: &[u8]) -> (String, Rule) {
    refusal_within(layer, &UnpackLimits::default())
}

pub(crate) fn refusal_within(layer: &[u8], limits: &UnpackLimits) -> (String, Rule) {
    match Place::new().unpack_within(layer, limits) {
        Err(UnpackError::Refused { entry, rule }) => (entry, rule),
        other => panic!("not refused: {other:?}"),
    }
}

pub(crate) fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = vec![0; 1 << 16];
    let length = rustix::fs::lgetxattr(path, name, &mut value[..]).ok()?;
    value.truncate(length);
    Some(value)
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether this runs as root. What cannot be tested says so, and must be where `CI=true`.
pub(crate) fn needs_root() -> bool {
    is_root() || not_tested("not root")
}

pub(crate) fn needs_programs(programs: &[&str]) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = env::split_paths(&path).collect();
    let there = |program: &str| folders.iter().any(|folder| folder.join(program).is_file());
    let missing: Vec<_> = programs.iter().filter(|program| !there(program)).collect();
    missing.is_empty() || not_tested(&format!("this machine has no {missing:?}"))
}

pub(crate) fn not_tested(why: &str) -> bool {
    let must = env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(!must, "NOT TESTED: {why}");
    eprintln!("NOT TESTED: {why}");
    false
}

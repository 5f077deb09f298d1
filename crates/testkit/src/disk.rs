use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

/// What fills a disk.
const BALLAST: &str = "ballast";
/// Written at once, in bytes; then less and less, to the last block.
const CHUNK: usize = 1 << 20;

/// A small disk of its own, which a test may fill: a tmpfs, unmounted when this is dropped. Declare
/// it before the server that works on it, or keep it longer.
#[derive(Debug)]
pub struct Disk {
    folder: TempDir,
}

impl Disk {
    /// Makes one of `mebibytes`; `None`, and a loud word, where this user may not mount.
    ///
    /// # Panics
    /// When the mount fails where it should work, or `CI` is `true` and it cannot work.
    pub fn new(mebibytes: u32) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            let line = "NOT TESTED: only root can make a disk to fill";
            assert!(!std::env::var("CI").is_ok_and(|ci| ci == "true"), "{line}");
            eprintln!("{line}");
            return None;
        }
        let folder = tempfile::Builder::new()
            .prefix("hob-disk-")
            .tempdir()
            .expect("a temporary folder");
        let options = format!("size={mebibytes}m,mode=0755");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "hob-test"])
            .arg(folder.path())
            .output()
            .expect("mount starts");
        assert!(mounted.status.success(), "{mounted:?}");
        Some(Self { folder })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A new folder on it that everybody may pass through, as for a data directory.
    ///
    /// # Panics
    /// When it is full.
    pub fn folder(&self) -> TempDir {
        super::hob::data_folder_in(self.path())
    }

    /// Leaves not a byte.
    ///
    /// # Panics
    /// When it fails for another reason than want of room.
    pub fn fill(&self) {
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(self.ballast())
            .expect("a file");
        let zeros = vec![0; CHUNK];
        let mut size = CHUNK;
        while size > 0 {
            match file.write(&zeros[..size]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => size /= 2,
                Err(error) => panic!("the disk cannot be filled: {error}"),
            }
        }
    }

    /// Gives back all that [`Disk::fill`] took.
    ///
    /// # Panics
    /// When it was not filled.
    pub fn free(&self) {
        fs::remove_file(self.ballast()).expect("it was filled");
    }

    fn ballast(&self) -> PathBuf {
        self.path().join(BALLAST)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily, so that it goes for certain, whatever a failed test has left open.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

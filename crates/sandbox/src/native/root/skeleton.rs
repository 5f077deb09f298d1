//! The folders, links and small files of a root, and the places on which things are hung.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::{fd::OwnedFd, unix::fs::DirBuilderExt},
    path::{Path, PathBuf},
};

use super::mounts::Piece;

/// Links that programs expect beside the devices.
const DEVICE_LINKS: [(&str, &str); 4] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
];

/// A root that is being filled; paths given to it are those of the cage.
pub(super) struct Skeleton<'a> {
    /// Where it is now.
    pub(super) at: &'a Path,
}

// === impl Skeleton ===

impl Skeleton<'_> {
    /// Where `path` of the cage is now.
    pub(super) fn path(&self, path: &Path) -> PathBuf {
        self.at.join(path.strip_prefix("/").unwrap_or(path))
    }

    pub(super) fn folder(&self, path: &Path) -> io::Result<()> {
        let path = self.path(path);
        match DirBuilder::new().mode(0o755).create(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new().recursive(true).mode(0o755).create(path)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            outcome => outcome,
        }
    }

    pub(super) fn files(&self, files: &[(PathBuf, String)]) -> io::Result<()> {
        files.iter().try_for_each(|(path, text)| {
            path.parent().map_or(Ok(()), |folder| self.folder(folder))?;
            fs::write(self.path(path), text)
        })
    }

    /// A target that leads into what is not there yet must be there when it is hung in.
    pub(super) fn target(&self, piece: &Piece) -> io::Result<()> {
        let path = self.path(&piece.target);
        if fs::symlink_metadata(&path).is_ok() {
            return Ok(());
        }
        let made = if is_folder(&piece.tree)? {
            self.folder(&piece.target)
        } else {
            let folder = piece.target.parent();
            folder
                .map_or(Ok(()), |folder| self.folder(folder))
                .and_then(|()| File::create(path).map(drop))
        };
        match made {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            made => made,
        }
    }

    /// The last to be made: they would lead out of a root that is not entered yet.
    pub(super) fn device_links(&self) -> io::Result<()> {
        for (link, target) in DEVICE_LINKS {
            match std::os::unix::fs::symlink(target, self.path(Path::new(link))) {
                // A bind hangs there.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => made?,
            }
        }
        Ok(())
    }
}

fn is_folder(tree: &OwnedFd) -> io::Result<bool> {
    let kind = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(tree)?.st_mode);
    Ok(kind == rustix::fs::FileType::Directory)
}

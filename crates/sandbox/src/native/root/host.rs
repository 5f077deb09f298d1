//! A root that shows the host's own programs and libraries.

use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::{
    Hanging, fresh,
    mounts::{Piece, clone_tree, enter},
    skeleton::Skeleton,
};
use crate::{
    BOX,
    native::plan::{Failure, Root, Scratch, Standard},
};

/// Empty folders that every such cage has.
const FOLDERS: [&str; 10] = [
    "/proc", "/sys", "/tmp", "/dev", "/dev/shm", "/etc", "/run", "/var", "/var/tmp", "/home",
];

/// Enters an empty root, fills it, and returns what has to be hung in before it is sealed.
pub(super) fn build(
    plan: &Root,
    standard: &Standard,
    hanging: &Hanging,
) -> Result<Vec<Piece>, Failure> {
    let pieces = open(&standard.read_only)?;
    fresh(&plan.mount_point)
        .and_then(|()| enter(&plan.mount_point))
        .map_err(Failure::at("enter the new root"))?;
    let skeleton = Skeleton { at: Path::new("/") };
    let fill = || {
        FOLDERS
            .iter()
            .try_for_each(|folder| skeleton.folder(Path::new(folder)))?;
        if let Scratch::Box(_) = plan.scratch {
            skeleton.folder(Path::new(BOX))?;
        }
        for (link, target) in &standard.symlinks {
            std::os::unix::fs::symlink(target, link)?;
        }
        skeleton.device_links()?;
        skeleton.files(&plan.files)
    };
    fill().map_err(Failure::at("fill the new root"))?;
    // Before anything of the host is there, so that nothing can be made in the host's folders.
    hanging.make_targets(&skeleton)?;
    pieces
        .iter()
        .try_for_each(|piece| skeleton.target(piece))
        .map_err(Failure::at("make mount points"))?;
    Ok(pieces)
}

/// Opens pieces of the host that hang where they are on the host.
pub(super) fn open(paths: &[PathBuf]) -> Result<Vec<Piece>, Failure> {
    let mut pieces = Vec::with_capacity(paths.len());
    for path in paths {
        match clone_tree(path) {
            Ok(tree) => pieces.push(Piece {
                tree,
                target: path.clone(),
            }),
            // It was there when the daemon looked, and nobody asked for it by name.
            Err(Errno::NOENT) => {}
            Err(error) => return Err(Failure::at(format!("open {}", path.display()))(error)),
        }
    }
    Ok(pieces)
}

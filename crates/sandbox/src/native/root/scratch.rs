//! What a program may write to.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt, chown},
    path::Path,
};

use rustix::mount::MountFlags;

use super::mounts::{clone_tree, hang, mount, take_off};
use crate::{
    BOX,
    native::plan::{BoxSize, Failure, Scratch},
};

/// Size of a function's `/dev/shm`, in bytes; as Docker's. It counts as the cage's memory.
const SHM_SIZE: u64 = 64 << 20;

/// Folders of a box's filesystem, where they hang, and who may write to them.
pub(crate) const PARTS: [(&str, &str, u32); 3] = [
    ("box", BOX, 0o755),
    ("tmp", "/tmp", 0o1777),
    ("shm", "/dev/shm", 0o1777),
];

pub(super) fn hang_in(scratch: &Scratch) -> Result<(), Failure> {
    match scratch {
        Scratch::Tmp(size) => {
            tmpfs("/dev/shm", SHM_SIZE)?;
            tmpfs("/tmp", *size)
        }
        Scratch::Box(size) => hang_box(size).map_err(Failure::at("mount the box")),
    }
}

/// A folder in memory that everybody may write to.
fn tmpfs(target: &str, size: u64) -> Result<(), Failure> {
    let options = format!("size={size},mode=1777");
    mount("tmpfs", Path::new(target), MountFlags::empty(), &options)
        .map_err(Failure::at(format!("mount {target}")))
}

/// One filesystem, whose folders hang in three places, so that one size bounds all of them.
fn hang_box(size: &BoxSize) -> io::Result<()> {
    let place = Path::new(BOX);
    mount("tmpfs", place, MountFlags::empty(), &options(size))?;
    let mut trees = Vec::with_capacity(PARTS.len());
    for (name, target, mode) in PARTS {
        let folder = place.join(name);
        fs::DirBuilder::new().mode(0o700).create(&folder)?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(mode))?;
        if target == BOX {
            chown(&folder, Some(size.owner.0), Some(size.owner.1))?;
        }
        trees.push((clone_tree(&folder)?, target));
    }
    take_off(place)?;
    trees
        .iter()
        .try_for_each(|(tree, target)| hang(tree, Path::new(target)))
}

/// Sets another size than that with which it was made.
pub(crate) fn resize(size: &BoxSize) -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    let options = std::ffi::CString::new(options(size))?;
    Ok(rustix::mount::mount_remount(
        BOX,
        flags,
        options.as_c_str(),
    )?)
}

/// A size of 0 would mean none to the kernel.
fn options(size: &BoxSize) -> String {
    format!(
        "size={},nr_inodes={},mode=755",
        size.bytes.max(1),
        size.inodes.max(1)
    )
}

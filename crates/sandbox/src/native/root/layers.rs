//! A root made of an image's layers.
//!
//! The cage's own folders, files and mount points are the topmost layer of a read-only overlay:
//! where the image has a symlink or a file, the cage has its folder. So nothing of the image
//! can lead a mount elsewhere, and nothing is written to its layers.

use std::{
    os::fd::{AsRawFd, OwnedFd},
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{Mode, OFlags, ResolveFlags, open, openat2},
    io::Errno,
    mount::MountFlags,
};

use super::{
    Hanging, fresh,
    mounts::{Piece, clone_tree, enter, mount, take_off},
    skeleton::Skeleton,
};
use crate::native::plan::{Failure, Root};

/// Folders that every such cage has, whatever the image has there.
const FOLDERS: [&str; 6] = ["/proc", "/sys", "/dev", "/dev/shm", "/tmp", "/run"];

/// Layers hide what is below them by attributes in `user.overlay`, which hob may write without
/// root as well. There is no falling back to `trusted.overlay`: files that an image took away
/// would be there again.
const OPTIONS: &str = "userxattr,lowerdir=";

/// Enters the layers' root and returns what has to be hung in before it is sealed.
pub(super) fn build(
    plan: &Root,
    layers: &[PathBuf],
    cwd: &Path,
    hanging: &Hanging,
) -> Result<Vec<Piece>, Failure> {
    let mut folders = Vec::with_capacity(layers.len() + 1);
    let at = plan.mount_point.as_path();
    fresh(at).map_err(Failure::at("mount the skeleton"))?;
    let skeleton = Skeleton { at };
    fill(&skeleton, plan, hanging)?;
    folders.push(open_folder(at).map_err(Failure::at("open the skeleton"))?);
    for layer in layers {
        let folder = open_folder(layer);
        folders.push(folder.map_err(Failure::at(format!("open the layer {}", layer.display())))?);
    }
    // An image may have anything in its own, and this one also covers what /proc must not show.
    let sys = Piece {
        tree: clone_tree(&skeleton.path(Path::new("/sys"))).map_err(Failure::at("open /sys"))?,
        target: "/sys".into(),
    };
    overlay(&folders, at)?;
    if must_be_made(at, cwd) {
        take_off(at).map_err(Failure::at("take the layers off"))?;
        skeleton
            .folder(cwd)
            .map_err(Failure::at(format!("make the folder {}", cwd.display())))?;
        overlay(&folders, at)?;
    }
    enter(at).map_err(Failure::at("enter the new root"))?;
    Ok(vec![sys])
}

fn fill(skeleton: &Skeleton<'_>, plan: &Root, hanging: &Hanging) -> Result<(), Failure> {
    FOLDERS
        .iter()
        .try_for_each(|folder| skeleton.folder(Path::new(folder)))
        .and_then(|()| skeleton.files(&plan.files))
        .map_err(Failure::at("fill the skeleton"))?;
    hanging.make_targets(skeleton)?;
    skeleton
        .device_links()
        .map_err(Failure::at("fill the skeleton"))
}

/// As the host sees it, symlinks included.
fn open_folder(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    open(path, flags, Mode::empty())
}

/// Descriptors keep the text short, 128 folders take half of what the kernel reads, and free of
/// `:` and `,`. The newer mount calls take only 255 bytes, or one folder at a time since 6.5.
fn overlay(folders: &[OwnedFd], at: &Path) -> Result<(), Failure> {
    let name = |folder: &OwnedFd| format!("/proc/self/fd/{}", folder.as_raw_fd());
    let names: Vec<String> = folders.iter().map(name).collect();
    let options = format!("{OPTIONS}{}", names.join(":"));
    mount("overlay", at, MountFlags::RDONLY, &options).map_err(|error| {
        let cure = match error.raw_os_error() {
            Some(libc::ENODEV) => "; the kernel has no overlayfs: `modprobe overlay`",
            Some(libc::EPERM) => "; the kernel lets only root do this: run hob as root",
            Some(libc::EINVAL) => {
                "; use a kernel whose overlayfs knows `userxattr`, 5.11 or newer, and keep the layers \
                 on a plain filesystem"
            }
            _ => "",
        };
        Failure::at("mount the layers")(format!("{error}{cure}"))
    })
}

/// Whether the working directory is missing and can be had as a folder of the skeleton, which
/// must not hide a symlink of the image on the way there.
fn must_be_made(root: &Path, cwd: &Path) -> bool {
    let Ok(root) = open_folder(root) else {
        return false;
    };
    let look = |path: &Path, more: ResolveFlags| -> rustix::io::Result<()> {
        let inside = ResolveFlags::IN_ROOT | more;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat2(&root, path, flags, Mode::empty(), inside).map(drop)
    };
    let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
    if look(cwd, ResolveFlags::empty()) != Err(Errno::NOENT) || !cwd.components().all(plain) {
        return false;
    }
    let there = cwd
        .ancestors()
        .find(|path| look(path, ResolveFlags::empty()) != Err(Errno::NOENT));
    there.is_some_and(|path| look(path, ResolveFlags::NO_SYMLINKS).is_ok())
}

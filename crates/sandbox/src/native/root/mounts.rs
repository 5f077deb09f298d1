//! The calls that make and move mounts.

use std::{
    ffi::CString,
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::CWD,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags,
        MoveMountFlags, OpenTreeFlags, UnmountFlags, fsconfig_create, fsconfig_set_string, fsmount,
        fsopen, mount_change, move_mount, open_tree, unmount,
    },
};

/// What every mount of a cage has.
pub(super) const PLAIN: MountAttrFlags =
    MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NODEV);
/// What it has when nothing may be written to it.
pub(super) const SEALED: MountAttrFlags = PLAIN.union(MountAttrFlags::MOUNT_ATTR_RDONLY);

/// A piece of the host, opened and not yet hung in.
pub(super) struct Piece {
    pub(super) tree: OwnedFd,
    pub(super) target: PathBuf,
}

/// Or else what is mounted here would appear on the host.
pub(super) fn make_private() -> io::Result<()> {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    Ok(mount_change("/", private)?)
}

/// A copy of the mounts at and below `path`, which hangs nowhere yet.
pub(super) fn clone_tree(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    open_tree(CWD, path, flags)
}

/// A fresh filesystem, which hangs nowhere yet.
pub(super) fn filesystem(kind: &str, options: &[(&str, &str)]) -> rustix::io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        fsconfig_set_string(context.as_fd(), *key, *value)?;
    }
    fsconfig_create(context.as_fd())?;
    fsmount(
        context.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        PLAIN | MountAttrFlags::MOUNT_ATTR_NOEXEC,
    )
}

/// A fresh filesystem at `target`. Takes options of up to 4,095 bytes in all, where those of
/// [`filesystem`] end at 255 each.
pub(super) fn mount(kind: &str, target: &Path, flags: MountFlags, options: &str) -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | flags;
    let options = CString::new(options)?;
    Ok(rustix::mount::mount(
        "hob",
        target,
        kind,
        flags,
        options.as_c_str(),
    )?)
}

/// Puts what is mounted at `root` in place of the host's root, which is then out of reach.
pub(super) fn enter(root: &Path) -> io::Result<()> {
    rustix::process::chdir(root)?;
    // The old root ends up on top of the new one, from where it is taken off.
    rustix::process::pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir("/")?)
}

/// Takes off what was mounted at `target` last.
pub(super) fn take_off(target: &Path) -> io::Result<()> {
    Ok(unmount(target, UnmountFlags::DETACH)?)
}

/// Hangs a tree in.
pub(super) fn hang(tree: &OwnedFd, target: &Path) -> io::Result<()> {
    Ok(move_mount(
        tree,
        "",
        CWD,
        target,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )?)
}

/// Adds attributes to a mount and all below it.
pub(super) fn set_attributes(
    folder: impl AsFd,
    path: &str,
    attributes: MountAttrFlags,
) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: u64::from(attributes.bits()),
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    let path = CString::new(path)?;
    // SAFETY: path and attributes outlive the call, which reads as many bytes as it is told.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            folder.as_fd().as_raw_fd(),
            path.as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

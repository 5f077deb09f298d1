//! The root of a container cage, put together in its own mount namespace.
//!
//! Everything of the host is opened first, as the host sees it; then the new root is entered and
//! the old one let go; then what was opened is hung into place. So no path of the cage can ever
//! be resolved against the host, and no symlink of the host against the cage.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::fs::DirBuilderExt,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::CWD,
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags,
        MoveMountFlags, OpenTreeFlags, UnmountFlags, fsconfig_create, fsconfig_set_string, fsmount,
        fsopen, mount_change, move_mount, open_tree, unmount,
    },
};

use super::{
    plan::{Failure, Root},
    standard::DEVICES,
};
use crate::{Access, Bind};

/// Size of `/dev/shm`, in bytes; as Docker's. It counts as the cage's memory.
const SHM_SIZE: u64 = 64 << 20;
/// Size of the root itself, in bytes: it holds folders, links and a few small files.
const ROOT_SIZE: u64 = 1 << 20;

/// Links that programs expect beside them.
const DEVICE_LINKS: [(&str, &str); 4] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
];
/// Empty folders that every cage has.
const FOLDERS: [&str; 10] = [
    "/proc", "/sys", "/tmp", "/dev", "/dev/shm", "/etc", "/run", "/var", "/var/tmp", "/home",
];

/// Parts of `/proc` that tell of the host or of the kernel's insides, as in Docker's default.
const HIDDEN: [&str; 9] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
];
/// Parts of `/proc` that change the host when written.
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

const PLAIN: MountAttrFlags =
    MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NODEV);

/// A piece of the host, opened and not yet hung in.
struct Piece {
    tree: OwnedFd,
    target: PathBuf,
}

/// Makes this process see nothing but the new root.
pub(crate) fn build(plan: &Root) -> Result<(), Failure> {
    rustix::system::sethostname(plan.hostname.as_bytes())
        .map_err(Failure::at("set the hostname"))?;
    // Or else what is mounted here would appear on the host.
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).map_err(Failure::at("make mounts private"))?;

    let standard = open_standard(&plan.standard.read_only)?;
    let devices = open_standard(&DEVICES.map(PathBuf::from))?;
    let binds = plan
        .binds
        .iter()
        .map(open_bind)
        .collect::<Result<Vec<_>, _>>()?;
    // Before the host's /proc is gone: a user namespace may mount one only while it sees one.
    let proc = filesystem("proc", &[]).map_err(Failure::at("mount /proc"))?;

    enter(&plan.mount_point).map_err(Failure::at("enter the new root"))?;
    skeleton(plan).map_err(Failure::at("fill the new root"))?;
    // Before anything of the host is there, so that nothing can be made in the host's folders.
    binds
        .iter()
        .chain(&devices)
        .try_for_each(make_target)
        .map_err(Failure::at("make mount points"))?;
    hang_all(&standard)?;
    // Recursively, so one call seals all that was hung in so far.
    set_attributes(CWD, "/", PLAIN | MountAttrFlags::MOUNT_ATTR_RDONLY)
        .map_err(Failure::at("seal the root"))?;

    hang(&proc, Path::new("/proc")).map_err(Failure::at("mount /proc"))?;
    hang_all(&devices)?;
    mask_proc()?;
    tmpfs("/dev/shm", SHM_SIZE)?;
    tmpfs("/tmp", plan.tmp)?;
    // The private /tmp has just covered the mount points that were made below it.
    binds
        .iter()
        .filter(|piece| piece.target.starts_with("/tmp"))
        .try_for_each(make_target)
        .map_err(Failure::at("make mount points in /tmp"))?;
    plan.binds
        .iter()
        .zip(&binds)
        .try_for_each(|(bind, piece)| hang_bind(bind, piece))
}

// === opening what the host has ===

fn open_standard(paths: &[PathBuf]) -> Result<Vec<Piece>, Failure> {
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

fn open_bind(bind: &Bind) -> Result<Piece, Failure> {
    let tree =
        clone_tree(&bind.source).map_err(Failure::at(format!("bind {}", bind.source.display())))?;
    Ok(Piece {
        tree,
        target: bind.target.clone(),
    })
}

/// A copy of the mounts at and below `path`, which hangs nowhere yet.
fn clone_tree(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    open_tree(CWD, path, flags)
}

/// A fresh filesystem, which hangs nowhere yet.
fn filesystem(kind: &str, options: &[(&str, &str)]) -> rustix::io::Result<OwnedFd> {
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

// === the new root ===

/// Puts an empty root in place of the host's, which is then out of reach.
fn enter(mount_point: &Path) -> io::Result<()> {
    let options = format!("size={ROOT_SIZE},mode=755\0");
    let options =
        std::ffi::CStr::from_bytes_with_nul(options.as_bytes()).map_err(io::Error::other)?;
    rustix::mount::mount(
        "hob",
        mount_point,
        "tmpfs",
        MountFlags::NOSUID | MountFlags::NODEV,
        options,
    )?;
    rustix::process::chdir(mount_point)?;
    // The old root ends up on top of the new one, from where it is taken off.
    rustix::process::pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir("/")?)
}

fn skeleton(plan: &Root) -> io::Result<()> {
    for folder in FOLDERS {
        folders(Path::new(folder))?;
    }
    let standard = plan
        .standard
        .symlinks
        .iter()
        .map(|(link, target)| (link.as_path(), target.as_path()));
    let devices = DEVICE_LINKS
        .iter()
        .map(|(link, target)| (Path::new(*link), Path::new(*target)));
    for (link, target) in standard.chain(devices) {
        std::os::unix::fs::symlink(target, link)?;
    }
    plan.files
        .iter()
        .try_for_each(|(path, text)| fs::write(path, text))
}

/// A target that leads into what is not there yet must be there when it is hung in.
fn make_target(piece: &Piece) -> io::Result<()> {
    if fs::symlink_metadata(&piece.target).is_ok() {
        return Ok(());
    }
    let made = if is_folder(&piece.tree)? {
        folders(&piece.target)
    } else {
        touch(&piece.target)
    };
    match made {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        made => made,
    }
}

fn touch(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), folders)?;
    File::create(path).map(drop)
}

fn folders(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o755).create(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o755).create(path)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        outcome => outcome,
    }
}

fn is_folder(tree: &OwnedFd) -> io::Result<bool> {
    let kind = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(tree)?.st_mode);
    Ok(kind == rustix::fs::FileType::Directory)
}

// === hanging things in ===

fn hang_all(pieces: &[Piece]) -> Result<(), Failure> {
    for piece in pieces {
        let step = || format!("mount {}", piece.target.display());
        make_target(piece)
            .and_then(|()| hang(&piece.tree, &piece.target))
            .map_err(|error| Failure::at(step())(error))?;
    }
    Ok(())
}

fn hang(tree: &OwnedFd, target: &Path) -> io::Result<()> {
    Ok(move_mount(
        tree,
        "",
        CWD,
        target,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )?)
}

fn hang_bind(bind: &Bind, piece: &Piece) -> Result<(), Failure> {
    let attributes = match bind.access {
        Access::ReadOnly => PLAIN | MountAttrFlags::MOUNT_ATTR_RDONLY,
        Access::ReadWrite => PLAIN,
    };
    let step = format!(
        "mount {} on {}",
        bind.source.display(),
        bind.target.display()
    );
    set_attributes(&piece.tree, "", attributes)
        .and_then(|()| hang(&piece.tree, &piece.target))
        .map_err(Failure::at(step))
}

fn tmpfs(target: &str, size: u64) -> Result<(), Failure> {
    let options = format!("size={size},mode=1777\0");
    let mount = || -> io::Result<()> {
        let options =
            std::ffi::CStr::from_bytes_with_nul(options.as_bytes()).map_err(io::Error::other)?;
        Ok(rustix::mount::mount(
            "hob",
            target,
            "tmpfs",
            MountFlags::NOSUID | MountFlags::NODEV,
            options,
        )?)
    };
    mount().map_err(Failure::at(format!("mount {target}")))
}

fn mask_proc() -> Result<(), Failure> {
    // The root's own, which is empty and sealed.
    let nothing = Path::new("/sys");
    for path in HIDDEN.map(Path::new) {
        let Ok(found) = fs::metadata(path) else {
            continue;
        };
        let cover = if found.is_dir() {
            clone_tree(nothing)
        } else {
            clone_tree(Path::new(DEVICES[0]))
        };
        let hidden = cover
            .map_err(io::Error::from)
            .and_then(|cover| hang(&cover, path));
        hidden.map_err(Failure::at(format!("hide {}", path.display())))?;
    }
    for path in READ_ONLY.map(Path::new) {
        match clone_tree(path) {
            Err(Errno::NOENT) => continue,
            tree => tree.map_err(io::Error::from).and_then(|tree| {
                set_attributes(&tree, "", PLAIN | MountAttrFlags::MOUNT_ATTR_RDONLY)?;
                hang(&tree, path)
            }),
        }
        .map_err(Failure::at(format!("protect {}", path.display())))?;
    }
    Ok(())
}

/// Adds attributes to a mount and all below it.
fn set_attributes(folder: impl AsFd, path: &str, attributes: MountAttrFlags) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: u64::from(attributes.bits()),
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    let path = std::ffi::CString::new(path)?;
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

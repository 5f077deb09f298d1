//! The root of a container cage, put together in its own mount namespace.
//!
//! Everything of the host is opened first, as the host sees it; then the new root is entered and
//! the old one let go; then what was opened is hung into place. So no path of the cage can ever
//! be resolved against the host, and no symlink of the host against the cage.

use std::{
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{fs::CWD, mount::MountFlags};

use super::{
    identity,
    plan::{Base, Failure, Root},
    standard::DEVICES,
};
use crate::{Access, Bind};

mod host;
mod layers;
mod mounts;
mod proc;
mod scratch;
mod skeleton;

pub(crate) use scratch::{PARTS, resize};

use mounts::{Piece, clone_tree, hang, set_attributes};
use skeleton::Skeleton;

/// Size of the root itself, in bytes: it holds folders, links and a few small files.
const ROOT_SIZE: u64 = 1 << 20;

/// What is hung into the finished root, opened as the host sees it.
struct Hanging {
    proc: OwnedFd,
    devices: Vec<Piece>,
    binds: Vec<Piece>,
}

/// Makes this process see nothing but the new root. `cwd` is where the program will start.
pub(crate) fn build(plan: &Root, cwd: &Path) -> Result<(), Failure> {
    rustix::system::sethostname(plan.hostname.as_bytes())
        .map_err(Failure::at("set the hostname"))?;
    identity::set_umask();
    mounts::make_private().map_err(Failure::at("make mounts private"))?;
    let hanging = Hanging::open(plan)?;
    let pieces = match &plan.base {
        Base::Host(standard) => host::build(plan, standard, &hanging),
        Base::Layers(folders) => layers::build(plan, folders, cwd, &hanging),
    }?;
    hang_all(&pieces)?;
    // Recursively, so one call seals all that was hung in so far.
    set_attributes(CWD, "/", mounts::SEALED).map_err(Failure::at("seal the root"))?;

    hang(&hanging.proc, Path::new("/proc")).map_err(Failure::at("mount /proc"))?;
    hang_all(&hanging.devices)?;
    proc::mask(plan.proc)?;
    if let Base::Host(standard) = &plan.base {
        standard.covered.iter().try_for_each(|path| hide(path))?;
    }
    scratch::hang_in(&plan.scratch)?;
    // The private /tmp has just covered the mount points that were made below it.
    let skeleton = Skeleton { at: Path::new("/") };
    hanging
        .binds
        .iter()
        .filter(|piece| piece.target.starts_with("/tmp"))
        .try_for_each(|piece| skeleton.target(piece))
        .map_err(Failure::at("make mount points in /tmp"))?;
    plan.binds
        .iter()
        .zip(&hanging.binds)
        .try_for_each(|(bind, piece)| hang_bind(bind, piece))
}

// === impl Hanging ===

impl Hanging {
    fn open(plan: &Root) -> Result<Self, Failure> {
        let bind = |bind: &Bind| -> Result<Piece, Failure> {
            let step = format!("bind {}", bind.source.display());
            Ok(Piece {
                tree: clone_tree(&bind.source).map_err(Failure::at(step))?,
                target: bind.target.clone(),
            })
        };
        Ok(Self {
            devices: host::open(&DEVICES.map(PathBuf::from))?,
            binds: plan.binds.iter().map(bind).collect::<Result<_, _>>()?,
            // Before the host's /proc is gone: a user namespace may mount one only while it sees
            // one.
            proc: proc::open(plan.proc).map_err(Failure::at("mount /proc"))?,
        })
    }

    fn make_targets(&self, skeleton: &Skeleton<'_>) -> Result<(), Failure> {
        self.binds
            .iter()
            .chain(&self.devices)
            .try_for_each(|piece| skeleton.target(piece))
            .map_err(Failure::at("make mount points"))
    }
}

/// An empty filesystem in memory, for folders and mount points.
fn fresh(mount_point: &Path) -> io::Result<()> {
    let options = format!("size={ROOT_SIZE},mode=755");
    mounts::mount("tmpfs", mount_point, MountFlags::empty(), &options)
}

// === hanging things in ===

fn hang_all(pieces: &[Piece]) -> Result<(), Failure> {
    pieces.iter().try_for_each(|piece| {
        hang(&piece.tree, &piece.target)
            .map_err(Failure::at(format!("mount {}", piece.target.display())))
    })
}

/// Covers what is not to be seen, where it is there, by something empty.
fn hide(path: &Path) -> Result<(), Failure> {
    let Ok(found) = fs::metadata(path) else {
        return Ok(());
    };
    let cover = if found.is_dir() {
        // The root's own, which is empty and sealed.
        clone_tree(Path::new("/sys"))
    } else {
        clone_tree(Path::new(DEVICES[0]))
    };
    let hidden = cover
        .map_err(io::Error::from)
        .and_then(|cover| hang(&cover, path));
    hidden.map_err(Failure::at(format!("hide {}", path.display())))
}

fn hang_bind(bind: &Bind, piece: &Piece) -> Result<(), Failure> {
    let attributes = match bind.access {
        Access::ReadOnly => mounts::SEALED,
        Access::ReadWrite => mounts::PLAIN,
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

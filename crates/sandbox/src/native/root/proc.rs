//! What of `/proc` a program sees.

use std::{
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::io::Errno;

use super::{
    hide,
    mounts::{self, clone_tree, hang, set_attributes},
};
use crate::native::plan::{Failure, Proc};

/// Where it is.
const PROC: &str = "/proc";

/// Parts that tell of the host or of the kernel's insides, as in Docker's default.
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

/// Parts that change the host when written.
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// All that a stranger's program sees of the machine, beside its own processes: what interpreters
/// and common tools do not work without. The rest tells of other tenants (interrupts, locks, disks,
/// pressure) or helps to break the kernel (symbols, modules, slabs, its command line).
const SHOWN: [&str; 9] = [
    // How many cores, and what they can: every runtime sizes its threads by it.
    "cpuinfo",
    // `mount` and build tools ask what there is.
    "filesystems",
    // `uptime`, `top` and build tools ask how busy it is.
    "loadavg",
    // Runtimes size their heaps by it.
    "meminfo",
    // node and `top` count time by it.
    "stat",
    // Settings, read-only.
    "sys",
    // What is in the cage's own ipc namespace.
    "sysvipc",
    // Half of all scripts in the world begin with it.
    "uptime",
    // Which kernel: `uname` tells it as well.
    "version",
];

/// A fresh one, which hangs nowhere yet.
pub(super) fn open(proc: Proc) -> rustix::io::Result<OwnedFd> {
    let options: &[(&str, &str)] = match proc {
        Proc::Usual => &[],
        // The cage's init is a process of hob, and the words that it was started with tell of hob.
        Proc::Bare => &[("hidepid", "invisible")],
    };
    mounts::filesystem("proc", options)
}

/// Covers what is not to be seen, and seals what is not to be written.
pub(super) fn mask(proc: Proc) -> Result<(), Failure> {
    match proc {
        Proc::Usual => {
            HIDDEN.map(Path::new).into_iter().try_for_each(hide)?;
            READ_ONLY.map(Path::new).into_iter().try_for_each(seal)
        }
        Proc::Bare => {
            let unlisted = unlisted().map_err(Failure::at("list /proc"))?;
            unlisted.iter().try_for_each(|path| hide(path))?;
            seal(&Path::new(PROC).join("sys"))
        }
    }
}

/// What stands in no list. Processes are the cage's own, and symlinks lead to them.
fn unlisted() -> io::Result<Vec<PathBuf>> {
    let mut unlisted = Vec::new();
    for entry in fs::read_dir(PROC)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_process = name.bytes().all(|byte| byte.is_ascii_digit());
        let is_link = entry.file_type()?.is_symlink();
        if !is_process && !is_link && !SHOWN.contains(&name.as_ref()) {
            unlisted.push(entry.path());
        }
    }
    Ok(unlisted)
}

fn seal(path: &Path) -> Result<(), Failure> {
    match clone_tree(path) {
        Err(Errno::NOENT) => return Ok(()),
        tree => tree.map_err(io::Error::from).and_then(|tree| {
            set_attributes(&tree, "", mounts::SEALED)?;
            hang(&tree, path)
        }),
    }
    .map_err(Failure::at(format!("protect {}", path.display())))
}

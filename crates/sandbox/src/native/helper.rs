//! The helper: one thread, started by the daemon before it is needed. It joins the cage's cgroups,
//! waits for a plan, makes the cage's first process and goes.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    process,
};

use super::{
    channel::{self, Message},
    init,
    plan::{Failure, Level, Plan, Report, UserNamespace},
};
use crate::{cgroup, network::join_network, oneshot, seccomp};

/// The argument that makes the executable the helper.
pub(crate) const HELPER: &str = "cage-init";

/// The words before a plan: what kind of cage it is of.
pub(crate) const FUNCTION: &[u8] = b"function";
pub(crate) const ONE_SHOT: &[u8] = b"one-shot";

/// Exit status when there is nobody left to tell.
const LOST: i32 = 125;

/// What the kernel wants to know for `clone3`; see clone(2).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Becomes the helper and never returns, when the first argument is `cage-init`; else does
/// nothing. Has to be the first line of `main`, before any thread and any open file.
///
/// The further arguments are the `tasks` files of cgroups to join; standard input is the channel to
/// the daemon. `cage-runtime` and `cage-program` are what one-shot cages of an OCI runtime need.
pub fn run_helper_if_asked() {
    let mut args = std::env::args_os().skip(1);
    match args.next() {
        Some(first) if first == HELPER => process::exit(run(args)),
        Some(first) => oneshot::run_role_if_asked(&first, args),
        None => {}
    }
}

fn run(cgroups: impl Iterator<Item = OsString>) -> i32 {
    let Ok(channel) = rustix::io::fcntl_dupfd_cloexec(io::stdin(), 3) else {
        return LOST;
    };
    let outcome = join(cgroups).and_then(|()| {
        report(channel.as_fd(), &Report::Ready, &[]);
        match channel::receive(&channel) {
            // The daemon has gone or needs no more cages.
            Ok(None) => Ok(()),
            Ok(Some(order)) if order.bytes == ONE_SHOT => oneshot::carry_out(order, &channel),
            Ok(Some(order)) => carry_out(order, channel.as_fd()),
            Err(error) => Err(Failure::at("receive the plan")(error)),
        }
    });
    match outcome {
        Ok(()) => 0,
        Err(failure) => {
            report(channel.as_fd(), &Report::Failed(failure), &[]);
            LOST
        }
    }
}

/// `0` means the writer itself, which has one thread.
pub(crate) fn join(tasks: impl Iterator<Item = OsString>) -> Result<(), Failure> {
    for file in tasks {
        cgroup::write(Path::new(&file), 0).map_err(Failure::at("join the cgroup"))?;
    }
    Ok(())
}

fn carry_out(order: Message, channel: BorrowedFd<'_>) -> Result<(), Failure> {
    let Ok([plan, output, filter]) = <[OwnedFd; 3]>::try_from(order.fds) else {
        return Err(Failure::at("receive the plan")("descriptors are missing"));
    };
    null_stdin()
        .and_then(|()| redirect(&output))
        .map_err(Failure::at("redirect the output"))?;
    let plan: Plan =
        serde_json::from_slice(&contents(plan)?).map_err(Failure::at("read the plan"))?;
    let mut filter = read_filter(filter)?;
    // While it has the rights to, and before the first process is born, which inherits it.
    if let Some(network) = &plan.network {
        let step = format!("enter the network namespace {}", network.display());
        let entered = File::open(network).and_then(|network| join_network(&network));
        entered.map_err(Failure::at(step))?;
    }
    if let Some(users) = &plan.user_namespace {
        enter_user_namespace(users)?;
    }
    let cgroup = plan.cgroup.as_deref().map(open_folder).transpose();
    let cgroup = cgroup.map_err(Failure::at("open the cgroup"))?;
    let namespaces = match plan.level {
        Level::Container(_) => NAMESPACES,
        Level::Process { .. } => 0,
    };
    match first_process(namespaces, cgroup.as_ref().map(AsFd::as_fd)) {
        Ok(Some((pid, pidfd))) => {
            report(channel, &Report::Started { pid }, &[pidfd.as_fd()]);
            Ok(())
        }
        Ok(None) => init::run(&plan, &mut filter, channel),
        Err(error) => Err(Failure::at("make the namespaces")(error)),
    }
}

/// Both ends send short messages to one who waits for them; nothing can be done if that fails.
pub(crate) fn report(channel: BorrowedFd<'_>, report: &Report, fds: &[BorrowedFd<'_>]) {
    let bytes = serde_json::to_vec(report).unwrap_or_default();
    let _ = channel::send(channel, &bytes, fds);
}

/// In place of the channel, which must close when its last owner wants it to.
pub(crate) fn null_stdin() -> io::Result<()> {
    let null = File::options()
        .read(true)
        .custom_flags(libc::O_CLOEXEC)
        .open("/dev/null")?;
    Ok(rustix::stdio::dup2_stdin(null)?)
}

fn redirect(output: &OwnedFd) -> io::Result<()> {
    rustix::stdio::dup2_stdout(output)?;
    rustix::stdio::dup2_stderr(output)?;
    Ok(())
}

/// What a memory file holds, wherever its offset is: all helpers share that of the filter.
pub(crate) fn contents(fd: OwnedFd) -> Result<Vec<u8>, Failure> {
    let read = |file: &File| -> io::Result<Vec<u8>> {
        let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        std::os::unix::fs::FileExt::read_exact_at(file, &mut bytes, 0)?;
        Ok(bytes)
    };
    read(&File::from(fd)).map_err(Failure::at("read what the daemon sent"))
}

pub(crate) fn read_filter(fd: OwnedFd) -> Result<seccomp::Filter, Failure> {
    let filter = seccomp::decode(&contents(fd)?);
    filter.ok_or_else(|| Failure::at("read the filter")("it is cut short"))
}

pub(crate) fn open_folder(path: &Path) -> io::Result<File> {
    File::options()
        .read(true)
        .custom_flags(libc::O_DIRECTORY | libc::O_CLOEXEC)
        .open(path)
}

pub(crate) fn enter_user_namespace(users: &UserNamespace) -> Result<(), Failure> {
    let step = "make a user namespace";
    // SAFETY: this process has one thread and no file system state shared with another.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWUSER) }
        .map_err(Failure::at(step))?;
    // The kernel lets a user map only itself, and its group only once it gives up setgroups.
    let map = |file: &str, text: String| fs::write(Path::new("/proc/self").join(file), text);
    let ((uid, gid), (inner_uid, inner_gid)) = (users.outer, users.inner);
    map("setgroups", "deny".into()).map_err(Failure::at(step))?;
    map("uid_map", format!("{inner_uid} {uid} 1")).map_err(Failure::at(step))?;
    map("gid_map", format!("{inner_gid} {gid} 1")).map_err(Failure::at(step))
}

/// Clones this process into the cage. In the helper the answer is the child's pid and pidfd, in
/// the child `None`. The daemon becomes the child's parent and so can wait for it.
pub(crate) fn first_process(
    namespaces: i32,
    cgroup: Option<BorrowedFd<'_>>,
) -> io::Result<Option<(u32, OwnedFd)>> {
    let mut pidfd: i32 = -1;
    let mut args = CloneArgs {
        flags: bits(namespaces | libc::CLONE_PARENT | libc::CLONE_PIDFD),
        pidfd: (&raw mut pidfd).addr() as u64,
        ..CloneArgs::default()
    };
    if let Some(folder) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = bits(folder.as_raw_fd());
    }
    // SAFETY: `args` outlives the call and has the size that is passed; without CLONE_VM and with
    // no stack the child goes on with a copy of this single-threaded process, as after fork.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<CloneArgs>()) };
    match pid {
        0 => Ok(None),
        1.. => {
            // SAFETY: the kernel stored a new descriptor there, which nobody else knows.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Some((u32::try_from(pid).map_err(io::Error::other)?, pidfd)))
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// What every container has of its own.
pub(crate) const NAMESPACES: i32 =
    libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;

/// Makes the child start in a cgroup of version 2, which costs no move.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

fn bits(flags: i32) -> u64 {
    u64::from(flags.cast_unsigned())
}

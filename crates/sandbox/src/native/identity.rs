//! Giving up what a program in a cage must not have, and the calls that need `unsafe` for it.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

use rustix::{
    io::Errno,
    process::{DumpableBehavior, Pid, Resource, Rlimit, Signal, setrlimit},
    thread::{CapabilitySet, CapabilitySets},
};

use super::plan::{Failure, Plan, Rlimits};

/// Permissions that new files lack.
const UMASK: u32 = 0o022;
/// Signals are numbered from 1 to this.
const LAST_SIGNAL: i32 = 64;
/// No kernel has capabilities beyond this number.
const LAST_CAPABILITY: libc::c_ulong = 63;
/// Standard input, output and error stay open.
const FIRST_CLOSED: libc::c_uint = 3;

/// Changes to the cage's user and gives up every capability for good.
pub(crate) fn become_user(plan: &Plan) -> Result<(), Failure> {
    limit(&plan.rlimits)?;
    gain_nothing()?;
    if let Some(user) = &plan.user {
        // A user namespace of one user has no say over supplementary groups.
        if plan.user_namespace.is_none() {
            set_groups(&user.groups)?;
        }
        change_user(user.uid, user.gid)?;
    }
    drop_capabilities()
}

/// Whatever is executed from now on, it gains no rights by it.
pub(crate) fn gain_nothing() -> Result<(), Failure> {
    rustix::thread::set_no_new_privs(true).map_err(Failure::at("set no_new_privs"))?;
    drop_bounding_set().map_err(Failure::at("drop the bounding set"))
}

/// Gives up every capability for good.
pub(crate) fn drop_capabilities() -> Result<(), Failure> {
    match rustix::thread::clear_ambient_capability_set() {
        // gVisor's kernel knows none.
        Ok(()) | Err(Errno::INVAL) => {}
        Err(error) => return Err(Failure::at("drop ambient capabilities")(error)),
    }
    let none = CapabilitySet::empty();
    let none = CapabilitySets {
        effective: none,
        permitted: none,
        inheritable: none,
    };
    rustix::thread::set_capabilities(None, none).map_err(Failure::at("drop capabilities"))?;
    set_umask();
    // Keeps the program, which has the same uid, out of this process's memory; exec undoes it
    // for the program itself.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(Failure::at("become not dumpable"))
}

pub(crate) fn limit(limits: &Rlimits) -> Result<(), Failure> {
    set_limits(limits).map_err(Failure::at("set resource limits"))
}

fn set_limits(limits: &Rlimits) -> io::Result<()> {
    let set = |resource, value| {
        let both = Rlimit {
            current: Some(value),
            maximum: Some(value),
        };
        setrlimit(resource, both)
    };
    set(Resource::Core, 0)?;
    // No share of processor time bounds what is scheduled in real time.
    set(Resource::Rtprio, 0)?;
    set(Resource::Nofile, limits.files)?;
    if let Some(bytes) = limits.data {
        set(Resource::Data, bytes)?;
    }
    if let Some(count) = limits.processes {
        set(Resource::Nproc, count)?;
    }
    Ok(())
}

fn drop_bounding_set() -> io::Result<()> {
    for capability in 0..=LAST_CAPABILITY {
        // SAFETY: takes a number and touches no memory.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) } != 0 {
            let error = io::Error::last_os_error();
            return match error.raw_os_error() {
                // Beyond the last that this kernel knows.
                Some(libc::EINVAL) if capability > 0 => Ok(()),
                // Without root there is none to drop, and no_new_privs keeps it so.
                Some(libc::EPERM) => Ok(()),
                _ => Err(error),
            };
        }
    }
    Ok(())
}

/// Whatever hob was started with, what is made for the program can be read by it.
pub(crate) fn set_umask() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(UMASK));
}

/// Sets the supplementary groups.
pub(crate) fn set_groups(groups: &[u32]) -> Result<(), Failure> {
    // SAFETY: reads as many groups as there are.
    let done = check(unsafe { libc::setgroups(groups.len(), groups.as_ptr()) });
    done.map_err(Failure::at("set the supplementary groups"))
}

/// Changes to this user and group, as this process's user namespace numbers them.
pub(crate) fn change_user(uid: u32, gid: u32) -> Result<(), Failure> {
    let change = || {
        // SAFETY: these take numbers and touch no memory of ours.
        check(unsafe { libc::setresgid(gid, gid, gid) })?;
        // SAFETY: as above.
        check(unsafe { libc::setresuid(uid, uid, uid) })
    };
    change().map_err(Failure::at(format!("become uid {uid} and gid {gid}")))
}

/// Sends a signal by its number, which may be a real-time one.
pub(crate) fn signal(process: Pid, number: i32) -> io::Result<()> {
    // SAFETY: takes numbers and touches no memory.
    check(unsafe { libc::kill(process.as_raw_nonzero().get(), number) })
}

/// Makes a session of this process's own. Not by a library that makes a process id of the answer:
/// gVisor's kernel answers 0.
pub(crate) fn new_session() -> io::Result<()> {
    // SAFETY: takes nothing and touches no memory.
    check(unsafe { libc::setsid() }.min(0))
}

/// Sends a signal to all processes of this pid namespace but its first, which this one is.
pub(crate) fn signal_all(number: i32) -> io::Result<()> {
    // SAFETY: takes numbers and touches no memory.
    check(unsafe { libc::kill(-1, number) })
}

/// Forks. In the child the answer is `None`.
pub(crate) fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: this process has one thread, so the child's copy of it is whole.
    let pid = unsafe { libc::fork() };
    check(pid.min(0))?;
    Ok(Pid::from_raw(pid))
}

/// Holds all signals back, for [`next_signal`].
pub(crate) fn block_signals() -> io::Result<()> {
    let all = all_signals();
    // SAFETY: reads a set that is alive and whole; the old set is not asked for.
    check(unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut()) })
}

/// Waits for a signal that [`block_signals`] held back.
pub(crate) fn next_signal() -> Signal {
    let all = all_signals();
    loop {
        // SAFETY: reads a set that is alive and whole; details are not asked for.
        let number = unsafe { libc::sigwaitinfo(&raw const all, std::ptr::null_mut()) };
        if let Some(signal) = Signal::from_named_raw(number) {
            return signal;
        }
    }
}

/// A descriptor that is readable when a child has ended; signals must be blocked.
pub(crate) fn child_signals() -> io::Result<OwnedFd> {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the first call fills the whole set, which the others change and read.
    let fd = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGCHLD);
        libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    };
    check(fd.min(0))?;
    // SAFETY: the kernel has just made it, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes what [`child_signals`] has to tell, so that it is readable again by the next child.
pub(crate) fn take_signal(signals: &OwnedFd) {
    let mut details = [0; size_of::<libc::signalfd_siginfo>()];
    let _ = rustix::io::read(signals, &mut details);
}

/// Makes a cgroup namespace whose root is where this process is.
pub(crate) fn own_cgroup_namespace() -> io::Result<()> {
    // SAFETY: this process has one thread, and shares nothing that this would part.
    Ok(unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWCGROUP) }?)
}

fn all_signals() -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: the call fills the whole set and cannot fail.
    unsafe {
        libc::sigfillset(set.as_mut_ptr());
        set.assume_init()
    }
}

/// A program that is woken does not interrupt whoever woke it (`SCHED_BATCH`, sched(7)).
///
/// The gateway wakes a replica with each call that it passes on. Being preempted by it each time
/// costs more than the call: measured, a third of the throughput. On a core that is idle the
/// program runs at once as before.
pub(crate) fn yield_to_wakers() -> io::Result<()> {
    let priority = libc::sched_param { sched_priority: 0 };
    // SAFETY: reads the struct, which outlives the call; 0 is this process.
    check(unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const priority) })
}

/// A program starts with no signal blocked or ignored, whatever hob was started with.
pub(crate) fn reset_signals() -> io::Result<()> {
    // All zero: the default action, no flags, no mask. Not by the C library, which keeps two
    // signals to itself, and so as they were inherited.
    let default = [0_u64; 4];
    for signal in 1..=LAST_SIGNAL {
        // SAFETY: reads a struct of at most 32 bytes, which are alive; the default action runs no
        // code of this process. SIGKILL and SIGSTOP refuse, and need nothing.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                std::ptr::null_mut::<u64>(),
                size_of::<u64>(),
            )
        };
    }
    let mut none = MaybeUninit::uninit();
    // SAFETY: the first call fills the set which the second reads.
    check(unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut())
    })
}

/// Closes whatever is open beyond standard input, output and error.
pub(crate) fn close_all_but_output() {
    // SAFETY: every owner of such a descriptor in this process is about to exit or to exec, and
    // uses none of them again.
    unsafe { libc::syscall(libc::SYS_close_range, FIRST_CLOSED, libc::c_uint::MAX, 0) };
}

/// Closes whatever is open beyond standard input, output and error, but for `kept`.
pub(crate) fn close_all_but(kept: &OwnedFd) {
    let kept = kept.as_raw_fd().unsigned_abs();
    let ranges = [
        (FIRST_CLOSED, kept.saturating_sub(1)),
        (kept.saturating_add(1), libc::c_uint::MAX),
    ];
    for (first, last) in ranges {
        if first <= last {
            // SAFETY: as in `close_all_but_output`: this process only watches from now on.
            unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        }
    }
}

/// Has everything beyond standard input, output and error closed by exec.
pub(crate) fn close_on_exec() -> io::Result<()> {
    // SAFETY: marks descriptors and closes none.
    let done = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            FIRST_CLOSED,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

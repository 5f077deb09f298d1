use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hob_model::{End, EndReason, Isolation};
use rustix::{
    io::Errno,
    process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid},
};
use serde::{Deserialize, Serialize};

use crate::{
    Alarm, CageLimits, Mechanism, SandboxError,
    birth::{boot_id, start_time},
    cgroup::{self, Group, Tally},
    descendants,
    native::launch::{First, readable},
    oci::Container,
};

/// How long everything in a cage may take to stand still, on a machine that is busy with other
/// things.
const FREEZE_TIMEOUT: Duration = Duration::from_millis(200);
/// How long the last process of a killed cage may take to go.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// Statuses above this mean a signal, as in shells; 128 + 64 is the last.
const SIGNALLED: i32 = 128;
/// Signals are numbered from 1 to this.
const LAST_SIGNAL: i32 = 64;

/// A running cage. Dropping it ends everything inside and leaves nothing behind; that blocks for
/// a few milliseconds.
#[derive(Debug)]
pub struct Cage {
    id: String,
    isolation: Isolation,
    limits: CageLimits,
    pid: u32,
    start_time: u64,
    pidfd: OwnedFd,
    group: Option<Box<dyn Group>>,
    /// Made by an OCI runtime, which also has to clean up.
    container: Option<Container>,
    killed: AtomicBool,
    end: Mutex<Option<End>>,
}

/// What another run of hob needs to know a cage again, and to take it over: see
/// [`Sandbox::adopt`](crate::Sandbox::adopt).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CageRecord {
    /// The cage's id.
    pub id: String,
    /// How strong it is.
    pub isolation: Isolation,
    /// Who built it.
    pub mechanism: Mechanism,
    /// What its processes may use together.
    pub limits: CageLimits,
    /// Which boot of the machine it belongs to, as `/proc/sys/kernel/random/boot_id` tells it.
    pub boot: String,
    /// Process id on the host of the cage's first process.
    pub pid: u32,
    /// Its start, in clock ticks since boot, as `/proc/PID/stat` tells it; with `boot` and `pid`
    /// it names one process for ever.
    pub start_time: u64,
    /// The cage's cgroup folders; none where limits are not enforced.
    pub cgroups: Vec<PathBuf>,
    /// The folder of a one-shot cage that an OCI runtime made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<PathBuf>,
}

/// What a cage is, beside its first process.
pub(crate) struct Nature {
    pub(crate) id: String,
    pub(crate) isolation: Isolation,
    pub(crate) limits: CageLimits,
}

// === impl Cage ===

impl Cage {
    pub(crate) fn new(nature: Nature, first: First, container: Option<Container>) -> Self {
        Self {
            id: nature.id,
            isolation: nature.isolation,
            limits: nature.limits,
            pid: first.pid,
            start_time: start_time(first.pid).unwrap_or(0),
            pidfd: first.pidfd,
            group: first.group,
            container,
            killed: AtomicBool::new(false),
            end: Mutex::new(None),
        }
    }

    /// Process id on the host of the cage's first process, the program's parent; of the runtime
    /// program, when an OCI runtime made the cage.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Readable when the cage's first process has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Sends the spec's stop signal to the program, normally SIGTERM. A frozen cage goes on to
    /// take it.
    pub fn terminate(&self) {
        // The first process passes it on. It may just have ended, which is what is wanted.
        let _ = pidfd_send_signal(&self.pidfd, Signal::TERM);
        self.go_on();
    }

    /// Sends SIGKILL to every process inside, descendants included; they are gone a few
    /// milliseconds later. A frozen cage is no exception.
    pub fn kill(&self) {
        self.killed.store(true, Ordering::Relaxed);
        self.send_kill();
        // Of cgroup v1's freezer, not even this signal frees a process.
        self.go_on();
    }

    /// Whether [`Cage::freeze`] can stop anything: not without a cgroup, a freezer in the kernel,
    /// and the program in that cgroup.
    pub fn can_freeze(&self) -> bool {
        self.group.as_ref().is_some_and(|group| group.can_freeze())
    }

    /// Has everything inside stand still until [`Cage::thaw`], and uses no processor from then on.
    /// Sockets stay as they are, and the kernel still accepts connections. Blocks for some
    /// milliseconds, at most 200.
    ///
    /// The cage keeps its memory. Without swap, which no cage has, the kernel could only be made to
    /// drop clean pages of files (`memory.reclaim`, `memory.force_empty`). Those are free for
    /// anybody who needs them anyway, and a wake reads them from the disk again: of a Python program
    /// with 28 MB it gave back 0.3 MB, took 9 ms, and the wake 2.4 ms in place of 0.2 ms.
    ///
    /// # Errors
    /// When the machine cannot, or a process does not stand still in time, as one that waits for a
    /// disk. Then all of it goes on.
    pub fn freeze(&self) -> Result<(), SandboxError> {
        let wrong = "cannot freeze the cage";
        let group = self.group.as_ref();
        let frozen = match group.filter(|group| group.can_freeze()) {
            Some(group) => group.freeze(FREEZE_TIMEOUT),
            None => Err(io::ErrorKind::Unsupported.into()),
        };
        let late = || io::Error::new(io::ErrorKind::TimedOut, "a process does not stand still");
        let frozen = frozen.and_then(|stands| stands.then_some(()).ok_or_else(late));
        frozen
            .map_err(SandboxError::system(wrong))
            .inspect_err(|_| self.go_on())
    }

    /// Lets everything inside go on. Takes no time worth naming.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn thaw(&self) -> Result<(), SandboxError> {
        let thawed = self.group.as_ref().map_or(Ok(()), |group| group.thaw());
        thawed.map_err(SandboxError::system("cannot thaw the cage"))
    }

    /// Whether it is frozen, by whichever daemon.
    pub fn is_frozen(&self) -> bool {
        self.group.as_ref().is_some_and(|group| group.is_frozen())
    }

    fn go_on(&self) {
        if self.is_frozen()
            && let Err(error) = self.thaw()
        {
            tracing::warn!(cage = %self.id, %error, "it stays frozen");
        }
    }

    fn send_kill(&self) {
        if self.container.as_ref().is_some_and(Container::kill) {
            return;
        }
        match (self.isolation, &self.group) {
            // The kernel ends a pid namespace with its first process.
            (Isolation::Container, _) => {}
            (Isolation::Process, Some(group)) => {
                if let Err(error) = group.kill() {
                    tracing::warn!(cage = %self.id, %error, "cannot kill by cgroup");
                }
            }
            (Isolation::Process, None) if self.is_running() => descendants::kill(self.pid),
            (Isolation::Process, None) => {}
        }
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// When the kernel cannot tell.
    pub fn try_wait(&self) -> Result<Option<End>, SandboxError> {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        if end.is_none() {
            *end = self.reap()?.map(|status| self.explain(status));
        }
        Ok(end.clone())
    }

    /// Waits up to `timeout` for the end.
    ///
    /// # Errors
    /// When the kernel cannot tell.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Option<End>, SandboxError> {
        if let Some(end) = self.try_wait()? {
            return Ok(Some(end));
        }
        readable(self.pidfd(), timeout)
            .map_err(SandboxError::system("cannot wait for the cage"))?;
        self.try_wait()
    }

    /// Resident bytes of all processes inside and their tmpfs; `None` without a memory cgroup.
    pub fn memory(&self) -> Option<u64> {
        self.group.as_ref()?.memory()
    }

    /// Processor time that all processes inside have used so far; `None` where no cgroup counts it.
    pub fn cpu_time(&self) -> Option<Duration> {
        self.group.as_ref()?.cpu_time()
    }

    /// Whether the kernel has refused it a process, or killed one of it for want of memory. The
    /// rest of the cage may live on. Reads small files of the kernel.
    pub fn is_over_limit(&self) -> bool {
        let tally = self.group.as_ref().map(|group| group.tally());
        tally.is_some_and(|tally| tally != Tally::default())
    }

    /// Tells when to ask [`Cage::is_over_limit`]; `None` where it is never true.
    pub fn alarm(&self) -> Option<Alarm> {
        Some(self.group.as_ref()?.alarm())
    }

    /// What another run of hob needs to know this cage again.
    pub fn record(&self) -> CageRecord {
        let program = self.container.as_ref().map(Container::program);
        CageRecord {
            id: self.id.clone(),
            isolation: self.isolation,
            mechanism: program.map_or(Mechanism::Native, |program| {
                Mechanism::Oci(program.to_owned())
            }),
            limits: self.limits,
            boot: boot_id(),
            pid: self.pid,
            start_time: self.start_time,
            cgroups: self
                .group
                .as_ref()
                .map(|group| group.folders())
                .unwrap_or_default(),
            bundle: None,
        }
    }

    fn is_running(&self) -> bool {
        matches!(readable(self.pidfd(), Duration::ZERO), Ok(false))
    }

    /// The exit status of the first process, if it has ended; `None` inside for one that is not
    /// known, since somebody else waited for it.
    fn reap(&self) -> Result<Option<Option<i32>>, SandboxError> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        match waitid(WaitId::PidFd(self.pidfd()), options) {
            Ok(None) => Ok(None),
            Ok(Some(status)) => {
                let signal = status.terminating_signal().map(|signal| SIGNALLED + signal);
                Ok(Some(status.exit_status().or(signal)))
            }
            // Somebody else's child: an earlier daemon's, or waited for already.
            Err(Errno::CHILD) if self.is_running() => Ok(None),
            Err(Errno::CHILD) => Ok(Some(None)),
            Err(error) => Err(SandboxError::system("cannot wait for the cage")(error)),
        }
    }

    fn explain(&self, status: Option<i32>) -> End {
        let tally = self.group.as_ref().map(|group| group.tally());
        let killed = self.killed.load(Ordering::Relaxed);
        let mut end = explain(status, tally.unwrap_or_default(), &self.limits, killed);
        let complaint = self.container.as_ref().and_then(Container::complaint);
        if let (EndReason::Exit, Some(words)) = (end.reason, complaint) {
            // Some runtimes find out that there is no program only after they said it runs.
            end.message = format!("{}: {words}", end.message);
        }
        end
    }

    /// Ends everything and removes all traces.
    fn clear(&self) -> io::Result<()> {
        let ended = self
            .end
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some();
        if !ended {
            self.kill();
            if !readable(self.pidfd(), KILL_TIMEOUT)? {
                pidfd_send_signal(&self.pidfd, Signal::KILL)?;
            }
            // Somebody has to, or it stays a zombie.
            let _ = self.reap();
        }
        if let Some(container) = &self.container {
            container.delete();
        }
        self.group
            .as_ref()
            .map_or(Ok(()), |group| cgroup::remove(&**group))
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        if let Err(error) = self.clear() {
            tracing::warn!(cage = %self.id, %error, "cannot remove all of a cage");
        }
    }
}

/// `status` as shells tell it; `None` where nobody knows.
pub(crate) fn explain(status: Option<i32>, tally: Tally, limits: &CageLimits, killed: bool) -> End {
    if status == Some(0) {
        return End::new(EndReason::Ok, "exit status 0");
    }
    if let Some(end) = enforced(tally, limits, killed) {
        return end;
    }
    let signal = |status: &i32| (SIGNALLED + 1..=SIGNALLED + LAST_SIGNAL).contains(status);
    End::new(
        EndReason::Exit,
        match status {
            Some(status) if signal(&status) => {
                format!("exit status {status} (signal {})", status - SIGNALLED)
            }
            Some(status) => format!("exit status {status}"),
            None => "exit status unknown".into(),
        },
    )
}

/// The end that a limit or hob brought about.
pub(crate) fn enforced(tally: Tally, limits: &CageLimits, killed: bool) -> Option<End> {
    if tally.oom_kills > 0 {
        return Some(End::new(
            EndReason::Memory,
            format!("over its limit of {} bytes of memory", limits.memory),
        ));
    }
    if tally.refused_forks > 0 {
        return Some(End::new(
            EndReason::Pids,
            format!("over its limit of {} processes and threads", limits.pids),
        ));
    }
    killed.then(|| End::new(EndReason::Cancelled, "killed by hob"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: CageLimits = CageLimits {
        memory: 1024,
        cpu_millis: 1,
        pids: 9,
        tmp: 0,
        files: 16,
    };

    #[test]
    fn the_strongest_evidence_names_the_end() {
        let tally = |oom_kills, refused_forks| Tally {
            oom_kills,
            refused_forks,
        };
        let reason = |status, tally, killed| explain(status, tally, &LIMITS, killed).reason;
        assert_eq!(reason(Some(0), tally(1, 1), false), EndReason::Ok);
        assert_eq!(reason(Some(137), tally(1, 1), false), EndReason::Memory);
        assert_eq!(reason(Some(1), tally(0, 1), true), EndReason::Pids);
        assert_eq!(reason(Some(137), tally(0, 0), true), EndReason::Cancelled);
        assert_eq!(reason(None, tally(0, 0), false), EndReason::Exit);
        let end = explain(Some(143), tally(0, 0), &LIMITS, false);
        assert_eq!(end.message, "exit status 143 (signal 15)");
    }

    #[test]
    fn this_process_has_a_start_time() {
        assert!(start_time(std::process::id()).is_some_and(|ticks| ticks > 0));
    }
}

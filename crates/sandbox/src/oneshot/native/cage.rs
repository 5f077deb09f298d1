//! What there is of a cage on the daemon's side.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hob_model::Isolation;
use rustix::{
    event::epoll,
    io::Errno,
    pipe::{PipeFlags, fcntl_setpipe_size, pipe_with},
    process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid},
};

use super::{
    super::{OneShotEnd, OneShotSpec, Program},
    end, explain,
    plan::{Ended, Word},
};
use crate::{
    CageLimits, CageRecord, Mechanism, SandboxError,
    birth::{boot_id, start_time},
    cgroup::{self, Group},
    native::{
        channel,
        launch::{self, First, readable},
        plan::Failure,
    },
};

/// How much a program may write before it has to wait for its reader, in bytes.
const PIPE_SIZE: usize = 256 << 10;
/// How long the last process of a killed cage may take to go.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// What there is of a cage, used or not. Dropping it ends and removes all of it.
#[derive(Debug)]
pub(super) struct OneCage {
    pub(super) id: String,
    pub(super) limits: CageLimits,
    pub(super) pid: u32,
    pub(super) start_time: u64,
    pub(super) pidfd: OwnedFd,
    pub(super) group: Box<dyn Group>,
    pub(super) life: Life,
    /// Owner of the box as its mounts' user namespace numbers it.
    pub(super) owner: u32,
    /// How the program ended, while what it left behind dies.
    told: Mutex<Option<Ended>>,
    killed: AtomicBool,
    reaped: AtomicBool,
}

/// The cage's init lives as long as this is open, and tells by it how the program ended.
#[derive(Debug)]
pub(super) struct Life {
    channel: OwnedFd,
    /// Readable when the channel is, or the init has ended. Its last word comes some milliseconds
    /// before its end, in which the kernel takes the cage's namespaces down.
    pub(super) news: OwnedFd,
}

/// What the init of a cage has said.
enum Heard {
    /// Its last word.
    Word(Ended),
    /// Nothing yet.
    Nothing,
    /// And it never will.
    Gone,
}

// === impl Life ===

impl Life {
    /// With the end of the cage's init.
    pub(super) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (channel, theirs) = channel::pair()?;
        rustix::io::ioctl_fionbio(&channel, true)?;
        let news = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let life = Self { channel, news };
        life.watch(&life.channel)?;
        Ok((life, theirs))
    }

    fn watch(&self, fd: &OwnedFd) -> io::Result<()> {
        let data = epoll::EventData::new_u64(0);
        Ok(epoll::add(&self.news, fd, data, epoll::EventFlags::IN)?)
    }
}

// === impl OneCage ===

impl OneCage {
    /// `owner` is the program's user as the mounts' user namespace numbers it.
    pub(super) fn new(
        spec: OneShotSpec,
        first: First,
        life: Life,
        owner: u32,
    ) -> Result<Self, SandboxError> {
        let Some(group) = first.group else {
            // `able` has seen that there are groups, so this cannot be.
            launch::end(&first.pidfd);
            return Err(SandboxError::Spec(
                "a stranger's program needs limits".into(),
            ));
        };
        let cage = Self {
            start_time: start_time(first.pid).unwrap_or(0),
            id: spec.id,
            limits: spec.limits,
            pid: first.pid,
            pidfd: first.pidfd,
            group,
            life,
            owner,
            told: Mutex::new(None),
            killed: AtomicBool::new(false),
            reaped: AtomicBool::new(false),
        };
        let watched = cage.life.watch(&cage.pidfd);
        watched.map_err(SandboxError::system("cannot watch the cage"))?;
        Ok(cage)
    }

    pub(super) fn record(&self) -> CageRecord {
        CageRecord {
            id: self.id.clone(),
            isolation: Isolation::Container,
            mechanism: Mechanism::Native,
            limits: self.limits,
            boot: boot_id(),
            pid: self.pid,
            start_time: self.start_time,
            cgroups: self.group.folders(),
            bundle: None,
        }
    }

    pub(super) fn limit(&self, limits: &CageLimits) -> Result<(), SandboxError> {
        let limited = self.group.limit(limits);
        limited.map_err(SandboxError::system("cannot limit a cgroup"))
    }

    pub(super) fn refused(&self, program: &Program, failure: Failure) -> SandboxError {
        let name = program.argv.first().map_or("", String::as_str);
        explain(&self.id, name, failure)
    }

    /// For what the program writes.
    pub(super) fn pipe(&self) -> io::Result<(OwnedFd, OwnedFd)> {
        let (reading, writing) = pipe()?;
        // The program may open it again, by the name /dev/stdout.
        if rustix::process::geteuid().is_root() {
            let (uid, gid) = (
                rustix::fs::Uid::from_raw(self.owner),
                rustix::fs::Gid::from_raw(self.owner),
            );
            rustix::fs::fchown(&writing, Some(uid), Some(gid))?;
        }
        Ok((reading, writing))
    }

    pub(super) fn kill(&self) {
        self.killed.store(true, Ordering::Relaxed);
        // In this order: none of the others can be born or live on after the first has died, and
        // what has used up its share of processor time dies only once it gets more.
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        self.hurry();
    }

    /// Whether its init has ended, and with it all that was inside.
    pub(super) fn reap(&self) -> Result<bool, SandboxError> {
        if self.reaped.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let ended = match waitid(WaitId::PidFd(self.pidfd.as_fd()), options) {
            Ok(status) => status.is_some(),
            Err(Errno::CHILD) => true,
            Err(error) => return Err(SandboxError::system("cannot wait for the cage")(error)),
        };
        self.reaped.store(ended, Ordering::Relaxed);
        Ok(ended)
    }

    /// How the program ended, once it and all that it started are dead.
    pub(super) fn end(&self) -> Result<Option<OneShotEnd>, SandboxError> {
        let ended = match self.last_word() {
            Heard::Word(ended) => Some(ended),
            Heard::Nothing => return Ok(None),
            // Killed, perhaps before it could say a word.
            Heard::Gone if self.reap()? => *self.told(),
            Heard::Gone => return Ok(None),
        };
        let killed = self.killed.load(Ordering::Relaxed);
        let tally = self.group.tally();
        Ok(Some(end::explain(ended, tally, &self.limits, killed)))
    }

    fn last_word(&self) -> Heard {
        loop {
            let message = match channel::receive(&self.life.channel) {
                Ok(Some(message)) => message,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Heard::Nothing,
                // From now on, only the end of the init is news.
                Ok(None) | Err(_) => {
                    let _ = epoll::delete(&self.life.news, &self.life.channel);
                    return Heard::Gone;
                }
            };
            match serde_json::from_slice(&message.bytes) {
                Ok(Word::Dead(ended)) => return Heard::Word(ended),
                Ok(Word::Ending(ended)) => {
                    *self.told() = Some(ended);
                    self.hurry();
                }
                Err(error) => tracing::warn!(cage = %self.id, %error, "cannot understand its init"),
            }
        }
    }

    fn told(&self) -> MutexGuard<'_, Option<Ended>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody in the cage is spared, its init neither.
    fn hurry(&self) {
        if let Err(error) = self.group.end() {
            tracing::warn!(cage = %self.id, %error, "cannot hurry the end of a cage");
        }
    }

    fn clear(&self) -> Result<(), SandboxError> {
        if !self.reap()? {
            self.kill();
            readable(self.pidfd.as_fd(), KILL_TIMEOUT)
                .map_err(SandboxError::system("cannot wait for the cage"))?;
            self.reap()?;
        }
        cgroup::remove(&*self.group).map_err(SandboxError::system("cannot remove a cgroup"))
    }
}

/// Its reading end, which does not block, and its writing end, which does.
pub(in super::super) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reading, writing) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&reading, true)?;
    // A user's pipes may have used up their share of the kernel's memory; it works as it is.
    let _ = fcntl_setpipe_size(&writing, PIPE_SIZE);
    Ok((reading, writing))
}

impl Drop for OneCage {
    fn drop(&mut self) {
        if let Err(error) = self.clear() {
            tracing::warn!(cage = %self.id, %error, "cannot remove all of a one-shot cage");
        }
    }
}

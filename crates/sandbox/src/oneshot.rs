//! Cages for one run of something that nobody trusts: made ahead, used once, gone with its end.
//!
//! Stronger than a function's cage: the program sees no network, no folder of the host but its
//! programs and libraries, and of hob nothing at all; it may use fewer system calls; its user is
//! nobody to the host. When hob dies, all of it dies.

use std::{
    os::fd::{BorrowedFd, OwnedFd},
    path::PathBuf,
    time::Duration,
};

use hob_model::{End, Isolation, sandbox::SandboxLevel};

use crate::{
    Able, Alarm, CageLimits, CageRecord, Mechanism, Sandbox, SandboxError, birth::boot_id, probe,
};

mod native;
mod oci;

pub(crate) use native::carry_out;
pub(crate) use oci::run_role_if_asked;

/// The folder in which every program starts, with its files; the only one besides `/tmp` that it
/// may write to.
pub const BOX: &str = "/box";

/// A cage that is to wait for its program.
#[derive(Debug, Clone)]
pub struct OneShotSpec {
    /// As of a [`CageSpec`](crate::CageSpec).
    pub id: String,
    /// How strong it is.
    pub level: SandboxLevel,
    /// OCI runtime program for the levels `gvisor` and `vm`; `None` takes what is installed.
    pub runtime: Option<String>,
    /// Host uid and gid of its processes where hob is root; no two living ones share it.
    pub uid: u32,
    /// Most that a program in it may ask for.
    pub limits: CageLimits,
}

/// What runs in it, once.
#[derive(Debug, Clone)]
pub struct Program {
    /// Program and arguments; without `/` it is looked up in the `PATH` of `env`.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// Files below [`BOX`], with their text: relative paths without `..`.
    pub files: Vec<(PathBuf, Vec<u8>)>,
    /// What it reads from stdin; a file, at its end when all is read.
    pub stdin: Vec<u8>,
    /// What all its processes may use together, none of it more than of the spec.
    pub limits: CageLimits,
}

/// A cage that is built and waits. Dropping it removes all of it; that blocks for a few
/// milliseconds.
#[derive(Debug)]
pub struct ReadyCage(Ready);

#[derive(Debug)]
enum Ready {
    Native(native::Ready),
    Oci(Box<oci::Ready>),
}

/// A program that runs in its cage. Dropping it ends everything inside and leaves nothing behind;
/// that blocks for a few milliseconds.
#[derive(Debug)]
pub struct OneShot {
    running: Running,
    /// What it writes to stdout: a pipe that does not block, closed when all inside are dead.
    pub stdout: Option<OwnedFd>,
    /// The same for stderr.
    pub stderr: Option<OwnedFd>,
}

#[derive(Debug)]
enum Running {
    Native(native::Running),
    Oci(Box<oci::Running>),
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneShotEnd {
    /// Its exit status; −1 when a signal ended it.
    pub code: i32,
    /// That signal, where it is known.
    pub signal: Option<i32>,
    /// Why, as far as the kernel can tell.
    pub end: End,
}

/// What a cage has used so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time of all its processes.
    pub cpu: Option<Duration>,
    /// The most memory at once, in bytes.
    pub memory: Option<u64>,
}

// === impl Sandbox ===

impl Sandbox {
    /// Whether one-shot cages of this level can be made here, and if not, what is missing.
    pub fn able_oneshot(&self, level: SandboxLevel, runtime: Option<&str>) -> Able {
        match level {
            SandboxLevel::Container => native::able(self),
            SandboxLevel::Gvisor | SandboxLevel::Vm => oci::able(self, level, runtime),
        }
    }

    /// Like [`Sandbox::able_oneshot`], but by making one where it looks possible; takes up to
    /// seconds.
    pub fn probe_oneshot(&self, level: SandboxLevel, runtime: Option<&str>) -> Able {
        probe::probe_oneshot(self, level, runtime)
    }

    /// What is known of a cage before it is made: no process yet, but the cgroups that it will
    /// have. Enough for [`Sandbox::remove_orphan`], should hob die while it makes it.
    pub fn record_ahead(&self, spec: &OneShotSpec) -> CageRecord {
        let group = self.tree.open(&spec.id);
        CageRecord {
            id: spec.id.clone(),
            isolation: Isolation::Container,
            mechanism: Mechanism::Native,
            limits: spec.limits,
            boot: boot_id(),
            pid: 0,
            start_time: 0,
            cgroups: group.map(|group| group.folders()).unwrap_or_default(),
            bundle: match spec.level {
                SandboxLevel::Container => None,
                SandboxLevel::Gvisor | SandboxLevel::Vm => Some(oci::folder(self, &spec.id)),
            },
        }
    }

    /// Builds a cage and has it wait for its program. Blocks: for some milliseconds, or for some
    /// tenths of a second at the levels above `container`.
    ///
    /// # Errors
    /// Names the step and the cure. Nothing is left behind.
    pub fn prepare(&self, spec: OneShotSpec) -> Result<ReadyCage, SandboxError> {
        Ok(ReadyCage(match spec.level {
            SandboxLevel::Container => Ready::Native(native::prepare(self, spec)?),
            SandboxLevel::Gvisor | SandboxLevel::Vm => {
                Ready::Oci(Box::new(oci::prepare(self, spec)?))
            }
        }))
    }

    /// Ends and removes a one-shot cage that another hob on this machine made and left, by its
    /// record. True when there was something left of it.
    ///
    /// # Errors
    /// When a leftover does not go away.
    pub fn remove_orphan(&self, record: &CageRecord) -> Result<bool, SandboxError> {
        let left = native::remove_orphan(self, record)?;
        Ok(oci::remove_bundle(self, record)? || left)
    }
}

// === impl ReadyCage ===

impl ReadyCage {
    /// What another run of hob needs to know to remove it.
    pub fn record(&self) -> CageRecord {
        match &self.0 {
            Ready::Native(ready) => ready.record(),
            Ready::Oci(ready) => ready.record(),
        }
    }

    /// Readable when it has died before it was used.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Ready::Native(ready) => ready.pidfd(),
            Ready::Oci(ready) => ready.pidfd(),
        }
    }

    /// Starts the program; returns after its `exec`. Blocks for about a millisecond.
    ///
    /// # Errors
    /// When the program cannot be started; nothing is left behind.
    pub fn start(self, program: &Program) -> Result<OneShot, SandboxError> {
        match self.0 {
            Ready::Native(ready) => ready.start(program),
            Ready::Oci(ready) => ready.start(program),
        }
    }
}

// === impl OneShot ===

impl OneShot {
    /// Readable when there is news of the end: [`OneShot::try_end`] tells whether the program and all
    /// that it started are dead. If not yet, this is readable again when there is more. After the end
    /// it stays readable.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        match &self.running {
            Running::Native(running) => running.pidfd(),
            Running::Oci(running) => running.pidfd(),
        }
    }

    /// Has everything inside die, whatever it does against it, within some milliseconds. Does not
    /// wait for it.
    pub fn kill(&self) {
        match &self.running {
            Running::Native(running) => running.kill(),
            Running::Oci(running) => running.kill(),
        }
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// When the kernel cannot tell.
    pub fn try_end(&self) -> Result<Option<OneShotEnd>, SandboxError> {
        match &self.running {
            Running::Native(running) => running.try_end(),
            Running::Oci(running) => running.try_end(),
        }
    }

    /// Whether the kernel has killed one of its processes for want of memory. Reads small files of
    /// the kernel.
    pub fn is_out_of_memory(&self) -> bool {
        match &self.running {
            Running::Native(running) => running.is_out_of_memory(),
            Running::Oci(running) => running.is_out_of_memory(),
        }
    }

    /// Tells when to ask [`OneShot::is_out_of_memory`]; `None` where the kernel then ends all of
    /// it anyway, as cgroups of version 2 do.
    pub fn alarm(&self) -> Option<Alarm> {
        match &self.running {
            Running::Native(running) => running.alarm(),
            Running::Oci(running) => running.alarm(),
        }
    }

    /// What it has used so far, also after its end.
    pub fn usage(&self) -> Usage {
        match &self.running {
            Running::Native(running) => running.usage(),
            Running::Oci(running) => running.usage(),
        }
    }
}

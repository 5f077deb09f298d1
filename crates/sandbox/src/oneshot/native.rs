//! hob's own one-shot cages. The daemon prepares one (here): a helper makes the first process, which
//! builds the cage (`build`, `loopback`, `users`), leaves a process to wait for the program
//! (`program`), gives up all rights and watches (`watch`).

use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use hob_model::Isolation;
use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create},
    io::Errno,
    pipe::{PipeFlags, fcntl_setpipe_size, pipe_with},
    process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid},
};

use super::{OneShot, OneShotEnd, OneShotSpec, Program, Running as AnyRunning, Usage};
use crate::{
    Able, CageLimits, CageRecord, Mechanism, Sandbox, SandboxError,
    cage::{boot_id, start_time},
    cgroup::{self, Group, Tree},
    native::{
        channel,
        helper::ONE_SHOT,
        launch::{BUILD_TIMEOUT, First, Helper, memory_file, next_report, readable},
        plan::{Base, BoxSize, Failure, Proc, Report, Root, Scratch, UserNamespace},
        standard,
    },
};

mod able;
mod build;
mod check;
mod end;
mod loopback;
mod orphan;
mod plan;
mod program;
mod users;
mod watch;

pub(super) use able::able;
pub(crate) use build::carry_out;
pub(super) use orphan::remove as remove_orphan;

use plan::{Ended, Plan, Task};

/// The machine's name as the program sees it.
const HOSTNAME: &str = "sandbox";
/// Most files, folders and links in the box, `/tmp` and `/dev/shm` together. Each takes about a
/// kilobyte of the kernel's memory, which counts as the cage's.
const MAX_INODES: u64 = 16_384;
/// How much a program may write before it has to wait for its reader, in bytes.
const PIPE_SIZE: usize = 256 << 10;
/// How long the last process of a killed cage may take to go.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// A cage that waits for its program.
#[derive(Debug)]
pub(super) struct Ready {
    cage: OneCage,
    /// To the process that becomes the program; closed by its exec.
    channel: OwnedFd,
}

/// A cage whose program runs, or has run.
#[derive(Debug)]
pub(super) struct Running {
    cage: OneCage,
    /// Processor time that went into building it.
    spent: Duration,
    end: Mutex<Option<OneShotEnd>>,
}

/// What there is of a cage, used or not. Dropping it ends and removes all of it.
#[derive(Debug)]
struct OneCage {
    id: String,
    limits: CageLimits,
    pid: u32,
    start_time: u64,
    pidfd: OwnedFd,
    group: Box<dyn Group>,
    /// The cage's init lives as long as this is open, and tells by it how the program ended.
    life: OwnedFd,
    /// Owner of the box as its mounts' user namespace numbers it.
    owner: u32,
    killed: AtomicBool,
    reaped: AtomicBool,
}

/// Builds a cage and has it wait.
pub(super) fn prepare(sandbox: &Sandbox, spec: OneShotSpec) -> Result<Ready, SandboxError> {
    check::spec(&spec)?;
    if let Able::No { why, cure } = able(sandbox) {
        return Err(SandboxError::Unable {
            isolation: Isolation::Container,
            why,
            cure,
        });
    }
    let (life, theirs) = channel::pair().map_err(SandboxError::system("cannot make a channel"))?;
    let plan = plan(sandbox, &spec);
    let helper = helper(sandbox, &spec)?;
    let failed = |failure| explain(&spec.id, "", failure);
    helper.ready().map_err(failed)?;
    let order = || -> io::Result<()> {
        let plan = memory_file("hob-plan", &serde_json::to_vec(&plan)?)?;
        let filter = sandbox.strict_filter.as_fd();
        helper.send(ONE_SHOT, &[plan.as_fd(), filter, theirs.as_fd()])
    };
    order().map_err(|error| failed(Failure::at("order the cage")(error)))?;
    drop(theirs);
    let (first, channel) = helper.built().map_err(failed)?;
    let First { pid, pidfd, group } = first;
    // `able` has seen that there are groups.
    let Some(group) = group else {
        return Err(failed(Failure::at("limit the cage")("it has no cgroup")));
    };
    Ok(Ready {
        cage: OneCage {
            start_time: start_time(pid).unwrap_or(0),
            id: spec.id,
            limits: spec.limits,
            pid,
            pidfd,
            group,
            life,
            owner: plan.users.outer.0,
            killed: AtomicBool::new(false),
            reaped: AtomicBool::new(false),
        },
        channel,
    })
}

/// Starts the helper, in a group that has its limits already.
fn helper(sandbox: &Sandbox, spec: &OneShotSpec) -> Result<Helper, SandboxError> {
    let wrong = |problem: String| SandboxError::Helper {
        id: spec.id.clone(),
        problem,
    };
    let group = sandbox
        .tree
        .create(&spec.id)
        .map_err(SandboxError::system("cannot make a cgroup"))?;
    let joins = match (&sandbox.tree, &group) {
        (Tree::V1(_), Some(group)) => group.folders(),
        _ => Vec::new(),
    };
    let limited = group
        .as_ref()
        .map_or(Ok(()), |group| group.limit(&spec.limits));
    let helper = Helper::within(&sandbox.config, group, joins)
        .map_err(|error| wrong(format!("cannot be started: {error}")))?;
    // Only now, since a helper removes the group when it is dropped.
    limited.map_err(SandboxError::system("cannot limit a cgroup"))?;
    Ok(helper)
}

fn plan(sandbox: &Sandbox, spec: &OneShotSpec) -> Plan {
    let own = |id: u32| (id, id);
    let me = (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    let inner = own(standard::STRANGER_ID);
    // Without root's rights, all that there is to map is hob's own user.
    let around = (!sandbox.privileged).then_some(UserNamespace { inner, outer: me });
    let outer = match sandbox.privileged {
        true => own(spec.uid),
        false => inner,
    };
    Plan {
        root: Root {
            mount_point: sandbox.config.state.join("root"),
            hostname: HOSTNAME.into(),
            base: Base::Host(sandbox.bare.get()),
            files: standard::files_of_stranger(HOSTNAME),
            binds: Vec::new(),
            scratch: Scratch::Box(box_size(&spec.limits, outer.0)),
            proc: Proc::Bare,
        },
        around,
        users: UserNamespace { inner, outer },
        cgroup: match &sandbox.tree {
            Tree::V2(tree) => Some(tree.folder().join(&spec.id)),
            Tree::V1(_) | Tree::None(_) => None,
        },
    }
}

fn box_size(limits: &CageLimits, owner: u32) -> BoxSize {
    BoxSize {
        bytes: limits.tmp,
        inodes: MAX_INODES,
        owner: (owner, owner),
    }
}

fn explain(id: &str, program: &str, failure: Failure) -> SandboxError {
    match failure.step {
        Some(step) => SandboxError::Step {
            id: id.to_owned(),
            step,
            problem: failure.problem,
        },
        None => SandboxError::Exec {
            program: program.to_owned(),
            problem: failure.problem,
        },
    }
}

// === impl Ready ===

impl Ready {
    pub(super) fn record(&self) -> CageRecord {
        self.cage.record()
    }

    pub(super) fn pidfd(&self) -> BorrowedFd<'_> {
        self.cage.pidfd.as_fd()
    }

    pub(super) fn start(mut self, program: &Program) -> Result<OneShot, SandboxError> {
        check::program(program, &self.cage.limits, MAX_INODES)?;
        if program.limits != self.cage.limits {
            self.cage.limit(&program.limits)?;
        }
        let resize = (program.limits.tmp != self.cage.limits.tmp)
            .then(|| box_size(&program.limits, self.cage.owner));
        self.cage.limits = program.limits;
        let spent = self.cage.group.cpu_time().unwrap_or_default();
        let (stdout, stderr) = self
            .hand_over(program, resize)
            .map_err(SandboxError::system("cannot hand over the program"))?;
        self.until_exec()
            .map_err(|failure| self.cage.refused(program, failure))?;
        Ok(OneShot {
            running: AnyRunning::Native(Running {
                cage: self.cage,
                spent,
                end: Mutex::new(None),
            }),
            stdout: Some(stdout),
            stderr: Some(stderr),
        })
    }

    /// Returns the reading ends of what it will write to stdout and stderr.
    fn hand_over(
        &self,
        program: &Program,
        resize: Option<BoxSize>,
    ) -> io::Result<(OwnedFd, OwnedFd)> {
        let pair = |(name, value): &(String, String)| format!("{name}={value}");
        let task = Task {
            argv: program.argv.clone(),
            env: program.env.iter().map(pair).collect(),
            files: program
                .files
                .iter()
                .map(|(path, text)| (path.clone(), text.len()))
                .collect(),
            resize,
            open_files: program.limits.files.into(),
        };
        let contents = program.files.iter().map(|(_, text)| text.as_slice());
        let task = memory_file("hob-program", &task.encode(contents)?)?;
        let stdin = sealed(&program.stdin)?;
        let (stdout, stdout_end) = self.cage.pipe()?;
        let (stderr, stderr_end) = self.cage.pipe()?;
        let fds = [&task, &stdin, &stdout_end, &stderr_end].map(AsFd::as_fd);
        channel::send(&self.channel, b"program", &fds)?;
        Ok((stdout, stderr))
    }

    /// Waits until the channel closes, which it does by the exec of the program.
    fn until_exec(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + BUILD_TIMEOUT;
        let mut failed = None;
        while let Some((report, _)) = next_report(&self.channel, deadline, &mut None)? {
            if let Report::Failed(failure) = report {
                failed = Some(failure);
            }
        }
        failed.map_or(Ok(()), Err)
    }
}

/// What a program reads from stdin: its own file in memory, which nobody can write to.
fn sealed(bytes: &[u8]) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let fd = memfd_create("stdin", flags)?;
    std::os::unix::fs::FileExt::write_all_at(&File::from(fd.try_clone()?), bytes, 0)?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    fcntl_add_seals(&fd, seals)?;
    Ok(fd)
}

// === impl Running ===

impl Running {
    pub(super) fn pidfd(&self) -> BorrowedFd<'_> {
        self.cage.pidfd.as_fd()
    }

    pub(super) fn kill(&self) {
        self.cage.kill();
    }

    pub(super) fn try_end(&self) -> Result<Option<OneShotEnd>, SandboxError> {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        if end.is_none() && self.cage.reap()? {
            let killed = self.cage.killed.load(Ordering::Relaxed);
            let tally = self.cage.group.tally();
            *end = Some(end::explain(
                self.cage.last_words(),
                tally,
                &self.cage.limits,
                killed,
            ));
        }
        Ok(end.clone())
    }

    pub(super) fn usage(&self) -> Usage {
        let used = self.cage.group.cpu_time();
        Usage {
            cpu: used.map(|used| used.saturating_sub(self.spent)),
            memory: self.cage.group.peak(),
        }
    }
}

// === impl OneCage ===

impl OneCage {
    fn record(&self) -> CageRecord {
        CageRecord {
            id: self.id.clone(),
            isolation: Isolation::Container,
            mechanism: Mechanism::Native,
            limits: self.limits,
            boot: boot_id(),
            pid: self.pid,
            start_time: self.start_time,
            cgroups: self.group.folders(),
        }
    }

    fn limit(&self, limits: &CageLimits) -> Result<(), SandboxError> {
        let limited = self.group.limit(limits);
        limited.map_err(SandboxError::system("cannot limit a cgroup"))
    }

    fn refused(&self, program: &Program, failure: Failure) -> SandboxError {
        let name = program.argv.first().map_or("", String::as_str);
        explain(&self.id, name, failure)
    }

    /// Its reading end, which does not block, and its writing end, which does.
    fn pipe(&self) -> io::Result<(OwnedFd, OwnedFd)> {
        let (reading, writing) = pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&reading, true)?;
        // A user's pipes may have used up their share of the kernel's memory; it works as it is.
        let _ = fcntl_setpipe_size(&writing, PIPE_SIZE);
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

    fn kill(&self) {
        self.killed.store(true, Ordering::Relaxed);
        // In this order: none of the others can be born or live on after the first has died, and
        // what has used up its share of processor time dies only once it gets more.
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        if let Err(error) = self.group.end() {
            tracing::warn!(cage = %self.id, %error, "cannot hurry the end of a cage");
        }
    }

    /// Whether its init has ended, and with it all that was inside.
    fn reap(&self) -> Result<bool, SandboxError> {
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

    /// What its init told at its end. That has closed the other end, so this does not wait.
    fn last_words(&self) -> Option<Ended> {
        let message = channel::receive(&self.life).ok()??;
        serde_json::from_slice(&message.bytes).ok()
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

impl Drop for OneCage {
    fn drop(&mut self) {
        if let Err(error) = self.clear() {
            tracing::warn!(cage = %self.id, %error, "cannot remove all of a one-shot cage");
        }
    }
}

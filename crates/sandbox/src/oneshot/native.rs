//! hob's own one-shot cages. The daemon prepares one (here): a helper makes the first process, which
//! builds the cage (`build`, `loopback`, `users`), leaves a process to wait for the program
//! (`program`), gives up all rights and watches (`watch`).

use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use hob_model::Isolation;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

use super::{OneShot, OneShotEnd, OneShotSpec, Program, Running as AnyRunning, Usage};
use crate::{
    Able, Alarm, CageLimits, CageRecord, Sandbox, SandboxError,
    cgroup::Tree,
    native::{
        channel,
        helper::ONE_SHOT,
        launch::{BUILD_TIMEOUT, Helper, memory_file, next_report},
        plan::{Base, BoxSize, Failure, Proc, Report, Root, Scratch, UserNamespace},
        standard,
    },
};

mod able;
mod build;
mod cage;
mod check;
mod end;
mod loopback;
mod orphan;
mod plan;
mod program;
mod users;
mod watch;

pub(super) use able::{able, limits as able_limits};
pub(crate) use build::carry_out;
pub(super) use orphan::remove as remove_orphan;

pub(super) use {
    cage::pipe,
    check::{program as check_program, spec as check_spec},
    end::explain as explain_end,
    plan::Ended,
};

use cage::{Life, OneCage};
use plan::{Plan, Task};

/// The machine's name as the program sees it.
pub(super) const HOSTNAME: &str = "sandbox";
/// Most files, folders and links in the box, `/tmp` and `/dev/shm` together. Each takes about a
/// kilobyte of the kernel's memory, which counts as the cage's.
pub(super) const MAX_INODES: u64 = 16_384;

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
    let (life, theirs) = Life::pair().map_err(SandboxError::system("cannot make a channel"))?;
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
    let cage = OneCage::new(spec, first, life, plan.users.outer.0)?;
    Ok(Ready { cage, channel })
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

pub(super) fn explain(id: &str, program: &str, failure: Failure) -> SandboxError {
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
        self.cage.life.news.as_fd()
    }

    pub(super) fn kill(&self) {
        self.cage.kill();
    }

    pub(super) fn try_end(&self) -> Result<Option<OneShotEnd>, SandboxError> {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        if end.is_none() {
            *end = self.cage.end()?;
        }
        Ok(end.clone())
    }

    pub(super) fn is_out_of_memory(&self) -> bool {
        self.cage.group.tally().oom_kills > 0
    }

    pub(super) fn alarm(&self) -> Option<Alarm> {
        self.cage.group.memory_alarm()
    }

    pub(super) fn usage(&self) -> Usage {
        let used = self.cage.group.cpu_time();
        Usage {
            cpu: used.map(|used| used.saturating_sub(self.spent)),
            memory: self.cage.group.peak(),
        }
    }
}

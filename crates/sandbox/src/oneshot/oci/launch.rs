//! Starting a runtime where the cage's limits hold, and the other roles of hob's executable.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream, process::CommandExt},
    },
    process::{self, Command},
};

use hob_model::Isolation;

use super::{
    super::{OneShotSpec, native},
    Bundle, PROGRAM, first,
};
use crate::{
    Cage, Sandbox, SandboxError,
    cage::Nature,
    cgroup::{self, Group, Tree},
    native::{helper, launch::First},
    oci,
};

/// The argument that makes hob's executable join a cgroup and become a runtime.
const JOIN: &str = "cage-runtime";
/// Between the files of the cgroup and the runtime's own words.
const END_OF_FILES: &str = "--";

/// The cage, hob's end of the channel, and what it reads of stdout and stderr.
pub(super) type Launched = (Cage, UnixStream, OwnedFd, OwnedFd);

/// Starts the runtime in the cage's cgroup, with its end of the channel and of two pipes.
pub(super) fn launch(
    sandbox: &Sandbox,
    spec: &OneShotSpec,
    bundle: &Bundle,
) -> Result<Launched, SandboxError> {
    let group = sandbox.tree.create(&spec.id);
    let group = group.map_err(SandboxError::system("cannot make a cgroup"))?;
    let mut group = Held(group);
    if let Some(group) = &group.0 {
        let limits = bundle.runtime.limits(&spec.limits);
        let limited = group.limit(&limits);
        limited.map_err(SandboxError::system("cannot limit a cgroup"))?;
    }
    let start = || {
        let (channel, theirs) = UnixStream::pair()?;
        let (stdout, to_stdout) = native::pipe()?;
        let (stderr, to_stderr) = native::pipe()?;
        let folders = group.0.as_ref().map(|group| group.folders());
        let file = match sandbox.tree {
            // Moves one thread, for which the kernel need not hold up every fork.
            Tree::V1(_) => "tasks",
            Tree::V2(_) | Tree::None(_) => "cgroup.procs",
        };
        let files = folders.into_iter().flatten();
        let mut command = Command::new(&sandbox.config.helper);
        command.arg(JOIN);
        command.args(files.map(|folder| folder.join(file)));
        command.arg(END_OF_FILES).arg(&bundle.runtime.program);
        command.args(bundle.runtime.run(&bundle.path)).arg(&spec.id);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
            .stdin(OwnedFd::from(theirs))
            .stdout(to_stdout)
            .stderr(to_stderr);
        // The terminal's Ctrl-C is the daemon's.
        command.process_group(0);
        Ok((command.spawn()?, channel, stdout, stderr))
    };
    let started: io::Result<_> = start();
    let (mut child, channel, stdout, stderr) =
        started.map_err(|error| bundle.refused(error.to_string()))?;
    let pidfd = oci::open(child.id()).inspect_err(|_| {
        let _ = child.kill();
        let _ = child.wait();
    })?;
    let first = First {
        pid: child.id(),
        pidfd,
        group: group.0.take(),
    };
    let nature = Nature {
        id: spec.id.clone(),
        // As it looks from here: processes that only the cgroup holds together.
        isolation: Isolation::Process,
        limits: spec.limits,
    };
    Ok((Cage::new(nature, first, None), channel, stdout, stderr))
}

/// A group that is removed, unless somebody takes it.
struct Held(Option<Box<dyn Group>>);

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(group) = &self.0 {
            let _ = cgroup::remove(&**group);
        }
    }
}

// === the executable's other roles ===

/// Becomes a runtime in a cgroup, or the first process of a cage, and never returns; else does
/// nothing.
pub(crate) fn run_role_if_asked(role: &OsStr, args: impl Iterator<Item = OsString>) {
    if role == PROGRAM {
        process::exit(first::run());
    }
    if role == JOIN {
        let problem = become_runtime(args);
        let _ = io::Write::write_all(&mut io::stderr(), format!("{problem}\n").as_bytes());
        process::exit(1);
    }
}

/// Returns only why that did not work.
fn become_runtime(mut args: impl Iterator<Item = OsString>) -> String {
    let files = args.by_ref().take_while(|arg| arg != END_OF_FILES);
    if let Err(failure) = helper::join(files.collect::<Vec<_>>().into_iter()) {
        return failure.to_string();
    }
    match args.next() {
        Some(program) => Command::new(program).args(args).exec().to_string(),
        None => "no runtime is named".into(),
    }
}

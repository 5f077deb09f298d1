//! The process that becomes the program. It waits for it with the rights to get everything ready,
//! gives them up, and executes it.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::OpenOptionsExt,
    },
    path::Path,
    process,
};

use super::{
    plan::{Plan, Task},
    users,
};
use crate::{
    BOX,
    native::{
        channel::{self, Message},
        helper::{contents, report},
        identity,
        plan::{Failure, Report, Rlimits},
        program::replace,
        root,
    },
    seccomp::{self, Filter},
};

/// How much sooner than others the kernel takes the program's processes when the whole machine is
/// out of memory; from -1,000 to 1,000.
const OOM_SCORE: &str = "1000";
/// Of each file, so that a script among them can be started as it is.
const FILE_MODE: u32 = 0o755;

/// Waits for the program and becomes it; returns only why that did not work.
pub(super) fn wait(
    plan: &Plan,
    mut filter: Filter,
    channel: &OwnedFd,
    namespace: &OwnedFd,
) -> Failure {
    if let Err(failure) = settle() {
        return failure;
    }
    report(channel.as_fd(), &Report::Built, &[]);
    let order = match channel::receive(channel) {
        Ok(Some(order)) => order,
        // Dropped before it was used.
        Ok(None) => process::exit(0),
        Err(error) => return Failure::at("receive the program")(error),
    };
    match become_program(plan, &mut filter, namespace, order) {
        Err(failure) => failure,
        Ok(task) => Failure {
            step: None,
            problem: replace(&task.argv, &task.env),
        },
    }
}

/// What can be done before anybody knows which program it will be.
fn settle() -> Result<(), Failure> {
    identity::new_session().map_err(Failure::at("make a session"))?;
    fs::write("/proc/self/oom_score_adj", OOM_SCORE).map_err(Failure::at("set the oom score"))?;
    identity::yield_to_wakers().map_err(Failure::at("set the scheduling policy"))?;
    rustix::process::chdir(BOX).map_err(Failure::at("enter the box"))
}

fn become_program(
    plan: &Plan,
    filter: &mut Filter,
    namespace: &OwnedFd,
    order: Message,
) -> Result<Task, Failure> {
    let Ok([task, stdin, stdout, stderr]) = <[OwnedFd; channel::MAX_FDS]>::try_from(order.fds)
    else {
        return Err(Failure::at("receive the program")(
            "descriptors are missing",
        ));
    };
    let bytes = contents(task)?;
    let task = Task::decode(&bytes);
    let (task, files) = task.ok_or_else(|| Failure::at("read the program")("it is cut short"))?;
    if let Some(size) = &task.resize {
        root::resize(size).map_err(Failure::at("set the size of the box"))?;
    }
    redirect(&stdin, &stdout, &stderr).map_err(Failure::at("redirect the output"))?;
    identity::limit(&Rlimits {
        files: task.open_files,
        data: None,
        processes: None,
    })?;
    users::enter(namespace, &plan.users)?;
    for ((path, _), text) in task.files.iter().zip(files) {
        write(path, text).map_err(Failure::at(format!("write the file {}", path.display())))?;
    }
    identity::close_on_exec().map_err(Failure::at("close descriptors"))?;
    identity::reset_signals().map_err(Failure::at("reset signals"))?;
    // Last, since the filter refuses much of the above.
    seccomp::load(filter).map_err(Failure::at("load the seccomp filter"))?;
    Ok(task)
}

fn redirect(stdin: &OwnedFd, stdout: &OwnedFd, stderr: &OwnedFd) -> io::Result<()> {
    rustix::stdio::dup2_stdin(stdin)?;
    rustix::stdio::dup2_stdout(stdout)?;
    Ok(rustix::stdio::dup2_stderr(stderr)?)
}

/// By the program's own user, in a box where nobody else is yet.
fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let file = File::options()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(path);
    file?.write_all(text)
}

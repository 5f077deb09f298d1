//! The cage's side of [`prepare`](super::prepare): the helper makes the first process, and that
//! builds the cage, has a process wait for the program, gives up all rights and watches.

use std::{
    os::fd::{AsFd, OwnedFd},
    path::Path,
    process,
};

use super::{loopback, plan::Plan, program, users, watch};
use crate::{
    BOX,
    native::{
        channel::Message,
        helper::{
            NAMESPACES, contents, enter_user_namespace, first_process, null_stdin, open_folder,
            read_filter, report,
        },
        identity,
        plan::{Failure, Report},
        root,
    },
    seccomp::Filter,
};

/// Exit status of an init that could not build its cage, and of a process that could not become
/// the program.
pub(super) const FAILED: i32 = 125;

/// In the helper: makes the cage's first process. In that, never returns.
pub(crate) fn carry_out(order: Message, channel: &OwnedFd) -> Result<(), Failure> {
    let Ok([plan, filter, life]) = <[OwnedFd; 3]>::try_from(order.fds) else {
        return Err(Failure::at("receive the plan")("descriptors are missing"));
    };
    null_stdin().map_err(Failure::at("close the input"))?;
    let plan: Plan =
        serde_json::from_slice(&contents(plan)?).map_err(Failure::at("read the plan"))?;
    let filter = read_filter(filter)?;
    if let Some(users) = &plan.around {
        enter_user_namespace(users)?;
    }
    let cgroup = plan.cgroup.as_deref().map(open_folder).transpose();
    let cgroup = cgroup.map_err(Failure::at("open the cgroup"))?;
    let namespaces = NAMESPACES | libc::CLONE_NEWNET;
    match first_process(namespaces, cgroup.as_ref().map(AsFd::as_fd)) {
        Ok(Some((pid, pidfd))) => {
            report(channel.as_fd(), &Report::Started { pid }, &[pidfd.as_fd()]);
            Ok(())
        }
        Ok(None) => {
            let failure = run(&plan, filter, channel, &life);
            report(channel.as_fd(), &Report::Failed(failure), &[]);
            process::exit(FAILED)
        }
        Err(error) => Err(Failure::at("make the namespaces")(error)),
    }
}

/// Builds the cage and stays in it as its init; returns only why that did not work.
fn run(plan: &Plan, filter: Filter, channel: &OwnedFd, life: &OwnedFd) -> Failure {
    let users = match build(plan) {
        Ok(users) => users,
        Err(failure) => return failure,
    };
    match identity::fork() {
        Err(error) => Failure::at("start the program's process")(error),
        Ok(None) => {
            let failure = program::wait(plan, filter, channel, &users);
            report(channel.as_fd(), &Report::Failed(failure), &[]);
            process::exit(FAILED)
        }
        Ok(Some(program)) => match users::enter(&users, &plan.users) {
            Err(failure) => failure,
            Ok(()) => {
                identity::close_all_but(life);
                watch::until_the_end(program, life)
            }
        },
    }
}

/// What needs rights: all that the program will see. Returns the user namespace for it.
fn build(plan: &Plan) -> Result<OwnedFd, Failure> {
    // Away from the daemon's terminal and its Ctrl-C.
    identity::new_session().map_err(Failure::at("make a session"))?;
    identity::block_signals().map_err(Failure::at("block signals"))?;
    if plan.around.is_none() {
        identity::set_groups(&[])?;
    }
    // Not by the clone: its root would be where the helper is.
    identity::own_cgroup_namespace().map_err(Failure::at("make a cgroup namespace"))?;
    loopback::bring_up().map_err(Failure::at("bring up the loopback interface"))?;
    root::build(&plan.root, Path::new(BOX))?;
    users::make(&plan.users)
}

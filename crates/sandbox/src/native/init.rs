//! The cage's first process: builds the cage around itself, starts the program, reaps orphans,
//! passes SIGTERM on as the program's stop signal, and ends as the program ended.

use std::{fs, os::fd::BorrowedFd, process};

use rustix::process::{Pid, Signal, WaitOptions};

use super::{
    confine,
    helper::report,
    identity,
    plan::{Failure, Level, Plan, Report},
    program, root,
};
use crate::seccomp::Filter;

/// Exit status of an init that could not start its program.
const FAILED: i32 = 125;
/// Added to the number of the signal that ended the program, as shells do.
const SIGNALLED: i32 = 128;

/// Never returns in the cage's first process; the return type lets the caller use `match`.
pub(crate) fn run(
    plan: &Plan,
    filter: &mut Filter,
    channel: BorrowedFd<'_>,
) -> Result<(), Failure> {
    let program = match start(plan, filter, channel) {
        Ok(program) => program,
        Err(failure) => {
            report(channel, &Report::Failed(failure), &[]);
            process::exit(FAILED)
        }
    };
    identity::close_all_but_output();
    let status = reap_until(program, plan.stop_signal);
    if matches!(plan.level, Level::Process { .. }) {
        end_descendants();
    }
    process::exit(status)
}

fn start(plan: &Plan, filter: &mut Filter, channel: BorrowedFd<'_>) -> Result<Pid, Failure> {
    // Away from the daemon's terminal and its Ctrl-C.
    identity::new_session().map_err(Failure::at("make a session"))?;
    identity::block_signals().map_err(Failure::at("block signals"))?;
    match &plan.level {
        Level::Container(layout) => root::build(layout, &plan.cwd)?,
        // Orphans come to this process instead of to the host's init.
        Level::Process { .. } => {
            let me = Some(rustix::process::getpid());
            rustix::process::set_child_subreaper(me).map_err(Failure::at("become the reaper"))?;
        }
    }
    identity::become_user(plan)?;
    let rules = match &plan.level {
        Level::Container(_) => None,
        Level::Process {
            read_only,
            read_write,
        } => Some(confine::rules(read_only, read_write)?),
    };
    match identity::fork().map_err(Failure::at("start the program's process"))? {
        Some(program) => Ok(program),
        None => {
            let failure = program::exec(plan, filter, rules);
            report(channel, &Report::Failed(failure), &[]);
            process::exit(FAILED)
        }
    }
}

/// Waits until `program` has ended and returns its status.
fn reap_until(program: Pid, stop_signal: i32) -> i32 {
    loop {
        if let Signal::TERM = identity::next_signal() {
            // It may just have ended, which the next round finds.
            let _ = identity::signal(program, stop_signal);
        }
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if pid == program {
                let signal = status.terminating_signal().map(|signal| SIGNALLED + signal);
                return status.exit_status().or(signal).unwrap_or(FAILED);
            }
        }
    }
}

/// At level `process` no namespace ends with its init, so what the program left behind is ended
/// one by one; each orphan becomes a child of this process.
fn end_descendants() {
    loop {
        let children = fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
        for pid in children
            .split_whitespace()
            .filter_map(|pid| Pid::from_raw(pid.parse().ok()?))
        {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
    }
}

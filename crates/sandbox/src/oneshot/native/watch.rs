//! The cage's init, once the cage stands: reaps, tells how the program ended, and ends when the
//! program or the daemon does. The kernel ends with it all that is in the cage.

use std::{
    os::fd::{AsFd, OwnedFd},
    process,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, WaitOptions, WaitStatus},
};

use super::{build::FAILED, plan::Ended};
use crate::native::{channel, identity, plan::Failure};

/// Returns only why nothing can be watched. `life` closes when the daemon is no more, however it
/// ended, and whether the program runs yet or not.
pub(super) fn until_the_end(program: Pid, life: &OwnedFd) -> Failure {
    let children = match identity::child_signals() {
        Ok(children) => children,
        Err(error) => return Failure::at("watch the program")(error),
    };
    loop {
        let mut watched = [
            PollFd::from_borrowed_fd(life.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(children.as_fd(), PollFlags::IN),
        ];
        match poll(&mut watched, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Failure::at("watch the program")(error),
        }
        // Nothing is ever sent this way.
        if !watched[0].revents().is_empty() {
            process::exit(FAILED);
        }
        if !watched[1].revents().is_empty() {
            identity::take_signal(&children);
            reap(program, life);
        }
    }
}

/// Ends this process when `program` has ended.
fn reap(program: Pid, life: &OwnedFd) {
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if pid == program {
            tell(status, life);
            process::exit(0);
        }
    }
}

fn tell(status: WaitStatus, life: &OwnedFd) {
    let exited = status.exit_status().map(Ended::Exited);
    let ended = exited.or(status.terminating_signal().map(Ended::Signalled));
    let bytes = serde_json::to_vec(&ended).unwrap_or_default();
    // The daemon may have gone, and then nobody wants to know.
    let _ = channel::send(life, &bytes, &[]);
}

//! The cage's init, once the cage stands: reaps, tells how the program ended, and ends when the
//! program or the daemon does. The kernel ends with it all that is in the cage.

use std::{
    os::fd::{AsFd, OwnedFd},
    process,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    process::{Pid, WaitOptions, WaitStatus},
};

use super::{
    build::FAILED,
    plan::{Ended, Word},
};
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
            Ok(_) | Err(Errno::INTR) => {}
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
            end(ended(status), life);
            process::exit(0);
        }
    }
}

/// Ends what the program left behind, and tells. The kernel would do it as well when this process
/// ends, but not before it has taken the cage's namespaces down, for which the caller of the
/// program need not wait.
fn end(ended: Ended, life: &OwnedFd) {
    // To all but this one; none can be born meanwhile.
    let _ = identity::signal_all(libc::SIGKILL);
    if bury(WaitOptions::NOHANG) == Buried::Some {
        tell(Word::Ending(ended), life);
        bury(WaitOptions::empty());
    }
    tell(Word::Dead(ended), life);
}

#[derive(PartialEq, Eq)]
enum Buried {
    All,
    Some,
}

/// Waits for those that have died; orphans are this process's children.
fn bury(options: WaitOptions) -> Buried {
    loop {
        match rustix::process::wait(options) {
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return Buried::Some,
            Err(_) => return Buried::All,
        }
    }
}

fn ended(status: WaitStatus) -> Ended {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Ended::Exited(code),
        (None, Some(signal)) => Ended::Signalled(signal),
        // Nobody asks for children that were stopped.
        (None, None) => Ended::Exited(FAILED),
    }
}

fn tell(word: Word, life: &OwnedFd) {
    let bytes = serde_json::to_vec(&word).unwrap_or_default();
    // The daemon may have gone, and then nobody wants to know.
    let _ = channel::send(life, &bytes, &[]);
}

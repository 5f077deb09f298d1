//! Ending a process tree where no cgroup holds it together.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

/// Rounds after which a tree that grows faster than it is cut is given up.
const ROUNDS: usize = 100;

/// Sends SIGKILL to all descendants of `reaper`, a process that inherits its orphans. It is
/// stopped meanwhile, so that no number of an ended child can be given to somebody else.
pub(crate) fn kill(reaper: u32) {
    let Some(reaper) = i32::try_from(reaper).ok().and_then(Pid::from_raw) else {
        return;
    };
    let _ = kill_process(reaper, Signal::STOP);
    for _ in 0..ROUNDS {
        if !kill_below(reaper) {
            return;
        }
    }
}

/// Whether there was a living one. Children first stopped, then killed bottom up: a child's
/// own children would else move out of sight for a moment.
fn kill_below(parent: Pid) -> bool {
    let mut any = false;
    for child in children(parent) {
        if is_dead(child) {
            continue;
        }
        any = true;
        let _ = kill_process(child, Signal::STOP);
        kill_below(child);
        let _ = kill_process(child, Signal::KILL);
    }
    any
}

fn children(parent: Pid) -> Vec<Pid> {
    let parent = parent.as_raw_nonzero();
    let threads = fs::read_dir(format!("/proc/{parent}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let lists = threads
        .map(|thread| fs::read_to_string(thread.path().join("children")).unwrap_or_default());
    let numbers = lists.flat_map(|list| {
        list.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    });
    numbers
        .filter_map(|number| Pid::from_raw(number.parse().ok()?))
        .collect()
}

fn is_dead(pid: Pid) -> bool {
    let stat =
        fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}

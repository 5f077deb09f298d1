//! What names one process of a machine for ever: its number, its start, and the machine's boot.

use std::fs;

/// Which boot of the machine this is; empty where the kernel does not tell.
pub fn boot_id() -> String {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    text.trim().to_owned()
}

/// When a process started, in clock ticks since boot. `None` when there is none, or it has ended and
/// nobody has waited for it yet.
pub fn living_since(pid: u32) -> Option<u64> {
    let (state, start) = stat(pid)?;
    (!matches!(state, 'Z' | 'X')).then_some(start)
}

/// The same, also of one that nobody has waited for yet.
pub(crate) fn start_time(pid: u32) -> Option<u64> {
    stat(pid).map(|(_, start)| start)
}

/// Fields 3 and 22 of `/proc/PID/stat`; the name in field 2 may hold blanks and parentheses.
fn stat(pid: u32) -> Option<(char, u64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::process::{Command, id};

    use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

    use super::*;

    #[test]
    fn the_dead_are_told_from_the_living() {
        let own = start_time(id());
        assert!(own.is_some_and(|start| start > 0));
        assert_eq!(living_since(id()), own);
        let mut child = Command::new("true").spawn().unwrap();
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(Pid::from_child(&child)), look).unwrap();
        assert!(start_time(child.id()) >= own);
        assert_eq!(living_since(child.id()), None);
        child.wait().unwrap();
        assert_eq!(start_time(child.id()), None);
        assert!(!boot_id().is_empty());
    }
}

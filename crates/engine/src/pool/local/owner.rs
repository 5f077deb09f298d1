use std::{fs, process};

use hob_sandbox::{boot_id, living_since};
use serde::{Deserialize, Serialize};

/// The hob that a lease belongs to: one process for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Owner {
    /// Its process id.
    pid: u32,
    /// Its start, in clock ticks since boot.
    start_time: u64,
    /// Which boot of the machine it belongs to.
    boot: String,
    /// In which namespace its process id counts.
    namespace: String,
}

// === impl Owner ===

impl Owner {
    /// This process.
    pub(super) fn me() -> Self {
        let pid = process::id();
        Self {
            pid,
            start_time: living_since(pid).unwrap_or(0),
            boot: boot_id(),
            namespace: namespace(),
        }
    }

    /// Whether it is known to be no more. One whose process id means nothing here counts as alive.
    pub(super) fn is_dead(&self) -> bool {
        if self.boot.is_empty() || self.start_time == 0 {
            return false;
        }
        if self.boot != boot_id() {
            return true;
        }
        !self.namespace.is_empty()
            && self.namespace == namespace()
            && living_since(self.pid) != Some(self.start_time)
    }
}

fn namespace() -> String {
    let link = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    link.to_string_lossy().into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_that_is_known_to_be_gone_is_dead() {
        let me = Owner::me();
        assert!(!me.is_dead());
        let change = |change: fn(&mut Owner)| {
            let mut other = me.clone();
            change(&mut other);
            other.is_dead()
        };
        assert!(change(|other| other.start_time += 1));
        assert!(change(|other| other.boot = "an earlier one".into()));
        assert!(!change(|other| other.boot.clear()));
        assert!(!change(|other| {
            other.start_time += 1;
            other.namespace = "pid:[1]".into();
        }));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let mut owner = me.clone();
        (owner.pid, owner.start_time) = (child.id(), u64::MAX);
        assert!(owner.is_dead());
        child.wait().unwrap();
    }
}

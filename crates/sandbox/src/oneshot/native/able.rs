//! Whether this machine can cage a stranger's program.

use std::fs;

use crate::{Able, Sandbox};

/// What must be limited for all processes together: without it, one program takes all there is.
const NEEDED: [&str; 3] = ["memory", "pids", "cpu"];
/// How many user namespaces there may be at once; counted for root as well.
const USER_NAMESPACES: &str = "/proc/sys/user/max_user_namespaces";

/// What is missing, if anything, and the cure.
pub(in super::super) fn able(sandbox: &Sandbox) -> Able {
    let capabilities = sandbox.capabilities();
    if !capabilities.container.is_able() {
        return capabilities.container.clone();
    }
    if let no @ Able::No { .. } = limits(sandbox) {
        return no;
    }
    user_namespaces(fs::read_to_string(USER_NAMESPACES).ok().as_deref())
}

/// Whether all that a cage's processes use together can be limited.
pub(in super::super) fn limits(sandbox: &Sandbox) -> Able {
    let support = &sandbox.capabilities().cgroup;
    if let Able::No { .. } = support.able {
        return support.able.clone();
    }
    let has = |name: &&str| {
        support
            .controllers
            .iter()
            .any(|controller| controller == name)
    };
    if let Some(missing) = NEEDED.iter().find(|name| !has(name)) {
        return Able::no(
            format!("the cgroup controller {missing} is missing"),
            "enable it in the kernel or delegate it to hob",
        );
    }
    match sandbox.tree.counts_cpu() {
        true => Able::Yes,
        false => Able::no(
            "the cgroup controller cpuacct is missing, so that nobody counts processor time",
            "mount it (`mount -t cgroup -o cpuacct cgroup /sys/fs/cgroup/cpuacct`), or boot with cgroup v2",
        ),
    }
}

/// By the text of the kernel's setting.
fn user_namespaces(setting: Option<&str>) -> Able {
    match setting.map(|text| text.trim().parse::<u64>()) {
        Some(Ok(0)) => Able::no(
            "user.max_user_namespaces is 0, so that a program cannot have a user namespace of its own",
            "`sysctl -w user.max_user_namespaces=10000`",
        ),
        Some(_) => Able::Yes,
        None => Able::no(
            "the kernel has no user namespaces",
            "use a kernel with CONFIG_USER_NS",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_needs_user_namespaces_too() {
        assert!(user_namespaces(Some("96365\n")).is_able());
        assert!(!user_namespaces(Some("0\n")).is_able());
        assert!(!user_namespaces(None).is_able());
    }
}

//! Removing what another hob on this machine left.

use std::{os::fd::AsFd, path::Path, time::Duration};

use rustix::{
    io::Errno,
    process::{Signal, pidfd_send_signal},
};

use crate::{
    CageRecord, Sandbox, SandboxError,
    birth::{boot_id, start_time},
    cgroup::{self, Group},
    native::launch::readable,
    oci,
    spec::is_id,
};

/// Whether there was something left.
///
/// A record is only text that somebody wrote: its process is the one that is meant when it started
/// then, and its groups are a hob's when they are called so and stand where cgroups are.
pub(in super::super) fn remove(
    sandbox: &Sandbox,
    record: &CageRecord,
) -> Result<bool, SandboxError> {
    // With a boot, all of it has gone.
    if !is_id(&record.id) || record.boot.is_empty() || record.boot != boot_id() {
        return Ok(false);
    }
    let mut found = end_process(record)?;
    let own = sandbox.tree.folders();
    let is_own = |folder: &Path| own.iter().any(|own| folder.starts_with(own));
    let foreign = record.cgroups.iter().filter(|folder| !is_own(folder));
    if let Some(group) = cgroup::foreign(&record.id, foreign) {
        found |= remove_group(&*group)?;
    }
    Ok(found)
}

/// Ends the cage's init, if it lives, and with it all that is inside.
fn end_process(record: &CageRecord) -> Result<bool, SandboxError> {
    // In this order: the handle stays that of the process whose start is read after it.
    let Ok(pidfd) = oci::open(record.pid) else {
        return Ok(false);
    };
    let has_ended = readable(pidfd.as_fd(), Duration::ZERO).unwrap_or(false);
    if has_ended || start_time(record.pid) != Some(record.start_time) {
        return Ok(false);
    }
    // What has used up its share of processor time dies when its group is removed, below.
    match pidfd_send_signal(&pidfd, Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => Ok(true),
        Err(error) => Err(SandboxError::system("cannot end a cage")(error)),
    }
}

fn remove_group(group: &dyn Group) -> Result<bool, SandboxError> {
    let folders = group.folders();
    if !folders.iter().any(|folder| folder.exists()) {
        return Ok(false);
    }
    let folder = folders.into_iter().next().unwrap_or_default();
    group
        .end()
        .and_then(|()| cgroup::remove(group))
        .map_err(SandboxError::io("cannot remove the cgroup", folder))?;
    Ok(true)
}

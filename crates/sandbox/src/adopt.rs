//! Taking over the cages that an earlier daemon left running.

use crate::{
    Cage, CageRecord, Mechanism, Sandbox, SandboxError,
    birth::{boot_id, start_time},
    cage::Nature,
    cgroup::{self, Group},
    native::launch::First,
    oci::{self, Container},
    spec::is_id,
};

impl Sandbox {
    /// Takes over a cage that an earlier daemon with the same `cgroup_name` and `state` made;
    /// `None` when it is no more. Call it before [`Sandbox::sweep`].
    ///
    /// It is the same cage when its first process is: of this boot, with this number, started at
    /// this time. If it is not in the cgroup where this daemon keeps its cages, nothing would
    /// bound or count it: it is ended here.
    ///
    /// The cage is not this process's child, so nobody can tell its exit status. All else is as
    /// with [`Sandbox::spawn`].
    ///
    /// # Errors
    /// When the kernel cannot tell.
    pub fn adopt(&self, record: &CageRecord) -> Result<Option<Cage>, SandboxError> {
        if !is_id(&record.id) || record.boot.is_empty() || record.boot != boot_id() {
            return Ok(None);
        }
        // In this order: the handle stays that of the process whose start is read after it.
        let Ok(pidfd) = oci::open(record.pid) else {
            return Ok(None);
        };
        if start_time(record.pid) != Some(record.start_time) {
            return Ok(None);
        }
        let container = match &record.mechanism {
            Mechanism::Native => None,
            Mechanism::Oci(program) => Container::adopt(&self.config.state, program, &record.id),
        };
        let group = self.tree.open(&record.id);
        let is_ours = match record.mechanism {
            Mechanism::Native => is_in(record, group.as_deref(), record.pid),
            // The program is, its runtime is not; and where, is the runtime's affair.
            Mechanism::Oci(_) => container.is_some() && is_at(record, group.as_deref()),
        };
        let nature = Nature {
            id: record.id.clone(),
            isolation: record.isolation,
            limits: record.limits,
        };
        let first = First {
            pid: record.pid,
            pidfd,
            group: group.filter(|_| is_ours),
        };
        let cage = Cage::new(nature, first, container);
        // Else it is dropped, and that ends it. A zombie ended a moment ago.
        Ok((is_ours && cage.try_wait()?.is_none()).then_some(cage))
    }
}

/// Whether the group is the one that was recorded.
fn is_at(record: &CageRecord, group: Option<&dyn Group>) -> bool {
    let folders = group.map(Group::folders).unwrap_or_default();
    folders == record.cgroups
}

/// And the process in it.
fn is_in(record: &CageRecord, group: Option<&dyn Group>, pid: u32) -> bool {
    let inside = |folder| {
        let processes = cgroup::processes(folder);
        let mut pids = processes.iter().map(|pid| pid.as_raw_nonzero().get());
        pids.any(|inside| u32::try_from(inside) == Ok(pid))
    };
    is_at(record, group) && record.cgroups.iter().all(|folder| inside(folder.as_path()))
}

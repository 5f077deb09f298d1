use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Alarm, CONTROLLERS, CPU_PERIOD, SHARES, STAND_STILL, Tally, kill_processes, number, processes,
    stand_still, write,
};
use crate::{Able, CageLimits};

/// Beside the limits' controllers, what has a cage stand still; a kill without a gap needs it too.
const FREEZER: &str = "freezer";
/// What it is told by, and tells. A group that was told and is not there yet says `FREEZING`.
const STATE: &str = "freezer.state";
const FROZEN: &str = "FROZEN";
const THAWED: &str = "THAWED";
/// And what counts the processor time that was used.
const ACCOUNT: &str = "cpuacct";

/// This daemon's folder in each version 1 hierarchy.
#[derive(Debug)]
pub(crate) struct Tree {
    /// Controllers and folders; a folder stands twice where two controllers share a mount.
    folders: Vec<(&'static str, PathBuf)>,
    /// The same in all other hierarchies, where OCI runtimes make folders too.
    others: Vec<PathBuf>,
}

/// One cage's folder in each version 1 hierarchy.
#[derive(Debug)]
pub(crate) struct Group {
    folders: Vec<(&'static str, PathBuf)>,
}

// === impl Tree ===

impl Tree {
    /// `None` when no hierarchy with a controller for limits is mounted.
    pub(crate) fn find(mountinfo: &str, name: &str) -> Option<Result<Self, Able>> {
        let (mut folders, mut others) = (Vec::new(), Vec::new());
        for (point, options) in super::mounts(mountinfo, "cgroup") {
            others.push(point.join(name));
            let wanted = CONTROLLERS.into_iter().chain([FREEZER, ACCOUNT]);
            let here =
                wanted.filter(|controller| options.split(',').any(|option| option == *controller));
            folders.extend(here.map(|controller| (controller, point.join(name))));
        }
        if !folders.iter().any(|(name, _)| CONTROLLERS.contains(name)) {
            return None;
        }
        for (_, folder) in &folders {
            if let Err(error) = fs::create_dir_all(folder) {
                let why = format!(
                    "cannot create the cgroup folder {}: {error}",
                    folder.display()
                );
                return Some(Err(Able::no(
                    why,
                    "run hob as root, or boot with cgroup v2",
                )));
            }
        }
        others.extend(super::mounts(mountinfo, "cgroup2").map(|(point, _)| point.join(name)));
        others.retain(|other| folders.iter().all(|(_, folder)| folder != other));
        Some(Ok(Self { folders, others }))
    }

    pub(crate) fn create(&self, id: &str) -> io::Result<Group> {
        let group = self.open(id);
        for folder in group.unique() {
            if let Err(error) = fs::create_dir(&folder) {
                group
                    .unique()
                    .iter()
                    .take_while(|made| **made != folder)
                    .for_each(|made| {
                        let _ = fs::remove_dir(made);
                    });
                return Err(io::Error::new(
                    error.kind(),
                    format!("{}: {error}", folder.display()),
                ));
            }
        }
        Ok(group)
    }

    pub(crate) fn open(&self, id: &str) -> Group {
        let folders = self
            .folders
            .iter()
            .map(|(controller, folder)| (*controller, folder.join(id)));
        Group {
            folders: folders.collect(),
        }
    }

    pub(crate) fn folders(&self) -> Vec<PathBuf> {
        unique(&self.folders)
    }

    pub(crate) fn has_freezer(&self) -> bool {
        self.folders.iter().any(|(name, _)| *name == FREEZER)
    }

    pub(crate) fn counts_cpu(&self) -> bool {
        self.folders.iter().any(|(name, _)| *name == ACCOUNT)
    }

    pub(crate) fn others(&self) -> &[PathBuf] {
        &self.others
    }

    pub(crate) fn controllers(&self) -> Vec<String> {
        let limits = self
            .folders
            .iter()
            .filter(|(controller, _)| CONTROLLERS.contains(controller));
        limits
            .map(|(controller, _)| (*controller).to_owned())
            .collect()
    }
}

// === impl Group ===

impl Group {
    /// The one of these folders, of those that stand below mounts of this version.
    pub(super) fn at(mountinfo: &str, folders: &[&Path]) -> Option<Self> {
        let mut found = Vec::new();
        for (point, options) in super::mounts(mountinfo, "cgroup") {
            let Some(folder) = folders.iter().find(|folder| folder.starts_with(&point)) else {
                continue;
            };
            let wanted = CONTROLLERS.into_iter().chain([FREEZER, ACCOUNT]);
            let here =
                wanted.filter(|controller| options.split(',').any(|option| option == *controller));
            found.extend(here.map(|controller| (controller, folder.to_path_buf())));
        }
        (!found.is_empty()).then_some(Self { folders: found })
    }

    fn unique(&self) -> Vec<PathBuf> {
        unique(&self.folders)
    }

    fn folder(&self, controller: &str) -> Option<&Path> {
        let found = self.folders.iter().find(|(name, _)| *name == controller);
        found.map(|(_, folder)| folder.as_path())
    }

    fn limit_memory(&self, folder: &Path, bytes: u64) -> io::Result<()> {
        write(&folder.join("memory.limit_in_bytes"), bytes)?;
        // Memory and swap together; the file is missing where the kernel does not account swap.
        let together = folder.join("memory.memsw.limit_in_bytes");
        if together.exists() {
            write(&together, bytes)
        } else {
            Ok(())
        }
    }

    fn limit_cpu(&self, folder: &Path, millis: u32) -> io::Result<()> {
        write(&folder.join("cpu.cfs_period_us"), CPU_PERIOD)?;
        write(&folder.join("cpu.shares"), super::shares(millis.into()))?;
        write(
            &folder.join("cpu.cfs_quota_us"),
            CPU_PERIOD * u64::from(millis) / 1000,
        )
    }

    /// What the freezer is told by; `None` where the kernel has none.
    fn freezer(&self) -> Option<PathBuf> {
        Some(self.folder(FREEZER)?.join(STATE))
    }
}

impl super::Group for Group {
    fn folders(&self) -> Vec<PathBuf> {
        self.unique()
    }

    fn rename(&mut self, id: &str) -> io::Result<()> {
        for from in self.unique() {
            fs::rename(&from, from.with_file_name(id))?;
        }
        for (_, folder) in &mut self.folders {
            folder.set_file_name(id);
        }
        Ok(())
    }

    fn limit(&self, limits: &CageLimits) -> io::Result<()> {
        if let Some(folder) = self.folder("memory") {
            self.limit_memory(folder, limits.memory)?;
        }
        if let Some(folder) = self.folder("pids") {
            write(&folder.join("pids.max"), super::pids_with_init(limits))?;
        }
        if let Some(folder) = self.folder("cpu") {
            self.limit_cpu(folder, limits.cpu_millis)?;
        }
        Ok(())
    }

    fn kill(&self) -> io::Result<()> {
        // Frozen processes cannot fork while the list is read, so one pass finds them all.
        let Some(folder) = self.folder(FREEZER) else {
            self.unique().iter().for_each(|folder| {
                kill_processes(folder);
            });
            return Ok(());
        };
        if processes(folder).is_empty() {
            return Ok(());
        }
        self.freeze(STAND_STILL)?;
        kill_processes(folder);
        // They take no signal while they stand still, not even this one.
        self.thaw()
    }

    fn can_freeze(&self) -> bool {
        let folder = self.folder(FREEZER);
        folder.is_some_and(|folder| !processes(folder).is_empty())
    }

    fn freeze(&self, limit: Duration) -> io::Result<bool> {
        let Some(state) = self.freezer() else {
            return Err(io::Error::other("the freezer is not mounted"));
        };
        stand_still(limit, || {
            // Some kernels need several tries for a group that forks all the time.
            write(&state, FROZEN)?;
            Ok(fs::read_to_string(&state)?.trim() == FROZEN)
        })
    }

    fn thaw(&self) -> io::Result<()> {
        self.freezer().map_or(Ok(()), |state| write(&state, THAWED))
    }

    fn is_frozen(&self) -> bool {
        let state = self.freezer().map(fs::read_to_string);
        state.is_some_and(|state| state.is_ok_and(|state| state.trim() != THAWED))
    }

    fn memory(&self) -> Option<u64> {
        let stat = self.folder("memory")?.join("memory.stat");
        Some(number(&stat, "total_rss")? + number(&stat, "total_shmem").unwrap_or(0))
    }

    fn cpu_time(&self) -> Option<Duration> {
        let usage = self.folder(ACCOUNT)?.join("cpuacct.usage");
        let nanoseconds = fs::read_to_string(usage).ok()?;
        nanoseconds.trim().parse().ok().map(Duration::from_nanos)
    }

    fn peak(&self) -> Option<u64> {
        let peak = self.folder("memory")?.join("memory.max_usage_in_bytes");
        fs::read_to_string(peak).ok()?.trim().parse().ok()
    }

    fn end(&self) -> io::Result<()> {
        if let Some((_, folder)) = self.folders.first() {
            kill_processes(folder);
        }
        if self.is_frozen() {
            self.thaw()?;
        }
        let Some(folder) = self.folder("cpu") else {
            return Ok(());
        };
        write(&folder.join("cpu.shares"), SHARES.end())?;
        write(&folder.join("cpu.cfs_quota_us"), -1)
    }

    fn tally(&self) -> Tally {
        let count = |controller, file, key| number(&self.folder(controller)?.join(file), key);
        Tally {
            oom_kills: count("memory", "memory.oom_control", "oom_kill").unwrap_or(0),
            refused_forks: count("pids", "pids.events", "max").unwrap_or(0),
        }
    }

    fn alarm(&self) -> Alarm {
        self.memory_alarm().unwrap_or_else(Alarm::silent)
    }

    fn memory_alarm(&self) -> Option<Alarm> {
        Alarm::of_memory(self.folder("memory")?).ok()
    }
}

fn unique(folders: &[(&'static str, PathBuf)]) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = folders.iter().map(|(_, folder)| folder.clone()).collect();
    paths.dedup();
    paths
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn controllers_that_share_a_mount_share_a_folder() {
        let root = std::env::temp_dir().join(format!("hob-cgroup-v1-{}", std::process::id()));
        let line = |name: &str, options: &str| {
            format!(
                "32 31 0:29 / {}/{name} rw,relatime - cgroup cgroup rw,{options}\n",
                root.display()
            )
        };
        let mounts = line("cpu,cpuacct", "cpu,cpuacct")
            + &line("memory", "memory")
            + &line("systemd", "name=systemd");
        let tree = Tree::find(&mounts, "hob-test").unwrap().unwrap();
        assert_eq!(tree.controllers(), ["cpu", "memory"]);
        assert!(!tree.has_freezer() && tree.counts_cpu());
        assert_eq!(
            tree.folders(),
            [
                root.join("cpu,cpuacct/hob-test"),
                root.join("memory/hob-test")
            ]
        );
        let without = line("cpu", "cpu") + &line("memory", "memory");
        let tree = Tree::find(&without, "hob-test").unwrap().unwrap();
        assert!(!tree.counts_cpu());
        fs::remove_dir_all(root).unwrap();
    }
}

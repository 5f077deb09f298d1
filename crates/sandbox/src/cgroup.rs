//! Limits that hold for all processes of a cage together. `v1` and `v2` are shaped alike: a `Tree`
//! is where this daemon's cages live, a `Group` is one cage's part of it.

use std::{
    collections::HashSet,
    fmt::Debug,
    fs::{self, OpenOptions},
    io::{self, Write},
    ops::RangeInclusive,
    os::fd::OwnedFd,
    path::{Component, Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::{Able, CageLimits, CgroupSupport};

mod alarm;
pub(crate) mod v1;
pub(crate) mod v2;

pub use alarm::Alarm;

/// Beginning of the name of the folder that holds a daemon's groups.
const FOLDER: &str = "hob-";

/// The controllers that a cage's limits need.
pub(crate) const CONTROLLERS: [&str; 3] = ["memory", "pids", "cpu"];

/// Length of the window in which a cage may use its share of processor time, in microseconds.
pub(crate) const CPU_PERIOD: u64 = 100_000;

/// What a replica that may use one core weighs against the other replicas on a busy machine: the
/// kernel's own default, in the measure of each version (`cpu.shares`, `cpu.weight`).
const SHARES_PER_CORE: u64 = 1024;
const WEIGHT_PER_CORE: u64 = 100;
/// The kernel's ranges.
const SHARES: RangeInclusive<u64> = 2..=262_144;
const WEIGHT: RangeInclusive<u64> = 1..=10_000;

/// How long processes that were sent SIGKILL may take to leave a group.
const EMPTY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long processes may take to stand still before they are killed all the same.
const STAND_STILL: Duration = Duration::from_millis(20);
/// Processes that are held at a time to be killed; each takes a descriptor.
const KILLED_AT_ONCE: usize = 64;
/// Pause between two looks at a group that is about to stand still.
const FREEZE_POLL: Duration = Duration::from_micros(200);
/// Pause between two looks at a group that is about to be empty.
const EMPTY_POLL: Duration = Duration::from_micros(500);

/// Where this daemon's cages live.
#[derive(Debug)]
pub(crate) enum Tree {
    V1(v1::Tree),
    V2(v2::Tree),
    /// No cgroup that hob may write.
    None(Able),
}

/// One cage's limits and what came of them.
pub(crate) trait Group: Debug + Send + Sync {
    /// Its folders, one per hierarchy.
    fn folders(&self) -> Vec<PathBuf>;
    /// Gives it the cage's name in place of the one that it was made with.
    fn rename(&mut self, id: &str) -> io::Result<()>;
    /// Sets every limit.
    fn limit(&self, limits: &CageLimits) -> io::Result<()>;
    /// Sends SIGKILL to every process inside, without letting one slip away by forking.
    fn kill(&self) -> io::Result<()>;
    /// Whether it can be frozen: there is a freezer, and something for it to stop.
    fn can_freeze(&self) -> bool;
    /// Has every process inside stand still until [`Group::thaw`]. False when some did not within
    /// `limit`; they may still.
    fn freeze(&self, limit: Duration) -> io::Result<bool>;
    /// Lets its processes go on, signals that came meanwhile first.
    fn thaw(&self) -> io::Result<()>;
    /// Whether its processes stand still, or are about to.
    fn is_frozen(&self) -> bool;
    /// Resident bytes.
    fn memory(&self) -> Option<u64>;
    /// Processor time used so far.
    fn cpu_time(&self) -> Option<Duration>;
    /// The most resident bytes at once, as far as the kernel keeps count.
    fn peak(&self) -> Option<u64>;
    /// Hurries the end of processes whose pid namespace is losing its first one, so that what is
    /// born meanwhile dies with that. Sends SIGKILL to all, has the frozen go on, lifts the limit of
    /// processor time, since who has used it up does not get to die, and gives them precedence.
    /// There is no way back.
    fn end(&self) -> io::Result<()>;
    /// What the limits did so far.
    fn tally(&self) -> Tally;
    /// Tells when the tally has changed and the group may live on.
    fn alarm(&self) -> Alarm;
    /// Tells when processes of it may have been killed for want of memory while others live on;
    /// `None` where the kernel then ends all of them.
    fn memory_alarm(&self) -> Option<Alarm>;
}

/// `cpu.shares` for so many thousandths of a core.
pub(crate) fn shares(cpu_millis: u64) -> u64 {
    let shares = cpu_millis * SHARES_PER_CORE / 1000;
    shares.clamp(*SHARES.start(), *SHARES.end())
}

/// `cpu.weight` for so many thousandths of a core.
pub(crate) fn weight(cpu_millis: u64) -> u64 {
    let weight = cpu_millis * WEIGHT_PER_CORE / 1000;
    weight.clamp(*WEIGHT.start(), *WEIGHT.end())
}

/// What the limits of a group did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Processes that the kernel killed because the group was out of memory.
    pub(crate) oom_kills: u64,
    /// Forks that the kernel refused because the group was full.
    pub(crate) refused_forks: u64,
}

// === impl Tree ===

impl Tree {
    /// Looks for the place of the cages. Version 2 is taken where it has the controllers.
    pub(crate) fn find(name: &str) -> Self {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let second = match v2::Tree::find(&mounts, &own, name) {
            Ok(tree) => return Self::V2(tree),
            Err(able) => able,
        };
        match v1::Tree::find(&mounts, name) {
            Some(Ok(tree)) => Self::V1(tree),
            Some(Err(able)) => Self::None(able),
            None => Self::None(second),
        }
    }

    /// Makes the group of one cage.
    pub(crate) fn create(&self, id: &str) -> io::Result<Option<Box<dyn Group>>> {
        Ok(match self {
            Self::V1(tree) => Some(Box::new(tree.create(id)?)),
            Self::V2(tree) => Some(Box::new(tree.create(id)?)),
            Self::None(_) => None,
        })
    }

    /// Names and groups that are there now, of whoever made them.
    pub(crate) fn groups(&self) -> Vec<(String, Box<dyn Group>)> {
        let names = self
            .folders()
            .into_iter()
            .flat_map(|folder| subfolders(&folder));
        let mut names: Vec<String> = names.collect();
        names.sort();
        names.dedup();
        let open = |name: String| self.open(&name).map(|group| (name, group));
        names.into_iter().filter_map(open).collect()
    }

    /// The group of one cage, whether it is there or not.
    pub(crate) fn open(&self, id: &str) -> Option<Box<dyn Group>> {
        match self {
            Self::V1(tree) => Some(Box::new(tree.open(id))),
            Self::V2(tree) => Some(Box::new(tree.open(id))),
            Self::None(_) => None,
        }
    }

    /// The folders that hold the groups.
    pub(crate) fn folders(&self) -> Vec<PathBuf> {
        match self {
            Self::V1(tree) => tree.folders(),
            Self::V2(tree) => vec![tree.folder().to_owned()],
            Self::None(_) => Vec::new(),
        }
    }

    /// Removes the folders that hold the groups, where they are empty: a leftover keeps them.
    pub(crate) fn remove(&self) {
        for folder in self.folders() {
            let _ = fs::remove_dir(folder);
        }
        if let Self::V1(tree) = self {
            for folder in tree.others() {
                let _ = remove_tree(folder);
            }
        }
    }

    /// Whether its groups tell how much processor time was used.
    pub(crate) fn counts_cpu(&self) -> bool {
        match self {
            Self::V1(tree) => tree.counts_cpu(),
            Self::V2(_) => true,
            Self::None(_) => false,
        }
    }

    pub(crate) fn support(&self) -> CgroupSupport {
        let (version, controllers, able) = match self {
            Self::V1(tree) => (Some(1), tree.controllers(), None),
            Self::V2(tree) => (Some(2), tree.controllers(), None),
            Self::None(able) => (None, Vec::new(), Some(able.clone())),
        };
        let missing: Vec<_> = CONTROLLERS
            .into_iter()
            .filter(|name| !controllers.iter().any(|c| c == name))
            .collect();
        let able = able.unwrap_or_else(|| match missing.is_empty() {
            true => Able::Yes,
            false => Able::no(
                format!("the cgroup controllers {} are missing", missing.join(", ")),
                "enable them in the kernel or delegate them to hob",
            ),
        });
        CgroupSupport {
            version,
            controllers,
            folders: self.folders(),
            able,
            freezer: match self {
                Self::V1(tree) => tree.has_freezer(),
                Self::V2(tree) => tree.has_freezer(),
                Self::None(_) => false,
            },
        }
    }
}

/// The group that another hob made for its cage `id`, by its folders. Those that do not stand where
/// a hob's groups do are left alone.
pub(crate) fn foreign<'a>(
    id: &str,
    folders: impl Iterator<Item = &'a PathBuf>,
) -> Option<Box<dyn Group>> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let folders: Vec<&Path> = folders
        .map(PathBuf::as_path)
        .filter(|folder| is_of_hob(folder, id))
        .collect();
    let first = v1::Group::at(&mounts, &folders);
    match first {
        Some(group) => Some(Box::new(group)),
        None => Some(Box::new(v2::Group::at(&mounts, &folders)?)),
    }
}

/// Whether a path says that it is a hob's group for the cage `id`.
fn is_of_hob(folder: &Path, id: &str) -> bool {
    let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
    let parent = folder.parent().and_then(Path::file_name);
    let parent = parent.and_then(|name| name.to_str()).unwrap_or_default();
    let named = folder.file_name().is_some_and(|name| name == id);
    folder.is_absolute()
        && folder.components().all(plain)
        && named
        && parent
            .strip_prefix(FOLDER)
            .is_some_and(|rest| !rest.is_empty())
}

// === what both versions share ===

/// Kills everything in `group`, waits until it is empty and removes its folders.
pub(crate) fn remove(group: &dyn Group) -> io::Result<()> {
    let deadline = Instant::now() + EMPTY_TIMEOUT;
    for folder in group.folders() {
        loop {
            match remove_tree(&folder) {
                Ok(()) => break,
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                // A process is still inside, perhaps on its way out.
                Err(error)
                    if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline =>
                {
                    group.kill()?;
                    thread::sleep(EMPTY_POLL);
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Removes a cgroup folder with the folders that a program may have made in it.
fn remove_tree(folder: &Path) -> io::Result<()> {
    for name in subfolders(folder) {
        remove_tree(&folder.join(name))?;
    }
    fs::remove_dir(folder)
}

fn subfolders(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let folders = entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

/// Writes to a control file, which must be there: cgroup filesystems make none on demand.
pub(crate) fn write(file: &Path, value: impl ToString) -> io::Result<()> {
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", file.display()));
    let mut control = OpenOptions::new().write(true).open(file).map_err(named)?;
    control
        .write_all(value.to_string().as_bytes())
        .map_err(named)
}

/// The number after `key` in a file of `key number` lines.
pub(crate) fn number(file: &Path, key: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}

/// Asks `stands` until it is so, or `limit` is over.
fn stand_still(limit: Duration, mut stands: impl FnMut() -> io::Result<bool>) -> io::Result<bool> {
    let deadline = Instant::now() + limit;
    loop {
        if stands()? {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        thread::sleep(FREEZE_POLL);
    }
}

/// The processes of a folder.
pub(crate) fn processes(folder: &Path) -> Vec<Pid> {
    let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    text.lines()
        .filter_map(|line| Pid::from_raw(line.parse().ok()?))
        .collect()
}

/// Sends SIGKILL to the processes of a folder and of those in it; true when there was none.
pub(crate) fn kill_processes(folder: &Path) -> bool {
    let pids = processes(folder);
    for some in pids.chunks(KILLED_AT_ONCE) {
        kill_members(some, || processes(folder));
    }
    let below = subfolders(folder)
        .into_iter()
        .map(|name| kill_processes(&folder.join(name)));
    below.fold(pids.is_empty(), |empty, sub| empty && sub)
}

/// Sends SIGKILL to those of `pids` that are in the list that `members` reads.
///
/// Where not all stand still, one of them may end while its number is on the way, and the number be
/// given to somebody else. So each is held first, and then has to be in the list still: whoever has
/// the number now and is held is a member, or has ended and gets nothing.
fn kill_members(pids: &[Pid], members: impl FnOnce() -> Vec<Pid>) {
    // It may just have ended.
    let hold = |pid: &Pid| Some((*pid, pidfd_open(*pid, PidfdFlags::empty()).ok()?));
    let held: Vec<(Pid, OwnedFd)> = pids.iter().filter_map(hold).collect();
    let members: HashSet<Pid> = members().into_iter().collect();
    for (_, pidfd) in held.iter().filter(|(pid, _)| members.contains(pid)) {
        let _ = pidfd_send_signal(pidfd, Signal::KILL);
    }
}

/// Mount points of filesystem `kind` in the text of `/proc/self/mountinfo`, with their options.
fn mounts<'a>(mountinfo: &'a str, kind: &'a str) -> impl Iterator<Item = (PathBuf, &'a str)> {
    mountinfo.lines().filter_map(move |line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut filesystem = filesystem.split(' ');
        if filesystem.next()? != kind {
            return None;
        }
        let point = mount.split(' ').nth(4)?;
        Some((PathBuf::from(point), filesystem.nth(1)?))
    })
}

/// The limit of processes with room for the cage's init, which is not the program's.
pub(crate) fn pids_with_init(limits: &CageLimits) -> u64 {
    u64::from(limits.pids) + 1
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{os::unix::process::ExitStatusExt, process::Command};

    use super::*;

    #[test]
    fn only_who_is_still_in_the_group_is_killed() {
        let start = || Command::new("sleep").arg("1000").spawn().unwrap();
        let (mut member, mut stranger) = (start(), start());
        let pid = |child: &std::process::Child| Pid::from_child(child);
        let both = [pid(&member), pid(&stranger)];
        kill_members(&both, || vec![both[0]]);
        let end = member.wait().unwrap();
        assert_eq!(end.signal(), Some(libc::SIGKILL));
        assert!(stranger.try_wait().unwrap().is_none());
        kill_members(&both, || both.into());
        assert_eq!(stranger.wait().unwrap().signal(), Some(libc::SIGKILL));
    }

    #[test]
    fn a_group_of_a_hob_says_so_by_its_name() {
        let is = |folder: &str| is_of_hob(Path::new(folder), "c1");
        assert!(is("/sys/fs/cgroup/hob-1a/c1") && is("/sys/fs/cgroup/a/b/hob-1a/c1"));
        let others = [
            "/sys/fs/cgroup/hob-1a",
            "/sys/fs/cgroup/hob-1a/c2",
            "/sys/fs/cgroup/hob-/c1",
            "/sys/fs/cgroup/system.slice/c1",
            "/sys/fs/cgroup/hob-1a/../x/hob-2/c1",
            "hob-1a/c1",
            "/c1",
            "/",
        ];
        for other in others {
            assert!(!is(other), "{other}");
        }
    }
}

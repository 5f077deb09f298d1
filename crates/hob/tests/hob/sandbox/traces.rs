//! What a hob has on this machine at a moment: what is there after a run and was not there before
//! is a leak.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use hob_testkit::{Hob, wait_until};

/// Control groups deeper than this are nobody's of hob.
const CGROUP_DEPTH: usize = 6;
/// How long the pool may take until it is full again, on a machine with other work.
const SETTLE: std::time::Duration = std::time::Duration::from_secs(30);

/// Which, of each kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Traces {
    /// By process id and start time.
    pub(super) processes: BTreeSet<(u32, u64)>,
    /// Of its cages.
    pub(super) cgroups: BTreeSet<PathBuf>,
    pub(super) mounts: BTreeSet<String>,
    /// In its run folder.
    pub(super) files: BTreeSet<PathBuf>,
}

/// How many, of each kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Counts {
    processes: usize,
    cgroups: usize,
    mounts: usize,
    files: usize,
    /// Of hob itself, by what they lead to.
    descriptors: BTreeMap<String, usize>,
}

// === impl Traces ===

impl Traces {
    pub(super) fn of(hob: &Hob) -> Self {
        let run = run_folder(hob);
        let group = cgroup_of(&run);
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let places = [hob.data(), run.as_path()].map(|path| path.display().to_string());
        let of_it = |line: &&str| places.iter().any(|place| line.contains(place));
        Self {
            processes: processes(|groups| part_of(groups, &group)),
            cgroups: cgroups(&group),
            mounts: mounts.lines().filter(of_it).map(str::to_owned).collect(),
            files: files(&run),
        }
    }

    pub(super) fn counts(&self, hob: &Hob) -> Counts {
        Counts {
            processes: self.processes.len(),
            cgroups: self.cgroups.len(),
            mounts: self.mounts.len(),
            files: self.files.len(),
            descriptors: descriptors(hob.pid()),
        }
    }
}

/// Counts, once as many cages are ready as the pool has.
pub(super) fn settled(hob: &Hob, size: usize) -> Counts {
    let is_ready = |lease: &PathBuf| {
        let text = fs::read_to_string(lease).unwrap_or_default();
        text.contains("\"state\":\"ready\"")
    };
    let ready = || leases(hob).iter().filter(|lease| is_ready(lease)).count() == size;
    assert!(wait_until(SETTLE, ready), "{:?}", Traces::of(hob));
    Traces::of(hob).counts(hob)
}

/// Waits until everything is as it was, or panics with what is not.
#[track_caller]
pub(super) fn assert_as_before(hob: &Hob, before: &Counts) {
    let same = || Traces::of(hob).counts(hob) == *before;
    assert!(
        wait_until(SETTLE, same),
        "before: {before:?}\nnow: {:?}\n{:?}",
        Traces::of(hob).counts(hob),
        Traces::of(hob)
    );
}

/// The control groups that there are now of its cages.
pub(super) fn cgroups_of(hob: &Hob) -> BTreeSet<PathBuf> {
    cgroups(&cgroup_of(&run_folder(hob)))
}

/// The lease files that are there now.
pub(super) fn leases(hob: &Hob) -> Vec<PathBuf> {
    let entries = fs::read_dir(run_folder(hob).join("leases"));
    let entries = entries.into_iter().flatten().map_while(Result::ok);
    entries.map(|entry| entry.path()).collect()
}

/// Processes in a control group of this worker, but for the init of its cage, which is hob's own: it
/// has waited for all others, and is gone when the kernel has taken its namespaces down.
pub(super) fn alive_in(worker: &str) -> BTreeSet<(u32, u64)> {
    let mut found = processes(|groups| groups.contains(worker));
    found.retain(|(pid, _)| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let mut lines = status
            .lines()
            .filter_map(|line| line.strip_prefix("NSpid:"));
        let numbers = lines.next().unwrap_or_default().split_whitespace();
        !numbers.skip(1).any(|number| number == "1")
    });
    found
}

/// Bytes of memory that a process has.
pub(super) fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let mut lines = status
        .lines()
        .filter_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = lines
        .next()
        .and_then(|rest| rest.trim().strip_suffix(" kB"));
    kibibytes.unwrap().parse::<u64>().unwrap() << 10
}

/// Where it is, also when its server is dead.
pub(super) fn run_folder(hob: &Hob) -> PathBuf {
    fs::canonicalize(hob.data().join("run")).unwrap_or_default()
}

/// Both names end with the id of the data directory.
fn cgroup_of(run: &Path) -> String {
    let name = run.file_name().unwrap_or_default().to_string_lossy();
    format!("hob-{}", name.rsplit('-').next().unwrap_or_default())
}

fn part_of(groups: &str, name: &str) -> bool {
    let mut lines = groups.lines();
    lines.any(|line| line.split(['/', ':']).any(|part| part == name))
}

/// Processes of whose control groups this holds.
pub(super) fn processes(is_one: impl Fn(&str) -> bool) -> BTreeSet<(u32, u64)> {
    let entries = fs::read_dir("/proc").unwrap().map_while(Result::ok);
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mine = pids.filter(|pid| {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup"));
        is_one(&groups.unwrap_or_default())
    });
    mine.filter_map(|pid| Some((pid, start_of(pid)?))).collect()
}

/// When a process was started; `None` when it is gone, or dead and only not yet waited for.
fn start_of(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut words = rest.split(' ');
    let state = words.next()?;
    // The 22nd of proc(5).
    let start = words.nth(18)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(start)
}

fn cgroups(name: &str) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![(PathBuf::from("/sys/fs/cgroup"), 0, false)];
    while let Some((folder, depth, is_mine)) = folders.pop() {
        let entries = fs::read_dir(&folder).into_iter().flatten();
        for entry in entries.map_while(Result::ok) {
            // Links such as `cpu,cpuacct` lead to what is seen anyway.
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            // The folder of all its groups stays for as long as it runs.
            if is_mine {
                found.insert(entry.path());
            }
            let is_mine = is_mine || entry.file_name() == name;
            if is_mine || depth < CGROUP_DEPTH {
                folders.push((entry.path(), depth + 1, is_mine));
            }
        }
    }
    found
}

fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).into_iter().flatten();
        for entry in entries.map_while(Result::ok) {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            }
            found.insert(entry.path());
        }
    }
    found
}

/// `socket`, `pipe`, `net` and so on, with how many of each.
fn descriptors(pid: u32) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    for entry in entries.map_while(Result::ok) {
        let target = fs::read_link(entry.path()).unwrap_or_default();
        let target = target.to_string_lossy();
        // Files by their whole path: there are few.
        let kind = if target.starts_with('/') {
            &target
        } else {
            target
                .split_once(":[")
                .map_or(target.as_ref(), |(kind, _)| kind)
        };
        *counts.entry(kind.to_owned()).or_default() += 1;
    }
    counts
}

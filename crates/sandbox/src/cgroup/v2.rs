use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Alarm, CONTROLLERS, CPU_PERIOD, STAND_STILL, Tally, WEIGHT, kill_processes, number, processes,
    stand_still, write,
};
use crate::{Able, CageLimits};

/// Where the daemon itself goes when it owns the cgroup that it was started in: a cgroup may
/// have processes or limited children, not both.
const DAEMON: &str = "hob-daemon";

/// What the freezer is told by; kernels before 5.2 have none.
const FREEZE: &str = "cgroup.freeze";

/// This daemon's folder in the unified hierarchy.
#[derive(Debug)]
pub(crate) struct Tree {
    folder: PathBuf,
    controllers: Vec<String>,
}

/// One cage's folder in the unified hierarchy.
#[derive(Debug)]
pub(crate) struct Group {
    folder: PathBuf,
}

// === impl Tree ===

impl Tree {
    /// Looks for a cgroup in which hob may make folders: the top of the mount, else the one that
    /// hob was started in. `own` is the text of `/proc/self/cgroup`.
    pub(crate) fn find(mountinfo: &str, own: &str, name: &str) -> Result<Self, Able> {
        let Some((top, _)) = super::mounts(mountinfo, "cgroup2").next() else {
            return Err(Able::no(
                "no cgroup filesystem is mounted",
                "mount cgroup2 on /sys/fs/cgroup",
            ));
        };
        Self::within(&top, own, name)
    }

    /// [`Tree::find`] below the mount point `top`.
    fn within(top: &Path, own: &str, name: &str) -> Result<Self, Able> {
        let at_top = Self::at(top, name);
        let Err(refused) = at_top else { return at_top };
        let own = own
            .lines()
            .find_map(|line| line.strip_prefix("0::/"))
            .unwrap_or_default();
        let mut delegated = top.join(own);
        if delegated.ends_with(DAEMON) {
            delegated.pop();
        }
        if delegated == top {
            return Err(refused);
        }
        let leaf = delegated.join(DAEMON);
        let moved = fs::create_dir_all(&leaf).and_then(|()| write(&leaf.join("cgroup.procs"), 0));
        if let Err(error) = moved {
            let why = format!(
                "hob may not use the cgroup {}: {error}",
                delegated.display()
            );
            return Err(Able::no(why, DELEGATE));
        }
        Self::at(&delegated, name)
    }

    fn at(parent: &Path, name: &str) -> Result<Self, Able> {
        let offered = fs::read_to_string(parent.join("cgroup.controllers")).unwrap_or_default();
        let offered =
            |controller: &&str| offered.split_whitespace().any(|word| word == *controller);
        let controllers: Vec<&str> = CONTROLLERS.into_iter().filter(offered).collect();
        if controllers.is_empty() {
            let why = format!(
                "the cgroup {} has no controllers for memory, pids and cpu",
                parent.display()
            );
            return Err(Able::no(why, DELEGATE));
        }
        let folder = parent.join(name);
        let enable = || {
            enable(parent, &controllers)?;
            fs::create_dir_all(&folder)?;
            enable(&folder, &controllers)
        };
        match enable() {
            Ok(()) => {
                let controllers = controllers.into_iter().map(str::to_owned).collect();
                Ok(Self {
                    folder,
                    controllers,
                })
            }
            Err(error) => Err(Able::no(
                format!("cannot set up the cgroup {}: {error}", folder.display()),
                DELEGATE,
            )),
        }
    }

    pub(crate) fn create(&self, id: &str) -> io::Result<Group> {
        let group = self.open(id);
        fs::create_dir(&group.folder).map_err(|error| {
            io::Error::new(error.kind(), format!("{}: {error}", group.folder.display()))
        })?;
        Ok(group)
    }

    pub(crate) fn open(&self, id: &str) -> Group {
        Group {
            folder: self.folder.join(id),
        }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn has_freezer(&self) -> bool {
        self.folder.join(FREEZE).exists()
    }

    pub(crate) fn controllers(&self) -> Vec<String> {
        self.controllers.clone()
    }
}

const DELEGATE: &str = "run hob as root, or as a service with `Delegate=yes` \
    (`systemd-run --user --scope -p Delegate=yes hob up`)";

/// Passes controllers on to the children of `folder`, where that is not so already.
fn enable(folder: &Path, controllers: &[&str]) -> io::Result<()> {
    let control = folder.join("cgroup.subtree_control");
    let enabled = fs::read_to_string(&control)?;
    let missing = controllers
        .iter()
        .filter(|name| !enabled.split_whitespace().any(|word| word == **name));
    let words: Vec<String> = missing.map(|name| format!("+{name}")).collect();
    if words.is_empty() {
        Ok(())
    } else {
        write(&control, words.join(" "))
    }
}

// === impl Group ===

impl Group {
    /// The one of these folders, if it stands below a mount of this version.
    pub(super) fn at(mountinfo: &str, folders: &[&Path]) -> Option<Self> {
        let tops: Vec<_> = super::mounts(mountinfo, "cgroup2").collect();
        let below = |folder: &&&Path| tops.iter().any(|(top, _)| folder.starts_with(top));
        let folder = folders.iter().find(below)?.to_path_buf();
        Some(Self { folder })
    }

    fn has(&self, file: &str) -> bool {
        self.folder.join(file).exists()
    }

    fn freezer(&self) -> PathBuf {
        self.folder.join(FREEZE)
    }
}

impl super::Group for Group {
    fn folders(&self) -> Vec<PathBuf> {
        vec![self.folder.clone()]
    }

    fn rename(&mut self, id: &str) -> io::Result<()> {
        // The kernel renames no version 2 folder, so groups are made with their last name.
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("cannot name a cgroup `{id}` afterwards"),
        ))
    }

    fn limit(&self, limits: &CageLimits) -> io::Result<()> {
        if self.has("memory.max") {
            write(&self.folder.join("memory.max"), limits.memory)?;
            // One process killed and the others left would be a half-dead function.
            write(&self.folder.join("memory.oom.group"), 1)?;
        }
        if self.has("memory.swap.max") {
            write(&self.folder.join("memory.swap.max"), 0)?;
        }
        if self.has("pids.max") {
            write(&self.folder.join("pids.max"), super::pids_with_init(limits))?;
        }
        if self.has("cpu.max") {
            let quota = CPU_PERIOD * u64::from(limits.cpu_millis) / 1000;
            write(
                &self.folder.join("cpu.max"),
                format!("{quota} {CPU_PERIOD}"),
            )?;
            let weight = super::weight(limits.cpu_millis.into());
            write(&self.folder.join("cpu.weight"), weight)?;
        }
        Ok(())
    }

    fn kill(&self) -> io::Result<()> {
        if self.has("cgroup.kill") {
            return write(&self.folder.join("cgroup.kill"), 1);
        }
        // Kernels before 5.14: frozen processes cannot fork while the list is read.
        self.freeze(STAND_STILL)?;
        kill_processes(&self.folder);
        self.thaw()
    }

    fn can_freeze(&self) -> bool {
        self.freezer().exists() && !processes(&self.folder).is_empty()
    }

    fn freeze(&self, limit: Duration) -> io::Result<bool> {
        write(&self.freezer(), 1)?;
        let events = self.folder.join("cgroup.events");
        stand_still(limit, || Ok(number(&events, "frozen") == Some(1)))
    }

    fn thaw(&self) -> io::Result<()> {
        write(&self.freezer(), 0)
    }

    fn is_frozen(&self) -> bool {
        let told = fs::read_to_string(self.freezer());
        told.is_ok_and(|told| told.trim() == "1")
    }

    fn memory(&self) -> Option<u64> {
        let stat = self.folder.join("memory.stat");
        Some(number(&stat, "anon")? + number(&stat, "shmem").unwrap_or(0))
    }

    fn cpu_time(&self) -> Option<Duration> {
        number(&self.folder.join("cpu.stat"), "usage_usec").map(Duration::from_micros)
    }

    fn peak(&self) -> Option<u64> {
        // Kernels before 5.19 have none.
        let peak = fs::read_to_string(self.folder.join("memory.peak")).ok()?;
        peak.trim().parse().ok()
    }

    fn end(&self) -> io::Result<()> {
        if self.has("cgroup.kill") {
            write(&self.folder.join("cgroup.kill"), 1)?;
        } else {
            kill_processes(&self.folder);
        }
        if self.is_frozen() {
            self.thaw()?;
        }
        if self.has("cpu.max") {
            write(&self.folder.join("cpu.weight"), WEIGHT.end())?;
            write(&self.folder.join("cpu.max"), format!("max {CPU_PERIOD}"))?;
        }
        Ok(())
    }

    fn tally(&self) -> Tally {
        Tally {
            oom_kills: number(&self.folder.join("memory.events"), "oom_kill").unwrap_or(0),
            refused_forks: number(&self.folder.join("pids.events"), "max").unwrap_or(0),
        }
    }

    fn alarm(&self) -> Alarm {
        // Out of memory, the group ends as a whole: see `limit`.
        let alarm = Alarm::of_events(&self.folder.join("pids.events"));
        alarm.unwrap_or_else(|_| Alarm::silent())
    }

    fn memory_alarm(&self) -> Option<Alarm> {
        // For the same reason.
        None
    }
}

/// A tree of plain files stands in for a cgroup v2 mount, which the kernel of many a test machine
/// does not offer with controllers; what is tested is which file gets which words.
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{super::Group as _, *};

    struct Fake(PathBuf);

    impl Fake {
        fn new(test: &str) -> Self {
            let root =
                std::env::temp_dir().join(format!("hob-cgroup-v2-{test}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&root);
            Self(root)
        }

        fn folder(&self, path: &str, files: &[(&str, &str)]) -> PathBuf {
            let folder = self.0.join(path);
            fs::create_dir_all(&folder).unwrap();
            for (name, text) in files {
                fs::write(folder.join(name), text).unwrap();
            }
            folder
        }
    }

    impl Drop for Fake {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const OFFER: (&str, &str) = ("cgroup.controllers", "cpuset cpu io memory pids\n");
    const PASSED_ON: (&str, &str) = ("cgroup.subtree_control", "");

    #[test]
    fn root_lives_at_the_top_and_passes_controllers_on() {
        let fake = Fake::new("top");
        let top = fake.folder("", &[OFFER, PASSED_ON]);
        fake.folder("hob-x", &[OFFER, PASSED_ON]);
        let tree = Tree::within(&top, "0::/user.slice\n", "hob-x").unwrap();
        assert_eq!(tree.controllers(), CONTROLLERS);
        for folder in [top.clone(), top.join("hob-x")] {
            let text = fs::read_to_string(folder.join("cgroup.subtree_control")).unwrap();
            assert_eq!(text, "+memory +pids +cpu");
        }
    }

    #[test]
    fn a_user_moves_into_a_leaf_of_the_delegated_group() {
        let fake = Fake::new("delegated");
        // No subtree_control at the top: stands for one that may not be written.
        let top = fake.folder("", &[OFFER]);
        fake.folder("u/scope", &[OFFER, PASSED_ON]);
        let leaf = fake.folder("u/scope/hob-daemon", &[("cgroup.procs", "")]);
        fake.folder("u/scope/hob-x", &[OFFER, PASSED_ON]);
        for own in ["0::/u/scope\n", "0::/u/scope/hob-daemon\n"] {
            let tree = Tree::within(&top, own, "hob-x").unwrap();
            assert_eq!(tree.folder(), top.join("u/scope/hob-x"));
            assert_eq!(fs::read_to_string(leaf.join("cgroup.procs")).unwrap(), "0");
        }
    }

    #[test]
    fn a_mount_without_controllers_says_so() {
        let fake = Fake::new("none");
        let top = fake.folder("", &[("cgroup.controllers", "hugetlb\n"), PASSED_ON]);
        let Err(Able::No { why, cure }) = Tree::within(&top, "0::/\n", "hob-x") else {
            panic!("found one")
        };
        assert!(
            why.contains("no controllers") && cure.contains("Delegate=yes"),
            "{why}; {cure}"
        );
    }

    #[test]
    fn a_group_is_frozen_when_its_events_say_so() {
        let fake = Fake::new("freeze");
        let files = [
            ("cgroup.freeze", "0"),
            ("cgroup.events", "populated 1\nfrozen 1\n"),
        ];
        let folder = fake.folder("c", &files);
        let group = Group {
            folder: folder.clone(),
        };
        assert!(
            !group.can_freeze() && !group.is_frozen(),
            "nothing is in it"
        );
        fake.folder("c", &[("cgroup.procs", "1\n")]);
        assert!(group.can_freeze());
        assert!(group.freeze(Duration::ZERO).unwrap() && group.is_frozen());
        group.thaw().unwrap();
        assert!(!group.is_frozen());
        // Told, and not there yet.
        fake.folder("c", &[("cgroup.events", "populated 1\nfrozen 0\n")]);
        assert!(!group.freeze(Duration::from_millis(1)).unwrap() && group.is_frozen());
        fs::remove_file(folder.join("cgroup.freeze")).unwrap();
        assert!(!group.can_freeze() && !group.is_frozen(), "an old kernel");
    }

    #[test]
    fn the_dying_are_not_held_back() {
        let fake = Fake::new("end");
        let files = [
            ("cgroup.kill", ""),
            ("cgroup.freeze", "1"),
            ("cpu.max", ""),
            ("cpu.weight", ""),
        ];
        let folder = fake.folder("c", &files);
        let group = Group {
            folder: folder.clone(),
        };
        group.end().unwrap();
        let text = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        let told = files.map(|(name, _)| text(name));
        assert_eq!(told, ["1", "0", "max 100000", "10000"]);
        assert_eq!(group.peak(), None);
    }

    #[test]
    fn another_s_group_is_one_below_the_mount() {
        let mounts = "35 25 0:30 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
        let at = |folder: &str| Group::at(mounts, &[Path::new(folder)]).map(|group| group.folder);
        let folder = "/sys/fs/cgroup/a/hob-1/c";
        assert_eq!(at(folder), Some(folder.into()));
        assert_eq!(at("/sys/fs/cgroups/hob-1/c"), None);
        assert_eq!(at("/home/hob-1/c"), None);
    }

    #[test]
    fn limits_go_to_their_files_and_events_come_back() {
        let fake = Fake::new("limits");
        let names = [
            "memory.max",
            "memory.swap.max",
            "memory.oom.group",
            "pids.max",
            "cpu.max",
            "cpu.weight",
            "cgroup.kill",
        ];
        let folder = fake.folder("c", &names.map(|name| (name, "")));
        fake.folder(
            "c",
            &[
                (
                    "memory.events",
                    "low 0\noom 3\noom_kill 2\noom_group_kill 1\n",
                ),
                ("pids.events", "max 7\n"),
                ("memory.stat", "anon 4096\nfile 99\nshmem 1024\n"),
                ("cpu.stat", "usage_usec 1500000\nuser_usec 900000\n"),
            ],
        );
        let group = Group {
            folder: folder.clone(),
        };
        let limits = CageLimits {
            memory: 64 << 20,
            cpu_millis: 1500,
            pids: 10,
            tmp: 0,
            files: 0,
        };
        group.limit(&limits).unwrap();
        group.kill().unwrap();
        fs::write(folder.join("memory.peak"), "123456\n").unwrap();
        assert_eq!(group.peak(), Some(123_456));
        let text = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        assert_eq!(text("memory.max"), "67108864");
        assert_eq!(text("memory.swap.max"), "0");
        assert_eq!(text("memory.oom.group"), "1");
        assert_eq!(text("pids.max"), "11");
        assert_eq!(text("cpu.max"), "150000 100000");
        assert_eq!(text("cpu.weight"), "150");
        assert_eq!(text("cgroup.kill"), "1");
        assert_eq!(
            group.tally(),
            Tally {
                oom_kills: 2,
                refused_forks: 7
            }
        );
        // No kernel tells of a plain file: it has to be looked at.
        let alarm = group.alarm();
        assert!(!alarm.is_complete() && alarm.news().is_none());
        assert_eq!(group.memory(), Some(5120));
        assert_eq!(group.cpu_time(), Some(Duration::from_millis(1500)));
    }
}

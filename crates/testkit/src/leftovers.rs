use std::{
    fs,
    path::{Path, PathBuf},
};

/// Control groups deeper than this are nobody's of hob.
const CGROUP_DEPTH: usize = 6;

/// What a server leaves on the machine when it does not clean up, as one line each.
pub(crate) fn find(cgroup: &str, run: &Path, data: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for pid in processes(cgroup) {
        found.push(format!("process {pid}: {}", command_line(pid)));
    }
    for folder in cgroups(cgroup) {
        found.push(format!("cgroup {}", folder.display()));
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for mount in mounts.lines() {
        let places = [data, run].map(|path| path.display().to_string());
        if places.iter().any(|place| mount.contains(place)) {
            found.push(format!("mount {mount}"));
        }
    }
    if run.exists() {
        found.push(format!("folder {}", run.display()));
    }
    found
}

/// Processes in a control group of this name or below it.
fn processes(cgroup: &str) -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("/proc is there");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        groups
            .lines()
            .any(|line| line.split(['/', ':']).any(|part| part == cgroup))
    })
    .collect()
}

fn command_line(pid: u32) -> String {
    let raw = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&raw).replace('\0', " ")
}

fn cgroups(name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![(PathBuf::from("/sys/fs/cgroup"), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            // Links such as `cpu,cpuacct` lead to what is seen anyway.
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            if entry.file_name() == name {
                found.push(entry.path());
            } else if depth < CGROUP_DEPTH {
                folders.push((entry.path(), depth + 1));
            }
        }
    }
    found
}

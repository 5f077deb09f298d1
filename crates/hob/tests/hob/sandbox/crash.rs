//! hob is killed while programs run: whatever comes next finds nothing of them, and goes on.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hob_testkit::{Hob, assert_eventually, wait_until};
use serde_json::Value;

use super::{
    caller::{Caller, Event, Order},
    stage::{Settings, Stage, is_able},
    traces::{Traces, leases, processes, settled},
};
use crate::bench::{handler, write};

const SIZE: usize = 3;
/// In the path of a cgroup that waits for a replica.
const SPARE: &str = "/spare-";
/// Longer than any lease here.
const LEASE_MAX: Duration = Duration::from_secs(30);

/// Holds out for as long as it can.
const STUBBORN: &str = "\
trap '' TERM HUP INT
setsid sleep 1000 &
(setsid sh -c 'trap \"\" HUP; echo up; while :; do sleep 1000; done' &)
while :; do sleep 1000; done";

impl Stage {
    /// Runs under way, each of which has said something.
    fn busy(&self, count: usize) -> Vec<Caller> {
        let order = Order::new("bash", STUBBORN);
        let start = |_| {
            let mut caller = order.call(self.hob.address());
            let first = caller.next();
            assert!(
                matches!(&first, Some(Event::Stdout(text)) if text == "up\n"),
                "{first:?}"
            );
            caller
        };
        (0..count).map(start).collect()
    }
}

/// What of `old` is still there, but for what belongs to this replica of a function.
fn left(old: &Traces, now: &Traces, replica: &str) -> Vec<String> {
    let kept = processes(|groups| !replica.is_empty() && groups.contains(replica));
    let processes = old.processes.intersection(&now.processes);
    let processes = processes.filter(|one| !kept.contains(one));
    let mut left: Vec<_> = processes.map(|one| format!("process {one:?}")).collect();
    let cgroups = old.cgroups.intersection(&now.cgroups);
    left.extend(cgroups.map(|one| format!("cgroup {}", one.display())));
    let mounts = old.mounts.intersection(&now.mounts);
    left.extend(mounts.map(|one| format!("mount {one}")));
    let is_lease = |file: &&PathBuf| {
        file.parent()
            .is_some_and(|folder| folder.ends_with("leases"))
    };
    let files = old.files.intersection(&now.files).filter(is_lease);
    left.extend(files.map(|one| format!("file {}", one.display())));
    left.retain(|line| replica.is_empty() || !line.contains(replica));
    left
}

/// All files in the run folder, but for those of the cages that are there now.
fn standing(hob: &Hob) -> BTreeSet<PathBuf> {
    let leases = leases(hob);
    let ids: Vec<_> = leases.iter().map(|lease| lease.file_stem()).collect();
    let mut files = Traces::of(hob).files;
    files.retain(|file| {
        let mut names = file.ancestors().map(Path::file_stem);
        !names.any(|name| name.is_some() && ids.contains(&name))
    });
    files
}

/// The id of the only replica of a function, once that is ready.
fn replica(hob: &Hob, name: &str) -> String {
    let mut id = String::new();
    assert_eventually!({
        let detail = hob.cli(["describe", name, "-o", "json"]).json();
        let ready = detail["instances"][0]["state"] == "ready";
        detail["instances"][0]["id"]
            .as_str()
            .unwrap_or_default()
            .clone_into(&mut id);
        ready
    });
    id
}

/// Kills hob so often while programs run.
fn kill(times: usize, level: &'static str) {
    let mut stage = Stage::new(Settings {
        size: SIZE,
        level,
        ..Settings::default()
    });
    let folder = stage.scratch().join("hello");
    write(&folder.join("handler.py"), &handler("return 'hello'"));
    stage.hob.cli(["deploy", folder.to_str().unwrap()]).ok();
    let replica = replica(&stage.hob, "hello");
    settled(&stage.hob, SIZE);
    let files = standing(&stage.hob);
    for round in 0..times {
        let runs = stage.busy(round % SIZE + 1);
        // Every other time some are about to begin as well.
        let order = Order::new("bash", STUBBORN);
        let asked: Vec<_> = (0..round % 2 * SIZE)
            .map(|_| order.send(stage.hob.address()).unwrap())
            .collect();
        let old = Traces::of(&stage.hob);
        assert!(old.processes.len() > SIZE, "{old:?}");
        stage.hob.kill();
        drop((runs, asked));
        stage.hob.restart();
        let left = left(&old, &Traces::of(&stage.hob), &replica);
        assert!(left.is_empty(), "round {round}:\n{}", left.join("\n"));
        stage.ordinary();
        let answer = stage.hob.post("/function/hello", "").expect(200);
        assert_eq!(answer.text(), "hello");
        assert_eq!(
            self::replica(&stage.hob, "hello"),
            replica,
            "it was adopted"
        );
        settled(&stage.hob, SIZE);
        assert_eq!(standing(&stage.hob), files, "round {round}");
    }
}

#[test]
fn ten_kills_in_the_middle_leave_nothing_and_service_goes_on() {
    if is_able(&["python3", "setsid"]) {
        kill(10, "container");
    }
}

#[test]
fn a_kill_leaves_no_kernel_of_gvisor() {
    if is_able(&["python3", "setsid", "runsc"]) {
        kill(2, "gvisor");
    }
}

/// When the last of these leases is over.
fn expiry(leases: &[PathBuf]) -> SystemTime {
    let seconds = leases.iter().map(|lease| {
        let text = fs::read_to_string(lease).unwrap();
        let lease: Value = serde_json::from_str(&text).unwrap();
        lease["expires_at"].as_u64().expect("when it is over")
    });
    UNIX_EPOCH + Duration::from_secs(seconds.max().expect("a lease") + 1)
}

#[test]
fn what_a_dead_hob_left_is_removed_by_another_after_its_lease() {
    if !is_able(&["setsid"]) {
        return;
    }
    let mut first = Stage::new(Settings {
        time: "2s",
        lease: "3s",
        ..Settings::default()
    });
    let mut second = Stage::new(Settings::default());
    let runs = first.busy(2);
    let old = Traces::of(&first.hob);
    let leases = leases(&first.hob);
    let over = expiry(&leases);
    first.hob.kill();
    drop(runs);
    // Whoever is dead may come back until its leases are over.
    second.hob.stop();
    second.hob.restart();
    let kept = leases.iter().filter(|lease| lease.exists()).count();
    if SystemTime::now() < over - Duration::from_secs(1) {
        assert_eq!(kept, leases.len(), "they are not over");
    }
    second.hob.stop();
    assert!(wait_until(LEASE_MAX, || SystemTime::now() > over));
    second.hob.restart();
    let mut left = left(&old, &Traces::of(&first.hob), "");
    // Made ahead for functions, of which the next start of its own hob takes care.
    left.retain(|line| !line.contains(SPARE));
    assert!(left.is_empty(), "{}", left.join("\n"));
    second.ordinary();
    first.hob.restart();
    first.ordinary();
}

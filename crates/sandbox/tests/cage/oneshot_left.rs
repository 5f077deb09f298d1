//! One-shot cages whose daemon was killed.

use std::{
    collections::BTreeSet,
    env, fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Instant,
};

use hob_model::sandbox::SandboxLevel;
use hob_sandbox::{CageRecord, OneShotSpec, Sandbox, SandboxConfig};

use crate::{
    Test,
    oneshot::yard,
    oneshot_end::AGAINST,
    stranger::{prepare, program, spec, start, wait},
    yard::eventually,
};

pub(crate) const TESTS: &[Test] = &[
    ("oneshot_left::all_die_with_the_daemon", dies_with_daemon),
    ("oneshot_left::another_hob_removes_an_orphan", orphan),
    ("oneshot_left::records_of_nonsense_are_refused", nonsense),
];

/// Has the executable be a daemon that is killed; its value is the name of its cgroups.
pub(crate) const DAEMON: &str = "HOB_CAGE_TEST_AS_DAEMON";
/// And what cages it makes.
const LEVEL: &str = "HOB_CAGE_TEST_LEVEL";

/// One that is killed with two cages, one of which waits.
pub(crate) fn daemon() -> ! {
    let name = env::var(DAEMON).unwrap();
    let state = env::temp_dir().join(&name);
    let sandbox = sandbox(&name, &state);
    let level = env::var(LEVEL).unwrap().parse().unwrap();
    let spec = |id| OneShotSpec { level, ..spec(id) };
    let prepare = |id| sandbox.prepare(spec(id)).unwrap();
    let waits = prepare("waits");
    let records = [waits.record(), {
        let runs = prepare("runs");
        let record = runs.record();
        std::mem::forget(runs.start(&program(&["bash", "-c", AGAINST[1].1])).unwrap());
        record
    }];
    println!("{}", serde_json::to_string(&records).unwrap());
    loop {
        thread::park();
    }
}

pub(crate) fn sandbox(name: &str, state: &Path) -> Sandbox {
    Sandbox::new(SandboxConfig {
        helper: "/proc/self/exe".into(),
        helper_args: vec!["cage-init".into()],
        cgroup_name: name.into(),
        state: state.into(),
    })
    .unwrap()
}

/// Runs a daemon, kills it, and returns the records of its cages.
pub(crate) fn abandoned(name: &str, level: SandboxLevel) -> Vec<CageRecord> {
    let mut daemon = Command::new("/proc/self/exe")
        .env(DAEMON, name)
        .env(LEVEL, level.as_str())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(daemon.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    serde_json::from_str(&line).unwrap()
}

fn dies_with_daemon() {
    let Some(yard) = yard("daemon") else { return };
    let name = format!("hob-test-{}-daemon-b", std::process::id());
    let records = abandoned(&name, SandboxLevel::Container);
    let processes = || {
        records
            .iter()
            .flat_map(|record| &record.cgroups)
            .any(|folder| {
                fs::read_to_string(folder.join("cgroup.procs")).is_ok_and(|pids| !pids.is_empty())
            })
    };
    let start = Instant::now();
    eventually("all have died", || !processes());
    println!("  died {:?} after the daemon", start.elapsed());
    // Only empty folders are left, which the next start removes.
    let state = env::temp_dir().join(&name);
    let next = sandbox(&name, &state);
    assert_eq!(next.sweep(&BTreeSet::new()).unwrap(), 2);
    drop(next);
    assert!(
        records
            .iter()
            .flat_map(|record| &record.cgroups)
            .all(|folder| !folder.exists())
    );
    fs::remove_dir_all(state).unwrap();
    drop(yard);
}

fn orphan() {
    let Some(yard) = yard("orphan") else { return };
    // As after a crash that left the cage alive: nobody drops it, and its channel stays open.
    let other_name = format!("hob-test-{}-orphan-b", std::process::id());
    let other = sandbox(&other_name, &yard.path("other"));
    let cage = other.prepare(spec("left")).unwrap();
    let record = cage.record();
    let mut program = program(&["bash", "-c", AGAINST[3].1]);
    program.limits.cpu_millis = 100;
    let running = cage.start(&program).unwrap();
    assert!(yard.sandbox().remove_orphan(&record).unwrap());
    wait(&running);
    assert!(record.cgroups.iter().all(|folder| !folder.exists()));
    assert!(!yard.sandbox().remove_orphan(&record).unwrap());
    drop(running);
    assert!(!yard.sandbox().remove_orphan(&record).unwrap());
}

fn nonsense() {
    let Some(yard) = yard("nonsense") else { return };
    let running = start(&yard, &program(&["sleep", "1000"]));
    let record = prepare(&yard, "other").record();
    let top = record.cgroups[0]
        .parent()
        .unwrap()
        .parent()
        .unwrap()
        .to_owned();
    let folder = yard.path("hob-x/other");
    fs::create_dir_all(&folder).unwrap();
    let alive = yard.path("hob-x");
    let changes: [&dyn Fn(&mut CageRecord); 6] = [
        // Not below a mount of cgroups.
        &|record| record.cgroups = vec![folder.clone()],
        // Not a hob's, or not the cage's.
        &|record| record.cgroups = vec![top.clone()],
        &|record| record.cgroups = vec![top.join("hob-x/../../x")],
        &|record| record.boot = "another".into(),
        &|record| record.id = "../other".into(),
        &|record| record.start_time = 1,
    ];
    for change in changes {
        let mut forged = record.clone();
        forged.pid = std::process::id();
        change(&mut forged);
        assert!(
            !yard.sandbox().remove_orphan(&forged).unwrap(),
            "{forged:?}"
        );
    }
    assert!(alive.exists() && folder.exists());
    assert_eq!(running.try_end().unwrap(), None);
    // Its own cages are none of its business.
    let own = prepare(&yard, "own");
    let mut record = own.record();
    record.pid = 0;
    assert!(!yard.sandbox().remove_orphan(&record).unwrap());
    assert!(record.cgroups.iter().all(|folder| folder.exists()));
}

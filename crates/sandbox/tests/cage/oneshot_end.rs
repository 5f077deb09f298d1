//! One-shot cages: how they end, and that nothing of them is left.

use std::{
    collections::BTreeSet,
    env, fs,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use hob_model::EndReason;
use hob_sandbox::{CageRecord, OneShot, Sandbox, SandboxConfig};

use crate::{
    Test,
    stranger::{able, bash, finish, prepare, program, run, start, wait},
    yard::{Yard, eventually},
};

pub(crate) const TESTS: &[Test] = &[
    ("oneshot_end::statuses_and_signals_are_told_apart", statuses),
    ("oneshot_end::limits_name_the_end", limits),
    ("oneshot_end::all_output_arrives", output),
    (
        "oneshot_end::what_it_left_running_ends_with_it",
        descendants,
    ),
    ("oneshot_end::kill_ends_whatever_it_does", kill),
    ("oneshot_end::a_ready_cage_can_be_dropped_or_die", ready),
    ("oneshot_end::all_die_with_the_daemon", dies_with_daemon),
    ("oneshot_end::another_hob_removes_an_orphan", orphan),
    ("oneshot_end::records_of_nonsense_are_refused", nonsense),
    ("oneshot_end::many_leave_nothing", many),
];

/// Has the executable be a daemon that is killed; its value is the name of its cgroups.
pub(crate) const DAEMON: &str = "HOB_CAGE_TEST_AS_DAEMON";

/// What a kill may take on an idle machine is 50 ms; the tests' machines are busy.
const QUICK: Duration = Duration::from_millis(500);

fn yard(test: &str) -> Option<Yard> {
    let yard = Yard::new(test);
    able(&yard).then_some(yard)
}

fn statuses() {
    let Some(yard) = yard("statuses") else { return };
    let cases = [
        ("exit 0", 0, None, EndReason::Ok),
        ("exit 3", 3, None, EndReason::Exit),
        // What a shell says of a command that was killed, and what is not that.
        ("exit 137", 137, None, EndReason::Exit),
        ("exit 255", 255, None, EndReason::Exit),
        ("no-such-command", 127, None, EndReason::Exit),
        ("kill -9 $$", -1, Some(9), EndReason::Exit),
        ("kill -TERM $$", -1, Some(15), EndReason::Exit),
        // Init is not to be reached.
        (
            "kill -9 1; kill -TERM 1; kill -CHLD 1; kill -STOP 1; kill -33 1; exit 4",
            4,
            None,
            EndReason::Exit,
        ),
    ];
    for (script, code, signal, reason) in cases {
        let end = bash(&yard, script).end;
        assert_eq!(
            (end.code, end.signal, end.end.reason),
            (code, signal, reason),
            "{script}: {end:?}"
        );
    }
}

fn limits() {
    let Some(yard) = yard("limits") else { return };
    let mut program = program(&["/usr/bin/python3", "-c", "x = bytearray(400 << 20)"]);
    let ran = run(&yard, &program);
    assert_eq!(ran.end.end.reason, EndReason::Memory, "{ran:?}");
    // Files count as well.
    let grow = "dd if=/dev/zero of=/tmp/x bs=1M count=60; exit 1";
    program.argv = ["bash", "-c", grow].map(str::to_owned).into();
    program.limits.memory = 12 << 20;
    assert_eq!(run(&yard, &program).end.end.reason, EndReason::Memory);
    // bash would try again for long.
    let threads = "import threading, time\nfor i in range(99): threading.Thread(target=time.sleep, args=(9,), daemon=True).start()";
    let ran = run(&yard, &self::program(&["/usr/bin/python3", "-c", threads]));
    assert_eq!(ran.end.end.reason, EndReason::Pids, "{ran:?}");
    let busy = bash(
        &yard,
        "e=$((SECONDS+1)); while ((SECONDS <= e)); do :; done",
    );
    assert!(
        busy.usage.cpu.unwrap() > Duration::from_millis(300),
        "{busy:?}"
    );
}

fn output() {
    let Some(yard) = yard("output") else { return };
    let script = "import os, sys\nfor n in range(64): os.write(1, bytes([n]) * 100_003); os.write(2, bytes([n]) * 50_001)\n\
        if os.fork() == 0: os.write(1, b'last'); os._exit(0)\nos.wait()";
    let ran = run(&yard, &program(&["/usr/bin/python3", "-c", script]));
    assert_eq!(
        (ran.stdout.len(), ran.stderr.len()),
        (64 * 100_003 + 4, 64 * 50_001)
    );
    assert!(ran.stdout.ends_with(b"last"));
    for (n, part) in ran.stdout[..64 * 100_003].chunks(100_003).enumerate() {
        assert!(part.iter().all(|byte| usize::from(*byte) == n), "{n}");
    }
}

fn descendants() {
    let Some(yard) = yard("left") else { return };
    let start = Instant::now();
    let ran = bash(
        &yard,
        "(setsid sleep 1000 &); (setsid sh -c 'sleep 1000 & sleep 1000' &); nohup sleep 1000 & exit 5",
    );
    assert_eq!(ran.end.code, 5);
    // The output has ended, too: nobody holds it open.
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!(yard.processes(), [""; 0]);
}

/// What somebody may do against being killed.
const AGAINST: [(&str, &str); 6] = [
    (
        "forks",
        "b() { b | b & }; b; while :; do b; done 2>/dev/null",
    ),
    (
        "hides",
        "trap '' TERM INT HUP; (setsid sh -c '(sleep 1000 & sleep 1000 &)' &); setsid sleep 1000 & while :; do sleep 1; done",
    ),
    (
        "stops",
        "for i in $(seq 20); do (kill -STOP $BASHPID) & done; kill -STOP $$; sleep 1000",
    ),
    (
        "burns",
        "for i in $(seq 40); do (while :; do :; done) & done; wait",
    ),
    (
        "vforks",
        "python3 -c 'import os\nwhile True:\n  try:\n    if os.fork() == 0: os.setsid()\n  except OSError: pass' & wait",
    ),
    ("writes", "yes & yes >&2 & wait"),
];

fn kill() {
    let Some(yard) = yard("against") else { return };
    for (name, script) in AGAINST {
        let mut program = program(&["bash", "-c", script]);
        program.limits.cpu_millis = 100;
        let running = start(&yard, &program);
        let least = if name == "forks" || name == "burns" || name == "vforks" {
            30
        } else {
            3
        };
        eventually(name, || yard.processes().len() >= least);
        let end = killed(&running);
        println!("  {name}: {end:?}");
        assert!(end < QUICK, "{name}: {end:?}");
        let end = running.try_end().unwrap().unwrap();
        assert!(
            matches!(end.end.reason, EndReason::Cancelled | EndReason::Pids),
            "{name}: {end:?}"
        );
        assert_eq!((end.code, end.signal), (-1, Some(9)), "{name}");
        assert!(running.usage().cpu.is_some());
        drop(running);
        assert_eq!(yard.processes(), [""; 0]);
    }
}

/// How long a kill takes.
fn killed(running: &OneShot) -> Duration {
    let start = Instant::now();
    running.kill();
    wait(running);
    start.elapsed()
}

fn ready() {
    let Some(yard) = yard("ready") else { return };
    let cage = prepare(&yard, "dropped");
    let record = cage.record();
    assert!(record.start_time > 0 && record.cgroups.iter().all(|folder| folder.exists()));
    drop(cage);
    assert_eq!(yard.processes(), [""; 0]);
    assert!(!fs::exists(format!("/proc/{}", record.pid)).unwrap());
    assert!(record.cgroups.iter().all(|folder| !folder.exists()));

    let cage = prepare(&yard, "dies");
    let died = Command::new("kill")
        .args(["-9", &cage.record().pid.to_string()])
        .status();
    assert!(died.unwrap().success());
    eventually("it is seen", || {
        let mut polled = [rustix::event::PollFd::from_borrowed_fd(
            cage.pidfd(),
            rustix::event::PollFlags::IN,
        )];
        rustix::event::poll(&mut polled, Some(&rustix::event::Timespec::default())) == Ok(1)
    });
    let error = cage.start(&program(&["true"])).unwrap_err();
    assert!(!error.is_callers_fault(), "{error}");
}

/// One that is killed with two cages, one of which waits.
pub(crate) fn daemon() -> ! {
    let name = env::var(DAEMON).unwrap();
    let state = env::temp_dir().join(&name);
    let sandbox = sandbox(&name, &state);
    let prepare = |id| sandbox.prepare(crate::stranger::spec(id)).unwrap();
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

fn sandbox(name: &str, state: &std::path::Path) -> Sandbox {
    Sandbox::new(SandboxConfig {
        helper: "/proc/self/exe".into(),
        helper_args: vec!["cage-init".into()],
        cgroup_name: name.into(),
        state: state.into(),
    })
    .unwrap()
}

/// Runs a daemon, kills it, and returns the records of its cages.
fn abandoned(name: &str) -> Vec<CageRecord> {
    let mut daemon = Command::new("/proc/self/exe")
        .env(DAEMON, name)
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
    let records = abandoned(&name);
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
    let cage = other.prepare(crate::stranger::spec("left")).unwrap();
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

fn many() {
    let Some(yard) = yard("many") else { return };
    let before = standing();
    thread::scope(|scope| {
        for lane in 0..2 {
            let yard = yard.sandbox();
            scope.spawn(move || {
                for round in 0..15 {
                    let mut spec = crate::stranger::spec(&format!("m-{lane}-{round}"));
                    spec.uid += lane;
                    let cage = yard.prepare(spec).unwrap();
                    match round % 3 {
                        0 => drop(cage),
                        1 => drop(cage.start(&program(&["sleep", "1000"])).unwrap()),
                        _ => assert_eq!(
                            finish(cage.start(&program(&["echo", "x"])).unwrap()).stdout,
                            b"x\n"
                        ),
                    }
                }
            });
        }
    });
    assert_eq!(standing(), before);
}

/// Descriptors, mounts and children of this process.
fn standing() -> (usize, usize, String) {
    let fds = fs::read_dir("/proc/self/fd").unwrap().count();
    let mounts = fs::read_to_string("/proc/self/mountinfo")
        .unwrap()
        .lines()
        .count();
    let children = fs::read_to_string("/proc/thread-self/children").unwrap();
    (fds, mounts, children)
}

//! One-shot cages: how they end, and that nothing of them is left.

use std::{
    fs,
    process::Command,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use hob_model::EndReason;
use hob_sandbox::OneShot;

use crate::{
    Test,
    oneshot::yard,
    stranger::{bash, finish, prepare, program, run, start, wait},
    yard::eventually,
};

pub(crate) const TESTS: &[Test] = &[
    ("oneshot_end::statuses_and_signals_are_told_apart", statuses),
    ("oneshot_end::its_init_cannot_be_limited_to_death", init),
    ("oneshot_end::limits_name_the_end", limits),
    ("oneshot_end::all_output_arrives", output),
    (
        "oneshot_end::what_it_left_running_ends_with_it",
        descendants,
    ),
    ("oneshot_end::what_burns_does_not_hold_up_the_end", burners),
    ("oneshot_end::kill_ends_whatever_it_does", kill),
    ("oneshot_end::a_ready_cage_can_be_dropped_or_die", ready),
    ("oneshot_end::many_leave_nothing", many),
];

/// What a kill may take on an idle machine is 50 ms; the tests' machines are busy.
const QUICK: Duration = Duration::from_millis(500);

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

/// Init is of the program's own user, and the kernel ends whoever is over its limit of processor
/// time, an init too.
fn init() {
    let Some(yard) = yard("init") else { return };
    let script = "import ctypes, os
none = (ctypes.c_ulong * 2)(0, 0)
libc = ctypes.CDLL(None, use_errno=True)
print(libc.prlimit(1, 0, none, None), os.strerror(ctypes.get_errno()), flush=True)
for call in ('os.setpriority(0, 1, 19)', 'os.setpriority(1, 1, 19)', 'os.setpriority(2, 1000, 19)',
        'os.sched_setaffinity(1, {0})', 'os.sched_setscheduler(1, os.SCHED_IDLE, os.sched_param(0))'):
    try: eval(call); print('did', call, flush=True)
    except PermissionError: pass
os.sched_setaffinity(0, os.sched_getaffinity(0)); os.nice(1)
for _ in range(300):
    if os.fork() == 0:
        os.fork(); os._exit(0)
    os.wait()
os._exit(7)";
    let ran = run(&yard, &program(&["/usr/bin/python3", "-c", script]));
    assert_eq!(
        ran.text(),
        "-1 Operation not permitted\n",
        "{}",
        ran.errors()
    );
    let found = (ran.end.code, ran.end.signal, ran.end.end.reason);
    assert_eq!(found, (7, None, EndReason::Exit));
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

/// They have used up their share of processor time, and would die only as they get more.
fn burners() {
    let Some(yard) = yard("burners") else { return };
    let script =
        "for i in $(seq 12); do (while :; do :; done) & done; sleep 0.3; date +%s%N; exit 6";
    let mut program = program(&["bash", "-c", script]);
    program.limits.cpu_millis = 100;
    let ran = run(&yard, &program);
    assert_eq!(ran.end.code, 6);
    let ended = UNIX_EPOCH + Duration::from_nanos(ran.text().trim().parse().unwrap());
    let took = SystemTime::now().duration_since(ended).unwrap();
    println!("  all dead {took:?} after the program's last word");
    assert_eq!(yard.processes(), [""; 0]);
}

/// What somebody may do against being killed.
pub(crate) const AGAINST: [(&str, &str); 6] = [
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
        let end = wait(&running);
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

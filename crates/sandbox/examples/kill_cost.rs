//! What the kill of a one-shot cage takes, whatever runs in it: from the call until everything
//! inside is dead, and until its cgroup is removed. Give a number of rounds.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::{
    env, fs, process,
    time::{Duration, Instant},
};

use hob_model::sandbox::SandboxLevel;
use hob_sandbox::{CageLimits, OneShot, OneShotSpec, Program, Sandbox, SandboxConfig};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Times that each is tried, unless told otherwise.
const ROUNDS: usize = 20;
/// How long each may do its worst before it is killed.
const WHILE: Duration = Duration::from_millis(250);

/// A tenth of a core, which they use up.
const LIMITS: CageLimits = CageLimits {
    memory: 256 << 20,
    cpu_millis: 100,
    pids: 64,
    tmp: 16 << 20,
    files: 256,
};

const WORST: [(&str, &str); 5] = [
    ("sleeps", "sleep 1000"),
    (
        "forks",
        "b() { b | b & }; b; while :; do b; done 2>/dev/null",
    ),
    (
        "forks, by python",
        "exec python3 -c 'import os\nwhile True:\n  try:\n    if os.fork() == 0: os.setsid()\n  except OSError: pass'",
    ),
    (
        "burns",
        "for i in $(seq 60); do (while :; do :; done) & done; wait",
    ),
    (
        "stands still",
        "for i in $(seq 60); do (kill -STOP $BASHPID) & done; kill -STOP $$",
    ),
];

fn main() {
    hob_sandbox::run_helper_if_asked();
    let rounds = env::args()
        .nth(1)
        .map_or(ROUNDS, |text| text.parse().unwrap());
    let name = format!("hob-kill-{}", process::id());
    let state = env::temp_dir().join(&name);
    let sandbox = Sandbox::new(SandboxConfig {
        helper: "/proc/self/exe".into(),
        helper_args: vec!["cage-init".into()],
        cgroup_name: name,
        state: state.clone(),
    })
    .unwrap();
    for (name, script) in WORST {
        let mut times: Vec<_> = (0..rounds).map(|_| kill(&sandbox, script)).collect();
        let dead = summary(&mut times, |time| time.0);
        let gone = summary(&mut times, |time| time.1);
        println!("{name:18} dead {dead}   gone {gone}");
    }
    drop(sandbox);
    fs::remove_dir_all(state).unwrap();
}

/// Until it is dead, and gone.
fn kill(sandbox: &Sandbox, script: &str) -> (Duration, Duration) {
    let running = start(sandbox, script);
    assert!(!ends_within(&running, WHILE), "ended by itself");
    let start = Instant::now();
    running.kill();
    assert!(ends_within(&running, Duration::from_secs(20)), "survived");
    let dead = start.elapsed();
    drop(running);
    (dead, start.elapsed())
}

fn start(sandbox: &Sandbox, script: &str) -> OneShot {
    let spec = OneShotSpec {
        id: "worst".into(),
        level: SandboxLevel::Container,
        runtime: None,
        uid: 61_000,
        limits: LIMITS,
    };
    let program = Program {
        argv: ["bash", "-c", script].map(str::to_owned).into(),
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        files: Vec::new(),
        stdin: Vec::new(),
        limits: LIMITS,
    };
    sandbox.prepare(spec).unwrap().start(&program).unwrap()
}

fn ends_within(running: &OneShot, time: Duration) -> bool {
    let deadline = Instant::now() + time;
    while running.try_end().unwrap().is_none() {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).unwrap();
        let mut news = [PollFd::from_borrowed_fd(running.pidfd(), PollFlags::IN)];
        if poll(&mut news, Some(&left)).unwrap() == 0 {
            return false;
        }
    }
    true
}

fn summary(
    times: &mut [(Duration, Duration)],
    pick: fn(&(Duration, Duration)) -> Duration,
) -> String {
    times.sort_by_key(pick);
    let at = |share: usize| {
        let index = (times.len() * share / 100).min(times.len() - 1);
        pick(&times[index]).as_secs_f64() * 1000.0
    };
    format!(
        "p50 {:6.2}  p99 {:6.2}  max {:6.2} ms",
        at(50),
        at(99),
        at(100)
    )
}

//! What a cage costs: medians, in one run on one machine, from the call to the `exec` of
//! `/bin/true` and to its end. Of a one-shot cage that was made ahead, and of all of it. Build it
//! with `--release`.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use hob_model::{Isolation, sandbox::SandboxLevel};
use hob_sandbox::{
    CageLimits, CageNetwork, CageRoot, CageSpec, CageUser, MAX_LAYERS, Mechanism, OneShotSpec,
    Program, ReadyCage, STOP_SIGNAL, Sandbox, SandboxConfig,
};
use rustix::event::{PollFd, PollFlags, poll};

/// Times that each is tried.
const ROUNDS: usize = 101;
/// Pause before each try, as a server has between two wakes.
const PAUSE: Duration = Duration::from_millis(30);

const LIMITS: CageLimits = CageLimits {
    memory: 256 << 20,
    cpu_millis: 1000,
    pids: 256,
    tmp: 64 << 20,
    files: 1024,
};

/// To exec, and to the end, in milliseconds.
type Times = (f64, f64);
type Way<'a> = (String, Box<dyn Fn() -> Times + 'a>);

fn main() {
    hob_sandbox::run_helper_if_asked();
    let state = env::temp_dir().join(format!("hob-cage-cost-{}", process::id()));
    let sandbox = |name: &str| {
        let config = SandboxConfig {
            helper: "/proc/self/exe".into(),
            helper_args: vec!["cage-init".into()],
            cgroup_name: format!("hob-cost-{}-{name}", process::id()),
            state: state.join(name),
        };
        Sandbox::new(config).unwrap()
    };
    let start = Instant::now();
    let warm = sandbox("warm");
    println!("Sandbox::new {:.3} ms", millis(start.elapsed()));
    warm.warm();

    let mut ways: Vec<Way<'_>> = vec![("bare".into(), Box::new(|| program(&["/bin/true"])))];
    ways.extend(functions(&warm, &sandbox));
    for level in SandboxLevel::ALL {
        if warm.able_oneshot(level, None).is_able() {
            ways.extend(one_shot(&warm, level));
        }
    }
    ways.extend(images(&warm, &state));
    if Path::new(BWRAP[0]).exists() {
        ways.push(("bwrap".into(), Box::new(|| program(&BWRAP))));
    }
    report(&ways);
    drop(ways);
    drop(warm);
    fs::remove_dir_all(state).unwrap();
}

fn functions<'a>(warm: &'a Sandbox, make: &'a dyn Fn(&str) -> Sandbox) -> [Way<'a>; 3] {
    let container = || run(warm, spec(Isolation::Container));
    let process = || run(warm, spec(Isolation::Process));
    let cold = || run(&make("cold"), spec(Isolation::Container));
    [
        ("container".into(), Box::new(container)),
        ("process".into(), Box::new(process)),
        ("container, none kept ready".into(), Box::new(cold)),
    ]
}

fn images<'a>(sandbox: &'a Sandbox, state: &Path) -> Vec<Way<'a>> {
    let way = |count| -> Option<Way<'a>> {
        let layers = image(state, count)?;
        let name = format!("container, {count} layers");
        Some((
            name,
            Box::new(move || run(sandbox, layered(layers.clone()))),
        ))
    };
    [1, 12, MAX_LAYERS].into_iter().filter_map(way).collect()
}

/// Side by side, so that what else the machine does falls on all alike.
fn report(ways: &[Way<'_>]) {
    let mut times = vec![Vec::new(); ways.len()];
    for _ in 0..ROUNDS {
        for (way, times) in ways.iter().zip(&mut times) {
            thread::sleep(PAUSE);
            times.push(way.1());
        }
    }
    let bare = (
        median(&times[0], |time| time.0),
        median(&times[0], |time| time.1),
    );
    for (way, times) in ways.iter().zip(&times) {
        let (exec, end) = (median(times, |time| time.0), median(times, |time| time.1));
        let (more, longer) = (exec - bare.0, end - bare.1);
        println!(
            "{:30} to exec {exec:7.3} ms ({more:+.3})   to the end {end:7.3} ms ({longer:+.3})",
            way.0
        );
    }
}

/// For comparison. Its exec cannot be seen from here, only its end.
const BWRAP: [&str; 20] = [
    "/usr/bin/bwrap",
    "--unshare-pid",
    "--unshare-ipc",
    "--unshare-uts",
    "--proc",
    "/proc",
    "--dev",
    "/dev",
    "--ro-bind",
    "/usr",
    "/usr",
    "--symlink",
    "usr/lib",
    "/lib",
    "--symlink",
    "usr/lib64",
    "/lib64",
    "--tmpfs",
    "/tmp",
    "/usr/bin/true",
];

fn program(argv: &[&str]) -> Times {
    let start = Instant::now();
    let mut command = Command::new(argv[0]);
    let mut child = command
        .args(&argv[1..])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let exec = start.elapsed();
    assert!(child.wait().unwrap().success());
    (millis(exec), millis(start.elapsed()))
}

fn run(sandbox: &Sandbox, spec: CageSpec) -> Times {
    let start = Instant::now();
    let cage = sandbox.spawn(spec).unwrap();
    let exec = start.elapsed();
    cage.wait_timeout(Duration::from_secs(5)).unwrap().unwrap();
    (millis(exec), millis(start.elapsed()))
}

fn one_shot(sandbox: &Sandbox, level: SandboxLevel) -> [Way<'_>; 2] {
    let ahead = move || {
        let ready = prepare(sandbox, level);
        thread::sleep(PAUSE);
        run_once(Instant::now(), ready)
    };
    let all = move || {
        let start = Instant::now();
        run_once(start, prepare(sandbox, level))
    };
    [
        (format!("one-shot {level}, made ahead"), Box::new(ahead)),
        (format!("one-shot {level}, all of it"), Box::new(all)),
    ]
}

fn prepare(sandbox: &Sandbox, level: SandboxLevel) -> ReadyCage {
    let spec = OneShotSpec {
        id: "once".into(),
        level,
        runtime: None,
        uid: 61_000,
        limits: LIMITS,
    };
    sandbox.prepare(spec).unwrap()
}

fn run_once(start: Instant, ready: ReadyCage) -> Times {
    let program = Program {
        argv: vec!["/bin/true".into()],
        env: Vec::new(),
        files: Vec::new(),
        stdin: Vec::new(),
        limits: LIMITS,
    };
    let running = ready.start(&program).unwrap();
    let exec = start.elapsed();
    let end = loop {
        let mut news = [PollFd::from_borrowed_fd(running.pidfd(), PollFlags::IN)];
        poll(&mut news, None).unwrap();
        if let Some(end) = running.try_end().unwrap() {
            break end;
        }
    };
    assert_eq!(end.code, 0);
    (millis(exec), millis(start.elapsed()))
}

fn median(times: &[Times], pick: fn(&Times) -> f64) -> f64 {
    let mut values: Vec<f64> = times.iter().map(pick).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn spec(isolation: Isolation) -> CageSpec {
    CageSpec {
        id: "cost".into(),
        isolation,
        mechanism: Mechanism::Native,
        argv: vec!["/bin/true".into()],
        env: Vec::new(),
        cwd: "/".into(),
        hostname: "cost".into(),
        root: CageRoot::Host,
        network: CageNetwork::Host,
        files: Vec::new(),
        binds: Vec::new(),
        limits: LIMITS,
        output: File::options().append(true).open("/dev/null").unwrap(),
        user: CageUser::Unprivileged,
        stop_signal: STOP_SIGNAL,
    }
}

/// An image of so many layers, the lowest with busybox; `None` without one that is static.
fn image(state: &Path, count: usize) -> Option<Vec<PathBuf>> {
    let folders: Vec<PathBuf> = (0..count)
        .map(|number| state.join(format!("image-{count}-{number}")))
        .collect();
    for folder in &folders {
        fs::create_dir_all(folder.join("bin")).unwrap();
    }
    let bin = folders[count - 1].join("bin");
    fs::copy("/bin/busybox", bin.join("true")).ok()?;
    Some(folders)
}

fn layered(layers: Vec<PathBuf>) -> CageSpec {
    CageSpec {
        root: CageRoot::Layers(layers),
        ..spec(Isolation::Container)
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

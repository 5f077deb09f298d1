//! What a cage costs: medians, in one run on one machine, from the call to the `exec` of
//! `/bin/true` and to its end. Build it with `--release`.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::{
    env,
    fs::File,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use hob_model::Isolation;
use hob_sandbox::{CageLimits, CageSpec, CageUser, Mechanism, Sandbox, SandboxConfig};

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

fn main() {
    hob_sandbox::run_helper_if_asked();
    let state = env::temp_dir().join(format!("hob-cage-cost-{}", std::process::id()));
    let sandbox = || {
        let config = SandboxConfig {
            helper: "/proc/self/exe".into(),
            helper_args: vec!["cage-init".into()],
            cgroup_name: format!("hob-cost-{}", std::process::id()),
            state: state.clone(),
        };
        Sandbox::new(config).unwrap()
    };
    let start = Instant::now();
    let warm = sandbox();
    println!(
        "Sandbox::new                   {:8.3} ms",
        millis(start.elapsed())
    );

    // A status pipe closes at exec, as for cages; the standard library waits for it.
    let bare = program(&["/bin/true"]);
    warm.warm();
    cages(
        "container, one kept ready",
        &warm,
        Isolation::Container,
        bare,
    );
    cages("process, one kept ready", &warm, Isolation::Process, bare);
    drop(warm);
    median("container, made from nothing", bare, || {
        let sandbox = sandbox();
        let start = Instant::now();
        let cage = sandbox.spawn(spec(Isolation::Container)).unwrap();
        let (exec, end) = (start.elapsed(), {
            cage.wait_timeout(Duration::from_secs(5)).unwrap();
            start.elapsed()
        });
        (exec, end)
    });
    let view = [
        "--ro-bind",
        "/usr",
        "/usr",
        "--symlink",
        "usr/lib",
        "/lib",
        "--symlink",
        "usr/lib64",
        "/lib64",
    ];
    if Path::new("/usr/bin/bwrap").exists() {
        let own = [
            "/usr/bin/bwrap",
            "--unshare-pid",
            "--unshare-ipc",
            "--unshare-uts",
            "--proc",
            "/proc",
            "--dev",
            "/dev",
        ];
        program(&[&own[..], &view[..], &["/usr/bin/true"]].concat());
    }
    std::fs::remove_dir_all(state).unwrap();
}

fn program(argv: &[&str]) -> (f64, f64) {
    median(argv[0], (0.0, 0.0), || {
        let start = Instant::now();
        let mut command = Command::new(argv[0]);
        let mut child = command
            .args(&argv[1..])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let exec = start.elapsed();
        assert!(child.wait().unwrap().success());
        (exec, start.elapsed())
    })
}

fn cages(name: &str, sandbox: &Sandbox, isolation: Isolation, bare: (f64, f64)) {
    median(name, bare, || {
        let start = Instant::now();
        let cage = sandbox.spawn(spec(isolation)).unwrap();
        let exec = start.elapsed();
        cage.wait_timeout(Duration::from_secs(5)).unwrap().unwrap();
        (exec, start.elapsed())
    });
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
        binds: Vec::new(),
        limits: LIMITS,
        output: File::options().append(true).open("/dev/null").unwrap(),
        user: CageUser::Unprivileged,
    }
}

/// Prints and returns the medians to exec and to the end; the difference is that to `bare`.
fn median(
    name: &str,
    bare: (f64, f64),
    mut once: impl FnMut() -> (Duration, Duration),
) -> (f64, f64) {
    let mut times: Vec<(f64, f64)> = Vec::new();
    for _ in 0..ROUNDS {
        thread::sleep(PAUSE);
        let (exec, end) = once();
        times.push((millis(exec), millis(end)));
    }
    let middle = |pick: fn(&(f64, f64)) -> f64| {
        let mut values: Vec<f64> = times.iter().map(pick).collect();
        values.sort_by(f64::total_cmp);
        values[ROUNDS / 2]
    };
    let (exec, end) = (middle(|time| time.0), middle(|time| time.1));
    println!(
        "{name:30} {exec:8.3} ms to exec (+{:.3})  {end:8.3} ms to the end (+{:.3})",
        exec - bare.0,
        end - bare.1
    );
    (exec, end)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

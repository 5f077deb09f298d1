//! Without root: the test runs itself again as the user nobody.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::{PermissionsExt, chown},
    panic,
    process::{Command, ExitCode},
};

use hob_model::{EndReason, Isolation, sandbox::SandboxLevel};

use crate::{
    Test,
    image::{Layer, spec, user},
    stranger::{bash, program, run, spec as spec_of_stranger, start, wait},
    yard::{CGROUP, PATIENCE, Yard, eventually, has, is_root, skip},
};

/// Names the test that the second run is for.
pub(crate) const TEST: &str = "HOB_CAGE_TEST_AS_NOBODY";

pub(crate) const TESTS: &[Test] = &[
    ("nobody::cages_by_a_user_namespace", || again("container")),
    ("nobody::cages_at_level_process", || again("process")),
    ("nobody::kills_without_a_cgroup", || again("kill")),
    ("nobody::cages_of_an_image_s_layers", || again("layers")),
    ("nobody::strangers_are_refused_without_limits", || {
        again("refused")
    }),
    (
        "nobody::strangers_are_caged_with_cgroups_of_its_own",
        delegated,
    ),
];

/// With a folder in each hierarchy that is nobody's, as a service manager may give one.
fn delegated() {
    let name = format!("hob-test-{}-delegated", std::process::id());
    let controllers = fs::read_dir("/sys/fs/cgroup").unwrap().flatten();
    let folders: Vec<_> = controllers
        .map(|entry| entry.path())
        .filter(|path| path.join("cgroup.procs").exists() && !path.is_symlink())
        .map(|path| path.join(&name))
        .collect();
    let version_1 = fs::exists("/sys/fs/cgroup/memory/tasks").unwrap();
    if !is_root() || !version_1 {
        skip("needs root and cgroups of version 1 to give some of them away");
        return;
    }
    for folder in &folders {
        fs::create_dir(folder).unwrap();
        chown(folder, Some(65534), Some(65534)).unwrap();
    }
    let outcome = panic::catch_unwind(|| again_in("strangers", Some(&name)));
    for folder in folders.iter().filter(|folder| folder.exists()) {
        fs::remove_dir(folder).unwrap();
    }
    outcome.unwrap();
}

fn again(name: &str) {
    again_in(name, None);
}

fn again_in(name: &str, cgroup: Option<&str>) {
    if !is_root() {
        skip("needs root to become another user");
        return;
    }
    if !has("setpriv") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let copy = folder.path().join("test");
    fs::copy("/proc/self/exe", &copy).unwrap();
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--bounding-set=-all",
    ]);
    if let Some(cgroup) = cgroup {
        command.env(CGROUP, cgroup);
    }
    let status = command
        .arg(copy)
        .env(TEST, name)
        .env("TMPDIR", folder.path())
        .status()
        .unwrap();
    assert!(status.success());
}

pub(crate) fn main(name: &OsStr) -> ExitCode {
    match name.to_str() {
        Some("container") => container(),
        Some("process") => process(),
        Some("layers") => layers(),
        Some("refused") => refused(),
        Some("strangers") => strangers(),
        _ => kill(),
    }
    ExitCode::SUCCESS
}

fn container() {
    let yard = Yard::new("n-container");
    let capabilities = yard.sandbox().capabilities();
    assert!(capabilities.container.is_able(), "{capabilities:?}");
    assert!(capabilities.cgroup.able.is_able() || !capabilities.warnings.is_empty());
    let (end, text) = yard.run(&[
        "sh",
        "-c",
        "id -u; id -g; echo $$; grep CapBnd /proc/self/status; touch /tmp/x /x; exit 5",
    ]);
    assert_eq!(end.message, "exit status 5");
    assert!(
        text.starts_with("12000\n12000\n2\nCapBnd:\t0000000000000000\n"),
        "{text}"
    );
    assert_eq!(text.matches("Read-only").count(), 1, "{text}");
    // Counted per user namespace, so even without a cgroup.
    let mut spec = yard.spec(&["bash", "-c", "for i in $(seq 60); do sleep 5 & done; wait"]);
    spec.limits.pids = 20;
    let cage = yard.start(spec);
    eventually("refused", || {
        yard.output().contains("Resource temporarily unavailable")
    });
    cage.kill();
    assert!(cage.wait_timeout(PATIENCE).unwrap().is_some());
}

fn refused() {
    let yard = Yard::new("n-refused");
    if yard.sandbox().capabilities().cgroup.able.is_able() {
        return;
    }
    let able = yard.sandbox().able_oneshot(SandboxLevel::Container, None);
    assert!(!able.is_able());
    let error = yard.sandbox().prepare(spec_of_stranger("x")).unwrap_err();
    assert!(error.to_string().contains("cgroup"), "{error}");
}

fn strangers() {
    let yard = Yard::new("n-strangers");
    let script = "id -u; cat /proc/self/uid_map; echo /proc/[0-9]*; grep -c 0000000000000000 /proc/self/status; \
        touch /box/x /tmp/x /dev/shm/x; touch /x; unshare -U true; (setsid sleep 1000 &); exit 5";
    let ran = bash(&yard, script);
    assert_eq!(ran.end.code, 5, "{ran:?}");
    let text = ran.text();
    let words: Vec<&str> = text.split_whitespace().collect();
    // Mapped to the user of a namespace around it, which is hob's own.
    assert_eq!(words[..4], ["1000", "1000", "1000", "1"], "{text}");
    assert!(!text.contains("/proc/1 "), "{text}");
    assert_eq!(ran.errors().matches("Read-only").count(), 1, "{ran:?}");
    assert_eq!(ran.errors().matches("not permitted").count(), 1, "{ran:?}");
    let mut program = program(&[
        "bash",
        "-c",
        "dd if=/dev/zero of=x bs=1M count=9 2>/dev/null; stat -c %s x",
    ]);
    program.limits.tmp = 2 << 20;
    assert_eq!(run(&yard, &program).text(), "2097152\n");
    let running = start(
        &yard,
        &self::program(&[
            "bash",
            "-c",
            "b() { b | b & }; b; while :; do b; done 2>/dev/null",
        ]),
    );
    eventually("it grows", || yard.processes().len() > 30);
    running.kill();
    wait(&running);
}

fn process() {
    let mut yard = Yard::new("n-process");
    yard.isolation = Isolation::Process;
    let (end, text) = yard.run(&["sh", "-c", "id -u; cat /etc/login.defs > /dev/null"]);
    assert_eq!(
        (end.reason, text.lines().next()),
        (EndReason::Exit, Some("65534")),
        "{text}"
    );
}

/// Layers are unpacked by hob's own user, and so are these.
fn layers() {
    let yard = Yard::new("n-layers");
    let Some(base) = Layer::busybox(&yard) else {
        return;
    };
    base.file("srv/gone", "");
    base.file("old/file", "");
    let top = Layer::new(&yard, "top");
    top.folder("srv");
    top.whiteout("srv/gone");
    top.opaque("old");
    let script = "id -u; id -g; grep -c 0000000000000000 /proc/self/status; ls /srv /old; cat /etc/hostname; \
        touch /tmp/x; touch /srv/x 2>/dev/null || echo sealed; pwd";
    for (uid, gid) in [(0, 0), (33, 44)] {
        let mut spec = spec(&yard, &[&top, &base], &["sh", "-c", script]);
        spec.user = user(uid, gid, &[55]);
        spec.cwd = "/made/here".into();
        let (_, text) = yard.run_spec(spec);
        let expected = format!("{uid}\n{gid}\n");
        assert!(text.starts_with(&expected), "{text}");
        assert!(
            text.ends_with("/old:\n\n/srv:\ncage\nsealed\n/made/here\n"),
            "{text}"
        );
    }
}

fn kill() {
    let mut yard = Yard::new("n-kill");
    yard.isolation = Isolation::Process;
    let script = "(setsid sh -c 'sleep 54321 & sleep 54321' &) ; setsid sleep 54321 & wait";
    let cage = yard.start(yard.spec(&["bash", "-c", script]));
    eventually("they hide", || sleepers() == 3);
    cage.kill();
    eventually("all have gone", || sleepers() == 0);
    assert_eq!(
        cage.wait_timeout(PATIENCE).unwrap().unwrap().reason,
        EndReason::Cancelled
    );
}

fn sleepers() -> usize {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let commands = all.filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok());
    commands.filter(|line| line == "sleep\x0054321\0").count()
}

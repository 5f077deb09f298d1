//! Without root: the test runs itself again as the user nobody.

use std::{
    ffi::OsStr,
    fs,
    os::unix::fs::PermissionsExt,
    process::{Command, ExitCode},
};

use hob_model::{EndReason, Isolation};

use crate::{
    Test,
    image::{Layer, spec, user},
    yard::{PATIENCE, Yard, eventually, has, is_root, skip},
};

/// Names the test that the second run is for.
pub(crate) const TEST: &str = "HOB_CAGE_TEST_AS_NOBODY";

pub(crate) const TESTS: &[Test] = &[
    ("nobody::cages_by_a_user_namespace", || again("container")),
    ("nobody::cages_at_level_process", || again("process")),
    ("nobody::kills_without_a_cgroup", || again("kill")),
    ("nobody::cages_of_an_image_s_layers", || again("layers")),
];

fn again(name: &str) {
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

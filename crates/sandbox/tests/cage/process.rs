//! Level `process`.

use std::fs;

use hob_model::{EndReason, Isolation};
use hob_sandbox::Access;

use crate::{
    Test,
    yard::{Yard, is_root, skip},
};

pub(crate) const TESTS: &[Test] = &[
    ("process::runs_without_rights", runs),
    ("process::landlock_shows_only_the_binds", landlock),
    ("process::limits_memory", memory),
];

fn yard(test: &str) -> Yard {
    let mut yard = Yard::new(test);
    yard.isolation = Isolation::Process;
    yard
}

fn runs() {
    let yard = yard("p-runs");
    let (end, text) = yard.run(&[
        "sh",
        "-c",
        "grep -E 'CapEff|CapBnd|NoNewPrivs|Seccomp:|^Uid' /proc/self/status; exit 4",
    ]);
    assert_eq!(end.message, "exit status 4");
    assert!(
        text.contains("CapEff:\t0000000000000000")
            && text.contains("NoNewPrivs:\t1")
            && text.contains("Seccomp:\t2")
    );
    assert!(
        !is_root() || text.contains("CapBnd:\t0000000000000000\n") && text.contains("Uid:\t12000"),
        "{text}"
    );
    let error = yard.refusal(yard.spec(&["no-such-program"]));
    assert!(error.is_callers_fault(), "{error}");
}

fn landlock() {
    let yard = yard("p-landlock");
    if yard.sandbox().capabilities().landlock_abi == 0 {
        skip("this kernel has no landlock");
        return;
    }
    let (ro, rw) = (
        yard.bind("ro", "/x", Access::ReadOnly),
        yard.bind("rw", "/y", Access::ReadWrite),
    );
    let other = yard.bind("other", "/z", Access::ReadWrite).source;
    fs::write(ro.source.join("file"), "shown\n").unwrap();
    fs::write(other.join("file"), "hidden\n").unwrap();
    let (r, w, o) = (ro.source.display(), rw.source.display(), other.display());
    let script = format!(
        "cat {r}/file {o}/file; touch {r}/new {o}/new; echo ok > {w}/new; cat {w}/new; cat /etc/shadow; \
         ls /root; touch /tmp/hob-must-not; echo x > /dev/null; kill -0 $PPID; mkdir -m 700 {w}/d && rmdir {w}/d && echo done"
    );
    let mut spec = yard.spec(&["sh", "-c", &script]);
    spec.cwd = rw.source.clone();
    spec.binds = vec![ro, rw];
    let (_, text) = yard.run_spec(spec);
    assert!(
        text.contains("shown\n") && text.contains("\nok\n") && text.ends_with("done\n"),
        "{text}"
    );
    assert!(!text.contains("hidden"), "{text}");
    assert_eq!(text.matches("denied").count(), 6, "{text}");
    assert!(!fs::exists("/tmp/hob-must-not").unwrap());
}

fn memory() {
    let yard = yard("p-memory");
    if !yard.sandbox().capabilities().cgroup.able.is_able() {
        skip("no usable cgroup");
        return;
    }
    let mut spec = yard.spec(&["/usr/bin/python3", "-c", "x = bytearray(200 << 20)"]);
    spec.limits.memory = 64 << 20;
    assert_eq!(yard.run_spec(spec).0.reason, EndReason::Memory);
}

//! Cages by OCI runtime programs.

use std::collections::BTreeSet;

use hob_model::EndReason;
use hob_sandbox::{Access, Mechanism};

use crate::{
    Test,
    yard::{PATIENCE, Yard, has},
};

pub(crate) const TESTS: &[Test] = &[
    ("oci::runc_makes_the_same_cage", || same_cage("runc")),
    ("oci::crun_makes_the_same_cage_or_says_why_not", crun),
    ("oci::runsc_makes_the_same_cage", || same_cage("runsc")),
    ("oci::what_another_daemon_left_is_taken_over", || {
        ["runc", "runsc"].into_iter().for_each(take_over);
    }),
    ("oci::a_missing_runtime_is_named", missing),
    ("oci::probe_tries_each", probe),
];

fn yard(runtime: &str) -> Yard {
    let mut yard = Yard::new(runtime);
    yard.mechanism = Mechanism::Oci(runtime.into());
    yard
}

fn same_cage(runtime: &str) {
    if !has(runtime) {
        return;
    }
    let yard = yard(runtime);
    let mut spec = yard.spec(&["sh", "-c",
        "id -u; hostname; touch /x /function/x 2>/dev/null; touch /tmp/x /data/x && echo fine; grep CapEff /proc/self/status; exit 6"]);
    spec.binds = vec![
        yard.bind("bundle", "/function", Access::ReadOnly),
        yard.bind("data", "/data", Access::ReadWrite),
    ];
    let (end, text) = yard.run_spec(spec);
    assert_eq!(end.message, "exit status 6", "{text}");
    assert_eq!(text, "12000\ncage\nfine\nCapEff:\t0000000000000000\n");
    assert!(yard.path("data/x").exists());
    let cage = yard.start(yard.spec(&["sleep", "1000"]));
    cage.kill();
    assert_eq!(
        cage.wait_timeout(PATIENCE).unwrap().unwrap().reason,
        EndReason::Cancelled
    );
    drop(cage);
    // gVisor says that the program runs before it has looked for it.
    let complaint = match yard.sandbox().spawn(yard.spec(&["no-such-program"])) {
        Err(error) => error.to_string(),
        Ok(cage) => cage.wait_timeout(PATIENCE).unwrap().expect("ends").message,
    };
    assert!(complaint.contains("no-such-program"), "{complaint}");
}

fn take_over(runtime: &str) {
    if !has(runtime) {
        return;
    }
    let yard = yard(runtime);
    let cage = yard.start(yard.spec(&["sleep", "1000"]));
    let record = cage.record();
    assert_eq!(record.mechanism, yard.mechanism);
    // As after kill -9: nobody drops it.
    std::mem::forget(cage);
    let cage = yard.sandbox().adopt(&record).unwrap().expect("the same");
    let kept = BTreeSet::from([record.id.clone()]);
    assert_eq!(yard.sandbox().sweep(&kept).unwrap(), 0);
    assert_eq!(cage.try_wait().unwrap(), None);
    cage.kill();
    let end = cage.wait_timeout(PATIENCE).unwrap().expect("killed");
    assert_eq!(end.reason, EndReason::Cancelled);
}

fn crun() {
    if !has("crun") {
        return;
    }
    let yard = yard("crun");
    // Older ones refuse a hybrid tree of cgroups; they must say so, and leave nothing.
    match yard.sandbox().spawn(yard.spec(&["true"])) {
        Ok(cage) => assert_eq!(
            cage.wait_timeout(PATIENCE).unwrap().unwrap().reason,
            EndReason::Ok
        ),
        Err(error) => assert!(error.to_string().contains("cgroup"), "{error}"),
    }
}

fn missing() {
    let yard = yard("no-such-runtime");
    let error = yard.refusal(yard.spec(&["true"])).to_string();
    assert!(
        error.contains("`no-such-runtime` is not on PATH"),
        "{error}"
    );
}

fn probe() {
    let yard = Yard::new("probe");
    let found = yard.sandbox().probe();
    println!("  {found:?}");
    assert!(found.process.is_able() && found.strongest().is_some());
}

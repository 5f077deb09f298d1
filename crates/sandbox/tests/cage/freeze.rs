//! Cages that stand still, and what can be done with one that does.

use std::{collections::BTreeSet, fs, thread, time::Duration};

use hob_model::{EndReason, Isolation};
use hob_sandbox::{Cage, Mechanism};

use crate::{
    Test,
    yard::{PATIENCE, Yard, eventually, has, skip},
};

pub(crate) const TESTS: &[Test] = &[
    ("freeze::a_frozen_cage_stands_still_and_goes_on", || {
        stands_still(Isolation::Container);
        stands_still(Isolation::Process);
    }),
    ("freeze::a_frozen_cage_ends_when_it_is_told", || {
        ends(Isolation::Container);
        ends(Isolation::Process);
    }),
    ("freeze::a_frozen_cage_is_taken_over_or_swept", left_behind),
    ("freeze::a_runtimes_cage_is_frozen_as_well", || {
        ["runc", "runsc"].into_iter().for_each(runtime);
    }),
];

/// Counts on and on, and has a child that does so too.
const COUNT: &str = "n() { while :; do echo x >> $1; done; }; n /data/a & n /data/b";

fn yard(test: &str, isolation: Isolation) -> Option<Yard> {
    let mut yard = Yard::new(test);
    yard.isolation = isolation;
    let groups = &yard.sandbox().capabilities().cgroup;
    let able = groups.able.is_able() || skip(&format!("no usable cgroup: {groups:?}"));
    able.then_some(yard)
}

fn counting(yard: &Yard) -> Cage {
    let mut spec = yard.spec(&["bash", "-c", COUNT]);
    spec.binds = vec![yard.bind("data", "/data", hob_sandbox::Access::ReadWrite)];
    if yard.isolation == Isolation::Process {
        let folder = yard.path("data").display().to_string();
        spec.argv[2] = COUNT.replace("/data", &folder);
    }
    let cage = yard.start(spec);
    eventually("both count", || counts(yard).iter().all(|count| *count > 0));
    cage
}

fn counts(yard: &Yard) -> [u64; 2] {
    let length = |name| fs::metadata(yard.path("data").join(name)).map_or(0, |data| data.len());
    [length("a"), length("b")]
}

/// A busy machine may need more than one try.
fn freeze(cage: &Cage) {
    eventually("it stands still", || cage.freeze().is_ok());
}

fn frozen(yard: &Yard) -> Cage {
    let cage = counting(yard);
    assert!(cage.can_freeze() && !cage.is_frozen());
    freeze(&cage);
    assert!(cage.is_frozen());
    cage
}

fn stands_still(isolation: Isolation) {
    let Some(yard) = yard("still", isolation) else {
        return;
    };
    let cage = frozen(&yard);
    let before = counts(&yard);
    // Only time can show that nothing happens.
    thread::sleep(Duration::from_millis(50));
    assert_eq!(counts(&yard), before);
    assert_eq!(cage.try_wait().unwrap(), None);
    cage.thaw().unwrap();
    assert!(!cage.is_frozen());
    eventually("both go on", || {
        let now = counts(&yard);
        now[0] > before[0] && now[1] > before[1]
    });
    // Once more changes nothing.
    cage.thaw().unwrap();
}

fn ends(isolation: Isolation) {
    let Some(yard) = yard("ends", isolation) else {
        return;
    };
    let cage = frozen(&yard);
    cage.terminate();
    let end = cage.wait_timeout(PATIENCE).unwrap().expect("asked to end");
    assert_eq!(end.message, "exit status 143 (signal 15)");
    drop(cage);
    let cage = frozen(&yard);
    cage.kill();
    let end = cage.wait_timeout(PATIENCE).unwrap().expect("killed");
    assert_eq!(end.reason, EndReason::Cancelled);
    drop(cage);
    drop(frozen(&yard));
    let left = yard.processes();
    assert!(!left.iter().any(|line| line.contains("bash")), "{left:?}");
}

fn left_behind() {
    let Some(yard) = yard("left", Isolation::Container) else {
        return;
    };
    let cage = frozen(&yard);
    let record = cage.record();
    // As after kill -9: nobody drops it.
    std::mem::forget(cage);
    let cage = yard.sandbox().adopt(&record).unwrap().expect("the same");
    assert!(cage.is_frozen());
    cage.thaw().unwrap();
    let before = counts(&yard);
    eventually("it goes on", || counts(&yard) > before);
    freeze(&cage);
    std::mem::forget(cage);
    assert_eq!(yard.sandbox().sweep(&BTreeSet::new()).unwrap(), 1);
    eventually("all have gone", || yard.processes().is_empty());
}

fn runtime(program: &str) {
    if !has(program) {
        return;
    }
    let Some(mut yard) = yard(program, Isolation::Container) else {
        return;
    };
    yard.mechanism = Mechanism::Oci(program.into());
    let cage = frozen(&yard);
    let before = counts(&yard);
    // Only time can show that nothing happens.
    thread::sleep(Duration::from_millis(50));
    assert_eq!(counts(&yard), before);
    cage.thaw().unwrap();
    eventually("it goes on", || counts(&yard) > before);
    freeze(&cage);
    cage.kill();
    let end = cage.wait_timeout(PATIENCE).unwrap().expect("killed");
    assert_eq!(end.reason, EndReason::Cancelled);
}

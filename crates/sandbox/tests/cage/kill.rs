//! Ends, wanted and unwanted.

use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, Instant},
};

use hob_model::{EndReason, Isolation};
use hob_sandbox::CageRecord;

use crate::{
    Test,
    yard::{PATIENCE, Yard, eventually},
};

pub(crate) const TESTS: &[Test] = &[
    ("kill::reaches_descendants_that_hide", || {
        descendants(Isolation::Container)
    }),
    (
        "kill::reaches_descendants_that_hide_at_level_process",
        || descendants(Isolation::Process),
    ),
    ("kill::sigterm_reaches_the_program", || {
        terminate(Isolation::Container)
    }),
    ("kill::sigterm_reaches_the_program_at_level_process", || {
        terminate(Isolation::Process)
    }),
    ("kill::the_end_of_the_program_is_the_end_of_all", || {
        end_of_all(Isolation::Container)
    }),
    (
        "kill::the_end_of_the_program_is_the_end_of_all_at_level_process",
        || end_of_all(Isolation::Process),
    ),
    ("kill::dropping_a_cage_kills", drop_kills),
    ("kill::sweep_ends_what_another_daemon_left", sweep),
    ("kill::what_another_daemon_left_is_taken_over", || {
        take_over(Isolation::Container)
    }),
    (
        "kill::what_another_daemon_left_is_taken_over_at_level_process",
        || take_over(Isolation::Process),
    ),
    (
        "kill::a_record_of_something_else_is_not_taken_over",
        not_taken_over,
    ),
    ("kill::a_spare_that_was_killed_is_replaced", spare_killed),
];

/// What a kill may take; the aim is 50 ms on an idle machine.
const QUICK: Duration = Duration::from_millis(500);

const HIDING: &str =
    "(setsid sh -c '(sleep 1000 & sleep 1000 & sleep 1000)' &) ; setsid sleep 1000 & echo up; wait";

fn descendants(isolation: Isolation) {
    let mut yard = Yard::new("hide");
    yard.isolation = isolation;
    let cage = yard.start(yard.spec(&["bash", "-c", HIDING]));
    eventually("they hide", || {
        yard.processes()
            .iter()
            .filter(|line| line.contains("sleep 1000"))
            .count()
            >= 4
    });
    let start = Instant::now();
    cage.kill();
    let end = cage.wait_timeout(PATIENCE).unwrap().expect("killed");
    assert_eq!(end.reason, EndReason::Cancelled);
    eventually("all have gone", || {
        !yard.processes().iter().any(|line| line.contains("sleep"))
    });
    let took = start.elapsed();
    assert!(took < QUICK, "{took:?}");
    println!("  killed in {took:?}");
}

fn terminate(isolation: Isolation) {
    let mut yard = Yard::new("term");
    yard.isolation = isolation;
    let script = "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.01; done";
    let cage = yard.start(yard.spec(&["bash", "-c", script]));
    let mut text = String::new();
    eventually("up", || {
        text += &yard.output();
        text.contains("up")
    });
    cage.terminate();
    let end = cage.wait_timeout(PATIENCE).unwrap().expect("ends");
    assert_eq!(end.message, "exit status 7");
    assert!(yard.output().contains("bye"));
    let cage = yard.start(yard.spec(&["sleep", "1000"]));
    cage.terminate();
    let end = cage.wait_timeout(PATIENCE).unwrap().expect("ends");
    assert_eq!(end.message, "exit status 143 (signal 15)");
}

fn end_of_all(isolation: Isolation) {
    let mut yard = Yard::new("all");
    yard.isolation = isolation;
    let cage = yard.start(yard.spec(&["bash", "-c", "(setsid sleep 1000 &); exit 0"]));
    let end = cage.wait_timeout(PATIENCE).unwrap().expect("ends");
    assert_eq!(end.reason, EndReason::Ok);
    eventually("all have gone", || {
        !yard.processes().iter().any(|line| line.contains("sleep"))
    });
}

fn drop_kills() {
    let yard = Yard::new("drop");
    let cage = yard.start(yard.spec(&["sleep", "1000"]));
    let record = cage.record();
    assert!(record.start_time > 0 && fs::exists(format!("/proc/{}", record.pid)).unwrap());
    assert!(record.cgroups.iter().all(|folder| folder.exists()));
    drop(cage);
    assert!(!fs::exists(format!("/proc/{}", record.pid)).unwrap());
    assert!(record.cgroups.iter().all(|folder| !folder.exists()));
}

fn sweep() {
    let yard = Yard::new("sweep");
    let cage = yard.start(yard.spec(&["bash", "-c", "setsid sleep 1000 & sleep 1000"]));
    // As after kill -9: nobody drops it.
    let pidfd = cage.pidfd().try_clone_to_owned().unwrap();
    std::mem::forget(cage);
    assert_eq!(yard.sandbox().sweep(&BTreeSet::new()).unwrap(), 1);
    eventually("all have gone", || yard.processes().is_empty());
    drop(pidfd);
}

fn take_over(isolation: Isolation) {
    let mut yard = Yard::new("adopt");
    yard.isolation = isolation;
    let cage = yard.start(yard.spec(&["bash", "-c", "setsid sleep 1000 & sleep 1000"]));
    let record = cage.record();
    // As after kill -9: nobody drops it.
    std::mem::forget(cage);
    let cage = yard.sandbox().adopt(&record).unwrap().expect("the same");
    assert_eq!(cage.record(), record);
    let kept = BTreeSet::from([record.id.clone()]);
    assert_eq!(yard.sandbox().sweep(&kept).unwrap(), 0);
    assert_eq!(cage.try_wait().unwrap(), None);
    cage.kill();
    let end = cage.wait_timeout(PATIENCE).unwrap().expect("killed");
    assert_eq!(end.reason, EndReason::Cancelled);
    eventually("all have gone", || yard.processes().is_empty());
    drop(cage);
    assert!(yard.sandbox().adopt(&record).unwrap().is_none());
}

fn not_taken_over() {
    let yard = Yard::new("forged");
    let mut stranger = std::process::Command::new("sleep")
        .arg("1000")
        .spawn()
        .unwrap();
    let cage = yard.start(yard.spec(&["sleep", "1000"]));
    let record = cage.record();
    let changes: [fn(&mut CageRecord, u32); 4] = [
        |record, _| record.start_time += 1,
        // Both may have started within one tick of the clock.
        |record, stranger| (record.pid, record.start_time) = (stranger, record.start_time + 9),
        |record, _| record.boot = "another".into(),
        |record, _| record.id = "../c".into(),
    ];
    for change in changes {
        let mut forged = record.clone();
        change(&mut forged, stranger.id());
        assert!(yard.sandbox().adopt(&forged).unwrap().is_none());
    }
    assert_eq!(cage.try_wait().unwrap(), None);
    assert_eq!(stranger.try_wait().unwrap(), None);
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

fn spare_killed() {
    let yard = Yard::new("spare");
    if yard.sandbox().capabilities().cgroup.version != Some(1) {
        println!("SKIPPED: only with cgroup version 1 a spare is in a cgroup, to be found by");
        return;
    }
    yard.sandbox().warm();
    eventually("a spare waits", || yard.processes().len() == 1);
    let line = yard.processes().remove(0);
    let pid = line
        .split(' ')
        .next()
        .unwrap()
        .trim_start_matches("/proc/")
        .to_owned();
    std::process::Command::new("kill")
        .args(["-9", &pid])
        .status()
        .unwrap();
    eventually("it has gone", || yard.processes().is_empty());
    assert_eq!(yard.run(&["true"]).0.reason, EndReason::Ok);
}

//! Limits, and the reasons that they give.

use hob_model::EndReason;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::{
    Test,
    yard::{PATIENCE, Yard, skip},
};

pub(crate) const TESTS: &[Test] = &[
    ("limits::memory_ends_the_cage_and_says_so", memory),
    (
        "limits::what_the_kernel_did_to_a_part_of_a_cage_is_told",
        told,
    ),
    ("limits::a_fork_bomb_is_bounded_and_killed", fork_bomb),
    ("limits::threads_beyond_the_limit_are_refused", pids),
    ("limits::processor_time_is_shared_out", cpu),
    ("limits::resident_memory_is_told", resident),
];

fn limited(yard: &Yard) -> bool {
    let support = &yard.sandbox().capabilities().cgroup;
    support.able.is_able() || skip(&format!("no usable cgroup: {support:?}"))
}

fn memory() {
    let yard = Yard::new("memory");
    if !limited(&yard) {
        return;
    }
    let mut spec = yard.spec(&["/usr/bin/python3", "-c", "x = bytearray(200 << 20)"]);
    spec.limits.memory = 64 << 20;
    let (end, _) = yard.run_spec(spec);
    assert_eq!(end.reason, EndReason::Memory, "{end}");
    // A tmpfs counts as well.
    let mut spec = yard.spec(&["sh", "-c", "dd if=/dev/zero of=/tmp/x bs=1M count=200"]);
    spec.limits.memory = 64 << 20;
    spec.limits.tmp = 512 << 20;
    assert_eq!(yard.run_spec(spec).0.reason, EndReason::Memory);
}

fn told() {
    let yard = Yard::new("told");
    if !limited(&yard) {
        return;
    }
    // After a moment, in which the alarm is set.
    let grow = "sleep 0.5; python3 -c 'x = bytearray(200 << 20)'; exec sleep 60";
    let fork = "sleep 0.5; for i in 1 2 3 4 5 6 7 8; do sleep 60 & done; exec sleep 60";
    for (script, reason) in [(grow, EndReason::Memory), (fork, EndReason::Pids)] {
        let mut spec = yard.spec(&["bash", "-c", script]);
        spec.limits.memory = 64 << 20;
        spec.limits.pids = 6;
        let cage = yard.start(spec);
        let alarm = cage.alarm().unwrap();
        crate::yard::eventually("over its limit", || cage.is_over_limit());
        // Version 1 tells of memory only; of version 2, nothing is left to be told of then.
        let is_memory = reason == EndReason::Memory;
        if is_memory != alarm.is_complete() {
            let news = PollFd::from_borrowed_fd(alarm.news().unwrap(), PollFlags::IN);
            assert_eq!(poll(&mut [news], Some(&Timespec::default())), Ok(1));
            assert!(cage.try_wait().unwrap().is_none(), "{reason}");
        }
        cage.kill();
        let end = cage.wait_timeout(PATIENCE).unwrap().expect("killed");
        assert_eq!(end.reason, reason, "{end}");
    }
}

fn fork_bomb() {
    let yard = Yard::new("bomb");
    if !limited(&yard) {
        return;
    }
    let mut spec = yard.spec(&["bash", "-c", "b() { b | b & }; b; while :; do b; done"]);
    spec.limits.pids = 40;
    let cage = yard.start(spec);
    crate::yard::eventually("the bomb grows", || yard.processes().len() > 30);
    assert!(yard.processes().len() <= 42, "{}", yard.processes().len());
    cage.kill();
    let end = cage.wait_timeout(PATIENCE).unwrap().expect("killed");
    assert!(
        matches!(end.reason, EndReason::Pids | EndReason::Cancelled),
        "{end}"
    );
}

fn pids() {
    let yard = Yard::new("pids-limit");
    if !limited(&yard) {
        return;
    }
    let script = "import threading,time\nfor i in range(50): threading.Thread(target=time.sleep,args=(9,),daemon=True).start()";
    let mut spec = yard.spec(&["/usr/bin/python3", "-c", script]);
    spec.limits.pids = 20;
    let (end, text) = yard.run_spec(spec);
    assert_eq!(end.reason, EndReason::Pids, "{end} {text}");
}

fn cpu() {
    let yard = Yard::new("cpu");
    if !limited(&yard) {
        return;
    }
    let script = "import time\ne=time.monotonic()+1\nwhile time.monotonic()<e: pass\nprint(time.process_time())";
    let mut spec = yard.spec(&["/usr/bin/python3", "-c", script]);
    spec.limits.cpu_millis = 200;
    let (_, text) = yard.run_spec(spec);
    let used: f64 = text.trim().parse().unwrap();
    assert!(
        used < 0.5,
        "used {used} s of the 0.2 s that it may in one second"
    );
}

fn resident() {
    let yard = Yard::new("resident");
    if !limited(&yard) {
        return;
    }
    let script = "x = b'x' * (50 << 20); print('ready', flush=True); import time; time.sleep(60)";
    let cage = yard.start(yard.spec(&["/usr/bin/python3", "-c", script]));
    crate::yard::eventually("ready", || yard.output().contains("ready"));
    let bytes = cage.memory().unwrap();
    assert!((50 << 20..100 << 20).contains(&bytes), "{bytes}");
    // Not every kernel counts it.
    let used = cage.cpu_time();
    assert!(used.is_none_or(|time| !time.is_zero()), "{used:?}");
}

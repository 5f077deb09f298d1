//! Output without end: hob takes no more of it than it can give away.

use std::{
    io::Read,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use hob_testkit::{assert_eventually, wait_until};

use super::{
    caller::Order,
    stage::{Settings, Stage, is_able},
    traces::{Traces, assert_as_before, resident, settled},
};

/// Most that hob's memory may grow by.
const GROWTH_MAX: u64 = 48 << 20;
/// Each with a sandbox, so that none is left over.
const CALLERS: usize = 2;
/// What each of them takes of it.
const ENOUGH: usize = 1 << 30;
/// Longer than any of these tests.
const FOREVER: Duration = Duration::from_secs(600);

/// Writes to both, as fast as it is taken, and goes on when it is not.
const FLOOD: &str = "trap '' PIPE TERM; yes 0123456789 >&2 & exec yes 0123456789";

/// Whose runs only time ends.
fn stage() -> Stage {
    Stage::new(Settings {
        size: CALLERS,
        // A machine with other work takes some seconds for a gigabyte.
        time: "120s",
        output: "64Gi",
        ..Settings::default()
    })
}

/// Does `work`, and returns by how much hob's memory grew at most.
fn growth(stage: &Stage, work: impl FnOnce()) -> u64 {
    let is_over = AtomicBool::new(false);
    let before = resident(stage.hob.pid());
    thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = before;
            wait_until(FOREVER, || {
                most = most.max(resident(stage.hob.pid()));
                is_over.load(Ordering::Relaxed)
            });
            most
        });
        // Also when it fails, or the watch would go on for ever.
        let worked = catch_unwind(AssertUnwindSafe(work));
        is_over.store(true, Ordering::Relaxed);
        let most = watch.join().unwrap();
        worked.unwrap_or_else(|panic| resume_unwind(panic));
        most - before
    })
}

#[test]
fn gigabytes_of_output_go_through_hob_and_do_not_stay_there() {
    if !is_able(&[]) {
        return;
    }
    let stage = stage();
    let before = settled(&stage.hob, CALLERS);
    let events = Order::new("bash", FLOOD).limit("time", "120s");
    let raw = events.clone().raw();
    let address = stage.hob.address();
    let grown = growth(&stage, || {
        thread::scope(|scope| {
            for flood in [&events, &raw] {
                scope.spawn(move || {
                    let mut stream = flood.send(address).unwrap();
                    let mut room = vec![0; 1 << 20];
                    let mut taken = 0;
                    while taken < ENOUGH {
                        let read = stream.read(&mut room).unwrap();
                        assert!(read > 0, "it ends after {taken} bytes");
                        taken += read;
                    }
                    // And hangs up.
                });
            }
        });
    });
    assert!(grown < GROWTH_MAX, "{grown} bytes");
    stage.ordinary();
    assert_as_before(&stage.hob, &before);
}

#[test]
fn a_caller_that_takes_nothing_holds_no_sandbox_beyond_the_deadline() {
    if !is_able(&[]) {
        return;
    }
    let stage = stage();
    let before = settled(&stage.hob, CALLERS);
    let flood = Order::new("bash", FLOOD).limit("time", "2s");
    let address = stage.hob.address();
    let grown = growth(&stage, || {
        let processes = || Traces::of(&stage.hob).processes.len();
        let idle = processes();
        let deaf: Vec<_> = (0..CALLERS).map(|_| flood.send(address).unwrap()).collect();
        assert_eventually!(processes() > idle, "the floods begin");
        // Waits in line for a sandbox, and gets one though nobody has hung up.
        stage.ordinary();
        drop(deaf);
    });
    assert!(grown < GROWTH_MAX, "{grown} bytes");
    assert_as_before(&stage.hob, &before);
}

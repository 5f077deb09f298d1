//! How runs end, by themselves and otherwise.

use std::time::{Duration, Instant};

use hob_model::{
    EndReason, Memory,
    port::Sandboxes,
    sandbox::{RunLimits, RunOrder},
};

use crate::{
    Test,
    world::{World, bash, block_on, eventually, first_line, is_running, millis, read},
};

pub(crate) const TESTS: &[Test] = &[
    ("ends::codes_and_signals", codes),
    ("ends::the_deadline_ends_descendants", deadline),
    ("ends::the_deadline_holds_whoever_reads", slow_reader),
    ("ends::the_deadline_holds_while_hob_is_busy", busy),
    ("ends::output_is_complete", complete),
    ("ends::the_limit_of_output_is_exact", exact),
    ("ends::processor_time", cpu),
    ("ends::memory", memory),
    ("ends::processes", pids),
];

/// How late a kill may be on a machine that is busy with other tests; alone it is 50 ms.
const LATE: Duration = Duration::from_millis(500);

fn codes() {
    block_on(async {
        let world = World::new(2);
        let ran = world.bash("echo out; echo err >&2").await;
        assert_eq!(ran.text(), "out\n");
        assert_eq!(ran.stderr, b"err\n");
        let end = ran.end();
        assert_eq!(
            (end.code, end.signal, end.end.reason),
            (0, None, EndReason::Ok)
        );
        assert!(end.memory.is_some() && end.cpu.is_some(), "{end:?}");
        assert!(end.times.run > Duration::ZERO && end.times.start > Duration::ZERO);
        let ran = world.bash("exit 3").await;
        assert_eq!((ran.end().code, ran.reason()), (3, EndReason::Exit));
        let ran = world.bash("no-such-command").await;
        assert_eq!(ran.end().code, 127);
        assert_eq!(
            String::from_utf8_lossy(&ran.stderr),
            "/bin/bash: line 1: no-such-command: command not found\n"
        );
        let ran = world.bash("kill -TERM $$").await;
        let end = ran.end();
        assert_eq!(
            (end.code, end.signal, end.end.reason),
            (-1, Some(15), EndReason::Exit)
        );
        world.end().await;
    });
}

fn deadline() {
    block_on(async {
        let world = World::new(1);
        world.is_full().await;
        let limits = RunLimits {
            time: millis(400),
            ..RunLimits::default()
        };
        let script = "trap '' TERM INT HUP
            (setsid sleep 1000 &) ; sh -c 'kill -STOP $$' & setsid sh -c '(sleep 1000 &)'
            echo begun; while :; do sleep 1000; done";
        let begun = Instant::now();
        let ran = world.limited(script, limits).await;
        let lasted = begun.elapsed();
        assert_eq!(ran.text(), "begun\n");
        let end = ran.end();
        assert_eq!(
            (end.code, end.signal, end.end.reason),
            (-1, Some(9), EndReason::Timeout)
        );
        assert_eq!(end.end.message, "passed its time limit of 400ms");
        assert!(end.by_deadline);
        println!("killed after {lasted:?} of 400 ms");
        assert!(lasted < Duration::from_millis(400) + LATE, "{lasted:?}");
        // Its only sandbox is free again: nothing of it is left in there.
        assert_eq!(world.bash("echo next").await.text(), "next\n");
        world.end().await;
    });
}

fn slow_reader() {
    block_on(async {
        let world = World::new(1);
        let order = RunOrder {
            limits: RunLimits {
                time: millis(300),
                ..RunLimits::default()
            },
            ..bash("yes")
        };
        let run = world.pool.run(order).await.unwrap();
        // Nobody reads, and the sandbox is free again.
        assert_eq!(world.bash("echo next").await.text(), "next\n");
        let ran = read(run).await;
        assert_eq!(ran.reason(), EndReason::Timeout);
        assert!(ran.stdout.iter().all(|byte| b"y\n".contains(byte)));
        // What was in the pipe, and what waited for its reader; no more was written.
        assert!(
            (1..2 << 20).contains(&ran.stdout.len()),
            "{}",
            ran.stdout.len()
        );
        world.end().await;
    });
}

/// All that is asynchronous stands still, and the run dies all the same.
fn busy() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let world = World::new(1);
        let order = RunOrder {
            limits: RunLimits {
                time: millis(300),
                ..RunLimits::default()
            },
            ..bash("sleep 1000 & echo begun; wait")
        };
        let mut run = world.pool.run(order).await.unwrap();
        first_line(&mut run).await;
        let begun = Instant::now();
        let pids = world.processes(&run.worker);
        assert!(pids.len() >= 3, "init, bash and sleep: {pids:?}");
        while pids.iter().any(|pid| is_running(pid)) {
            assert!(begun.elapsed() < Duration::from_millis(300) + LATE);
            std::thread::yield_now();
        }
        assert_eq!(read(run).await.reason(), EndReason::Timeout);
        world.end().await;
    });
}

fn complete() {
    block_on(async {
        let world = World::new(2);
        let script = "seq 1 200000 & seq 300000 499999 >&2 & wait";
        let ran = world.bash(script).await;
        let numbers =
            |from: u32, to: u32| (from..=to).map(|n| format!("{n}\n")).collect::<String>();
        assert!(ran.text() == numbers(1, 200_000), "stdout is whole");
        let errors = String::from_utf8(ran.stderr.clone()).unwrap();
        assert!(errors == numbers(300_000, 499_999), "stderr is whole");
        assert_eq!(ran.reason(), EndReason::Ok);
        // By one that does not wait until it is read, and goes.
        for _ in 0..20 {
            let ran = world.bash("head -c 200000 /dev/zero").await;
            assert_eq!(ran.stdout.len(), 200_000);
        }
        world.end().await;
    });
}

fn exact() {
    block_on(async {
        let world = World::new(2);
        let limits = RunLimits {
            output: Some(Memory(100_000)),
            ..RunLimits::default()
        };
        let ran = world.limited("yes & yes >&2", limits.clone()).await;
        assert_eq!(ran.stdout.len() + ran.stderr.len(), 100_000);
        assert_eq!(ran.reason(), EndReason::Output);
        assert_eq!(
            ran.end().end.message,
            "wrote more than its 100000 of output"
        );
        // Over it, and gone before anybody looks.
        let ran = world
            .limited("head -c 100001 /dev/zero", limits.clone())
            .await;
        assert_eq!(
            (ran.stdout.len(), ran.reason()),
            (100_000, EndReason::Output)
        );
        let ran = world.limited("head -c 100000 /dev/zero", limits).await;
        assert_eq!((ran.stdout.len(), ran.reason()), (100_000, EndReason::Ok));
        world.end().await;
    });
}

fn cpu() {
    block_on(async {
        let world = World::new(1);
        let limits = RunLimits {
            cpu: millis(300),
            ..RunLimits::default()
        };
        let ran = world.limited("while :; do :; done", limits).await;
        let end = ran.end();
        assert_eq!(end.end.reason, EndReason::Timeout);
        assert_eq!(end.end.message, "used up its 300ms of processor time");
        assert!(!end.by_deadline);
        let used = end.cpu.unwrap();
        assert!((300..600).contains(&used.as_millis()), "{used:?}");
        world.end().await;
    });
}

fn memory() {
    block_on(async {
        let world = World::new(1);
        let limits = RunLimits {
            memory: Some(Memory(32 << 20)),
            ..RunLimits::default()
        };
        let ran = world.limited("tail /dev/zero", limits.clone()).await;
        assert_eq!(ran.reason(), EndReason::Memory, "{ran:?}");
        assert_ne!(ran.end().code, 0);
        assert!(ran.end().memory.unwrap() <= 32 << 20);
        // Also where the program itself lives on.
        let ran = world
            .limited("(tail /dev/zero); exec sleep 1000", limits)
            .await;
        assert_eq!(ran.reason(), EndReason::Memory, "{ran:?}");
        assert_eq!(ran.end().code, -1);
        world.end().await;
    });
}

fn pids() {
    block_on(async {
        let world = World::new(1);
        let limits = RunLimits {
            pids: Some(8),
            ..RunLimits::default()
        };
        let order = RunOrder {
            language: "python".into(),
            script: b"import os, time\nwhile os.fork():\n    pass\ntime.sleep(1000)".to_vec(),
            limits,
            ..bash("")
        };
        if world.pool.languages().iter().any(|one| one.is("python")) {
            let ran = world.ran(order).await;
            assert_eq!(ran.reason(), EndReason::Pids, "{ran:?}");
        }
        let mut run = world.start("sleep 1000 & echo $!; exit").await.unwrap();
        first_line(&mut run).await;
        let worker = run.worker.clone();
        let ran = read(run).await;
        // What it leaves running ends with it.
        assert_eq!(ran.reason(), EndReason::Ok);
        eventually("nothing of it lives", async || {
            world.processes(&worker).is_empty()
        })
        .await;
        world.end().await;
    });
}

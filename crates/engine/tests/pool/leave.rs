//! What is left when callers go, and when the pool does.

use std::time::Duration;

use hob_model::{EndReason, port::Sandboxes};

use crate::{
    Test,
    world::{World, bash, block_on, eventually, first_line, read},
};

pub(crate) const TESTS: &[Test] = &[
    ("leave::a_caller_who_goes_has_it_killed", hang_up),
    ("leave::at_any_moment", any_moment),
    ("leave::a_closed_pool_leaves_nothing", closed),
];

fn hang_up() {
    block_on(async {
        let world = World::new(1);
        let script = "setsid sleep 1000 & echo begun; sleep 1000";
        let mut run = world.start(script).await.unwrap();
        first_line(&mut run).await;
        let worker = run.worker.clone();
        assert!(world.processes(&worker).len() >= 3);
        drop(run);
        eventually("all of it is dead", async || {
            world.processes(&worker).is_empty()
        })
        .await;
        eventually("its lease is gone", async || {
            !world.leases().contains(&format!("{worker}.json"))
        })
        .await;
        world.is_full().await;
        world.end().await;
    });
}

fn any_moment() {
    block_on(async {
        let world = World::new(2);
        let before = descriptors();
        for number in 0..80_u64 {
            let pool = world.pool.clone();
            let run = async move {
                let run = pool.run(bash("echo x; sleep 1000")).await.unwrap();
                read(run).await;
            };
            let patience = Duration::from_micros(number * 100);
            assert!(tokio::time::timeout(patience, run).await.is_err());
        }
        world.is_full().await;
        assert_eq!(world.bash("echo fine").await.text(), "fine\n");
        world.is_full().await;
        let after = descriptors();
        assert!(after <= before + 20, "{before} descriptors became {after}");
        world.end().await;
    });
}

fn closed() {
    block_on(async {
        let world = World::new(3);
        let run = world.start("yes").await.unwrap();
        let quiet = world.start("sleep 1000").await.unwrap();
        let waiting = [1, 2].map(|_| {
            let pool = world.pool.clone();
            tokio::spawn(async move { pool.run(bash("sleep 1000")).await.is_ok() })
        });
        let (ran, quiet, ()) = tokio::join!(read(run), read(quiet), world.pool.close());
        for ran in [ran, quiet] {
            assert_eq!(ran.reason(), EndReason::Cancelled);
            assert_eq!(ran.end().end.message, "hob is stopping");
        }
        for waiting in waiting {
            let _ = waiting.await.unwrap();
        }
        assert_eq!(world.pool.standing().ready, 0);
        world.end().await;
    });
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

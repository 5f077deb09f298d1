//! Who gets a sandbox, and when.

use std::path::Path;

use futures_util::{FutureExt, poll};
use hob_engine::pool::{LocalPool, LocalPoolConfig};
use hob_model::port::{RunError, Sandboxes};

use crate::{
    Test,
    world::{SOON, World, block_on, eventually, first_line, sandbox},
};

pub(crate) const TESTS: &[Test] = &[
    ("turns::the_third_of_two_waits", third_waits),
    ("turns::a_full_line_says_so", full),
    ("turns::sandboxes_are_made_ahead_and_replaced", replaced),
    ("turns::a_machine_that_cannot_says_why", cannot),
    ("turns::never_more_than_there_may_be", never_more),
];

const LONG: &str = "echo begun; sleep 1000";

fn third_waits() {
    block_on(async {
        let world = World::new(2);
        let first = world.start(LONG).await.unwrap();
        let _second = world.start(LONG).await.unwrap();
        let mut third = Box::pin(world.start("echo third"));
        assert!(poll!(&mut third).is_pending());
        let standing = world.pool.standing();
        assert_eq!((standing.leased, standing.waiting), (2, 1));
        drop(first);
        let mut third = tokio::time::timeout(SOON, third).await.unwrap().unwrap();
        assert_eq!(first_line(&mut third).await, "third");
        drop(third);
        world.end().await;
    });
}

fn full() {
    block_on(async {
        let world = World::with(1, |config| config.queue = 1);
        let _first = world.start(LONG).await.unwrap();
        let mut second = Box::pin(world.start(LONG));
        assert!(poll!(&mut second).is_pending());
        let third = world.start(LONG).await.map(|_| ());
        assert!(
            matches!(
                third,
                Err(RunError::Full {
                    size: 1,
                    waiting: 1,
                    ..
                })
            ),
            "{third:?}"
        );
        // Who leaves the line gives his place in it back.
        drop(second);
        let fourth = world.start(LONG).now_or_never();
        assert!(fourth.is_none(), "it waits");
        world.end().await;
    });
}

fn replaced() {
    block_on(async {
        let world = World::new(2);
        world.is_full().await;
        let before = world.leases();
        assert_eq!(before.len(), 2);
        let worker = before[0].strip_suffix(".json").unwrap();
        for pid in world.processes(worker) {
            let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        eventually("another one is there", async || {
            let now = world.leases();
            now.len() == 2 && !now.contains(&before[0])
        })
        .await;
        world.is_full().await;
        assert_eq!(world.bash("echo fine").await.text(), "fine\n");
        world.end().await;
    });
}

fn cannot() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("hob-one");
        let sandbox = sandbox(&run, Path::new("/bin/false"));
        let pool = LocalPool::new(LocalPoolConfig::new(run), sandbox).unwrap();
        let run = pool.run(crate::world::bash("true"));
        let refused = tokio::time::timeout(SOON, run).await.unwrap();
        let Err(RunError::Unavailable(words)) = refused.map(|_| ()) else {
            panic!("there is a sandbox");
        };
        assert!(words.contains("helper"), "{words}");
        assert_eq!(pool.standing().leased, 0);
        pool.close().await;
        let closed = pool.run(crate::world::bash("true")).await.map(|_| ());
        assert!(matches!(closed, Err(RunError::Unavailable(_))));
    });
}

/// Counted by their leases, which are there before and after the sandboxes are.
fn never_more() {
    block_on(async {
        let world = World::new(3);
        let runs = (0..60).map(|number| {
            let world = &world;
            async move {
                let ran = world.bash(&format!("echo {number}")).await;
                assert_eq!(ran.text(), format!("{number}\n"));
                let leases = world.leases();
                let leases = leases.iter().filter(|name| name.ends_with(".json"));
                assert!(leases.count() <= 3);
            }
        });
        futures_util::future::join_all(runs).await;
        world.is_full().await;
        world.end().await;
    });
}

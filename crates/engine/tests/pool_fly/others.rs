use std::time::{Duration, SystemTime};

use hob_model::port::Sandboxes;
use hob_testkit::{FakeMachine, assert_eventually};
use serde_json::json;

use crate::world::{IMAGE, LEASE, POOL, REGION, World, run, well};

/// One of so many seconds ago.
fn made(name: &str, ago: Duration) -> FakeMachine {
    let time = SystemTime::now() - ago;
    FakeMachine {
        created: time
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs(),
        config: json!({ "image": IMAGE, "metadata": { "pool_id": "other//image:1" } }),
        ..FakeMachine::stopped(name, REGION, IMAGE)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_other_pools_only_what_is_old_and_not_leased_is_destroyed() {
    let world = World::new();
    let far = u64::MAX / 2;
    let (old, young) = (LEASE * 2, LEASE / 2);
    let left = world.fly.add(made("worker-other-1", old));
    let running = world.fly.add(FakeMachine {
        state: "started".into(),
        ..made("worker-my-pool-and-more-2", old)
    });
    let kept = [
        made("worker-other-3", young),
        FakeMachine {
            lease: Some(("theirs".into(), far)),
            ..made("worker-other-4", old)
        },
        // No worker, whatever it says of itself.
        made("web", old),
        FakeMachine {
            config: json!({ "image": IMAGE, "metadata": { "pool_id": format!("{POOL}//{IMAGE}") } }),
            ..made("database", old)
        },
        // Called like a worker, by somebody who has no pools.
        FakeMachine {
            config: json!({ "image": IMAGE, "metadata": {} }),
            ..made("worker-other-7", old)
        },
        // Ours by name, and somebody has it.
        FakeMachine {
            lease: Some(("theirs".into(), far)),
            ..made("worker-my-pool-5", old)
        },
        // In a region that this pool does not look after.
        FakeMachine {
            region: "syd".into(),
            ..made("worker-other-6", old)
        },
    ]
    .map(|machine| world.fly.add(machine));
    let pool = world.pool();
    let there = || -> Vec<String> { world.fly.machines().into_iter().map(|m| m.id).collect() };
    assert_eventually!(!there().contains(&left) && !there().contains(&running));
    assert_eq!(run(&pool, "echo hi").await, Ok(well("hi\n")));
    for id in kept {
        assert!(there().contains(&id), "{id}");
        assert!(!world.calls().contains(&format!("destroy {id}")));
        assert!(!world.calls().contains(&format!("stop {id}")));
    }
    pool.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_of_our_name_is_adopted_only_where_there_is_room() {
    let world = World::new();
    for number in 1..=3 {
        let name = format!("worker-{POOL}-{number}");
        world.fly.add(made(&name, LEASE * 2));
    }
    let pool = world.pool();
    assert_eventually!(world.fly.machines().len() == 2);
    assert_eventually!(pool.standing().ready == 2);
    world.end(pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_pools_in_one_app_leave_each_other_alone() {
    let world = World::new();
    let ours = world.pool();
    let theirs = world.pool_with(|config| {
        config.pool = "my-pool-2".parse().unwrap();
        config.roster = world.roster().with_extension("other");
    });
    for _ in 0..2 {
        assert_eq!(run(&ours, "echo hi").await, Ok(well("hi\n")));
        assert_eq!(run(&theirs, "echo ho").await, Ok(well("ho\n")));
    }
    assert_eq!(world.fly.machines().len(), 2);
    theirs.close().await;
    world.end(ours).await;
}

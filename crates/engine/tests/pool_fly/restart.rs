use std::fs;

use hob_model::port::Sandboxes;
use hob_testkit::{FlyFault, FlyVerb, assert_eventually};
use serde_json::json;

use crate::world::{CLEANING, LEASE, World, run, start, well};

#[tokio::test(flavor = "multi_thread")]
async fn the_next_hob_goes_on_with_the_machines() {
    let world = World::new();
    let pool = world.pool();
    assert_eq!(run(&pool, "echo 1").await, Ok(well("1\n")));
    let id = world.only();
    world.end(pool).await;
    let pool = world.pool();
    assert_eventually!(pool.standing().ready == 1);
    world.fly.forget_calls();
    assert_eq!(run(&pool, "echo 2").await, Ok(well("2\n")));
    assert_eq!(world.calls()[0], format!("start {id}"));
    world.end(pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_a_dead_hob_left_running_is_stopped_and_used() {
    let world = World::new();
    tokio::task::block_in_place(|| world.crash_with_a_run());
    let id = world.only();
    let pool = world.pool();
    assert_eventually!(pool.standing().ready == 1);
    assert!(world.fly.running().is_empty());
    assert_eq!(run(&pool, "echo next").await, Ok(well("next\n")));
    assert_eq!(world.only(), id);
    world.end(pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_roster_machines_are_found_by_name_once_their_lease_is_over() {
    let world = World::new();
    tokio::task::block_in_place(|| world.crash_with_a_run());
    let id = world.only();
    fs::remove_file(world.roster()).unwrap();
    let pool = world.pool_with(|config| config.pace.clean = CLEANING);
    // It may be another hob's, as long as it is leased.
    assert_eventually!(
        world
            .calls()
            .iter()
            .filter(|c| **c == format!("lease {id}"))
            .count()
            > 2
    );
    assert_eq!(world.fly.running(), std::slice::from_ref(&id));
    assert_eq!(pool.standing().ready, 0);
    world.fly.pass(LEASE);
    assert_eventually!(pool.standing().ready == 1);
    assert!(world.fly.running().is_empty());
    assert_eq!(run(&pool, "echo next").await, Ok(well("next\n")));
    assert_eq!(world.only(), id);
    world.end(pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_found_machine_that_was_changed_is_destroyed_and_not_used() {
    for (key, value) in [
        ("image", json!("registry/evil:1")),
        ("init", json!({ "exec": ["/evil"] })),
        (
            "files",
            json!([{ "guest_path": "/bin/bash", "raw_value": "eA==" }]),
        ),
        ("env", json!({ "LD_PRELOAD": "/evil.so" })),
    ] {
        let world = World::new();
        let pool = world.pool();
        assert_eq!(run(&pool, "echo 1").await, Ok(well("1\n")));
        world.end(pool).await;
        fs::remove_file(world.roster()).unwrap();
        world
            .fly
            .change(&world.only(), |machine| machine.config[key] = value);
        world.fly.pass(LEASE);
        let pool = world.pool();
        assert_eventually!(world.fly.machines().is_empty(), "{key}");
        assert_eq!(pool.standing().ready, 0);
        world.end(pool).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_machines_than_the_pool_may_have_are_destroyed() {
    let world = World::new();
    let pool = world.pool();
    let both = (start(&pool, "hang").await, start(&pool, "hang").await);
    pool.close().await;
    drop((both, pool));
    assert_eq!(world.fly.machines().len(), 2);
    let pool = world.pool_with(|config| config.size = 1);
    assert_eventually!(world.fly.machines().len() == 1);
    assert_eventually!(pool.standing().ready == 1);
    world.end(pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_of_another_make_are_destroyed() {
    let world = World::new();
    let pool = world.pool();
    assert_eq!(run(&pool, "echo 1").await, Ok(well("1\n")));
    world.end(pool).await;
    let pool = world.pool_with(|config| config.image = "registry.fly.io/workers:2".into());
    assert_eventually!(world.fly.machines().is_empty());
    assert_eq!(run(&pool, "echo 2").await, Ok(well("2\n")));
    world.end(pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_whose_lease_ran_out_while_nobody_was_there_is_destroyed() {
    let world = World::new();
    tokio::task::block_in_place(|| world.crash_with_a_run());
    world.fly.pass(LEASE);
    let pool = world.pool();
    assert_eventually!(world.fly.machines().is_empty());
    world.end(pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_is_not_given_up_while_the_api_is_down() {
    let world = World::new();
    tokio::task::block_in_place(|| world.crash_with_a_run());
    let id = world.only();
    for verb in [FlyVerb::Lease, FlyVerb::List] {
        world.fly.fail_always(verb, FlyFault::Status(500));
    }
    let pool = world.pool_with(|config| config.pace.clean = CLEANING);
    let leases = || {
        world
            .calls()
            .iter()
            .filter(|c| **c == format!("lease {id}"))
            .count()
    };
    assert_eventually!(leases() > 8);
    world.fly.mend();
    assert_eventually!(pool.standing().ready == 1);
    assert_eq!(world.only(), id);
    world.end(pool).await;
}

use std::time::Duration;

use hob_engine::pool::{FlyError, FlyPool};
use hob_model::port::Sandboxes;
use hob_testkit::{FlyFault, FlyVerb, assert_eventually};

use crate::world::{CLEANING, LEASE, World, run, well};

/// So much before a lease ends that no run fits in.
const SOON: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_ends_too_soon_is_made_longer() {
    let world = World::new();
    let pool = world.pool();
    assert_eq!(run(&pool, "echo 1").await, Ok(well("1\n")));
    let id = world.only();
    world.fly.pass(LEASE - SOON);
    world.fly.forget_calls();
    assert_eq!(run(&pool, "echo 2").await, Ok(well("2\n")));
    assert_eq!(
        world.calls()[..2],
        [format!("lease {id}"), format!("start {id}")]
    );
    world.fly.pass(LEASE - SOON);
    assert_eq!(run(&pool, "echo 3").await, Ok(well("3\n")));
    assert_eq!(world.only(), id);
    world.end(pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_whose_lease_is_over_is_not_used_again() {
    let world = World::new();
    let pool = world.pool();
    assert_eq!(run(&pool, "echo 1").await, Ok(well("1\n")));
    let id = world.only();
    world.fly.pass(LEASE);
    assert_eq!(run(&pool, "echo 2").await, Ok(well("2\n")));
    assert_eventually!(world.fly.machines().len() == 1);
    assert_ne!(world.only(), id);
    world.end(pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_machine_is_destroyed_when_its_lease_is_over() {
    let world = World::new();
    let pool = world.pool_with(|config| config.pace.clean = CLEANING);
    assert_eq!(run(&pool, "echo 1").await, Ok(well("1\n")));
    world.fly.pass(LEASE - SOON);
    world.fly.forget_calls();
    assert_eventually!(
        world
            .fly
            .calls()
            .iter()
            .filter(|call| *call == "list")
            .count()
            > 2
    );
    assert_eq!(world.fly.machines().len(), 1);
    world.fly.pass(SOON);
    assert_eventually!(world.fly.machines().is_empty());
    assert_eventually!(pool.standing().ready == 0);
    assert_eq!(run(&pool, "echo 2").await, Ok(well("2\n")));
    world.end(pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_somebody_else_leased_is_let_go_and_then_destroyed() {
    let world = World::new();
    let pool = world.pool();
    assert_eq!(run(&pool, "echo 1").await, Ok(well("1\n")));
    let lost = world.only();
    world.fly.fail(FlyVerb::Start, FlyFault::LeaseLost);
    assert_eq!(run(&pool, "echo 2").await, Ok(well("2\n")));
    assert_eq!(world.fly.machines().len(), 2);
    // The other one's lease is respected for as long as it lasts.
    assert_eventually!(world.calls().contains(&format!("destroy {lost}")));
    assert!(
        world
            .fly
            .machines()
            .iter()
            .any(|machine| machine.id == lost)
    );
    world.fly.pass(LEASE * 3);
    assert_eventually!(
        world
            .fly
            .machines()
            .iter()
            .all(|machine| machine.id != lost)
    );
    world.end(pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_shorter_than_a_run_is_refused() {
    let world = World::new();
    let mut config = world.config();
    config.lease = Duration::from_secs(10);
    let refused = FlyPool::open(config).err();
    assert!(
        matches!(refused, Some(FlyError::Lease { .. })),
        "{refused:?}"
    );
}

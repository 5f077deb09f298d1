use hob_model::port::{RunError, Sandboxes};
use hob_testkit::assert_eventually;

use crate::world::{CLEANING, IMAGE, LEASE, World, run, well};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_writes_into_its_metadata_changes_nothing() {
    for script in [
        "claim my-pool-2//registry.fly.io/workers:1\necho hi",
        "claim never-expires\necho hi",
        "unclaim\necho hi",
    ] {
        let world = World::new();
        let ours = world.pool_with(|config| config.pace.clean = CLEANING);
        let theirs = world.pool_with(|config| {
            config.pool = "my-pool-2".parse().unwrap();
            config.roster = world.roster().with_extension("other");
            config.pace.clean = CLEANING;
        });
        assert_eq!(run(&ours, script).await, Ok(well("hi\n")));
        let id = world.only();
        let lists = || {
            world
                .fly
                .calls()
                .iter()
                .filter(|call| *call == "list")
                .count()
        };
        let seen = lists();
        assert_eventually!(lists() > seen + 4);
        assert_eq!((ours.standing().ready, theirs.standing().ready), (1, 0));
        assert_eq!(run(&ours, "echo again").await, Ok(well("again\n")));
        assert_eq!(world.only(), id);
        // It expires as any other.
        world.fly.pass(LEASE);
        assert_eventually!(world.fly.machines().is_empty());
        assert_eq!(theirs.standing().ready, 0);
        theirs.close().await;
        world.end(ours).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_alone_is_not_adopted() {
    let world = World::new();
    let mut machine = hob_testkit::FakeMachine::stopped("worker-theirs-1", "fra", IMAGE);
    machine.config["metadata"]["pool_id"] = format!("my-pool//{IMAGE}").into();
    let id = world.fly.add(machine);
    let pool = world.pool_with(|config| config.pace.clean = CLEANING);
    let lists = || {
        world
            .fly
            .calls()
            .iter()
            .filter(|call| *call == "list")
            .count()
    };
    assert_eventually!(lists() > 2);
    assert_eq!(pool.standing().ready, 0);
    assert!(world.calls().iter().all(|call| !call.ends_with(&id)));
    pool.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_answers_as_another_is_not_believed() {
    let world = World::new();
    let pool = world.pool();
    let refused = run(&pool, "pose another\necho hi").await;
    assert!(
        matches!(refused, Err(RunError::Unavailable(_))),
        "{refused:?}"
    );
    assert_eventually!(world.fly.machines().is_empty());
    world.end(pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_free_machine_that_somebody_started_is_not_used_again() {
    let world = World::new();
    let pool = world.pool_with(|config| config.pace.clean = CLEANING);
    assert_eq!(run(&pool, "echo hi").await, Ok(well("hi\n")));
    world
        .fly
        .change(&world.only(), |machine| machine.state = "started".into());
    assert_eventually!(world.fly.machines().is_empty());
    assert_eq!(run(&pool, "echo hi").await, Ok(well("hi\n")));
    world
        .fly
        .change(&world.only(), |machine| machine.instance = "01EVIL".into());
    assert_eventually!(world.fly.machines().is_empty());
    world.end(pool).await;
}

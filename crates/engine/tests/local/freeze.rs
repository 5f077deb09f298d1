use std::sync::atomic::{AtomicU32, Ordering};

use hob_model::{
    port::{Effort, Engine},
    wire::{FunctionState, InstanceState},
};

use crate::world::{World, entries, eventually, fleet, is_running, name};

/// A world with a frozen function of so many replicas, and their processes. `None` where nothing
/// can be frozen.
async fn frozen(replicas: u32) -> Option<(World, Vec<u32>)> {
    let world = World::new();
    if !world.sandbox.capabilities().cgroup.freezer {
        eprintln!("NOT TESTED: this machine has no freezer that hob may use");
        world.end().await;
        return None;
    }
    let mut function = world.server("hello", "one");
    function.replicas = replicas;
    world.apply(&function).await;
    let pids = pids(&world).await;
    freeze(&world).await;
    Some((world, pids))
}

async fn freeze(world: &World) {
    assert!(world.engine.freeze(&fleet("hello")).await.unwrap());
    assert_eq!(world.observe("hello").await.state, FunctionState::Frozen);
    assert!(world.lease("hello").is_none());
}

async fn pids(world: &World) -> Vec<u32> {
    let instances = world.observe("hello").await.instances;
    instances.iter().map(|one| one.pid).collect()
}

async fn is_gone(world: &World, pids: &[u32]) {
    let gone = || async { !pids.iter().any(|pid| is_running(*pid)) };
    eventually("the frozen ones have ended", gone).await;
    let clean = || async {
        let living = world.engine.observe().await.unwrap();
        let living: usize = living.iter().map(|one| one.instances.len()).sum();
        entries(&world.run().join("r")).len() == living
    };
    eventually("nothing is left of them", clean).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frozen_replicas_go_on_when_they_are_wanted() {
    let Some((world, pids_before)) = frozen(2).await else {
        return;
    };
    let states = world.observe("hello").await.instances;
    assert!(states.iter().all(|one| one.state == InstanceState::Frozen));
    assert!(
        !world.engine.freeze(&fleet("hello")).await.unwrap(),
        "it is"
    );
    assert_eq!(world.scale("hello", 2).await.unwrap(), Effort::Thawed);
    assert_eq!(world.text("hello", "/").await, "one");
    assert_eq!(pids(&world).await, pids_before);
    assert_eq!(world.scale("hello", 2).await.unwrap(), Effort::None);

    freeze(&world).await;
    assert_eq!(world.scale("hello", 3).await.unwrap(), Effort::Started);
    assert_eq!(world.ready("hello").len(), 3);
    // Those that are not wanted end.
    freeze(&world).await;
    assert_eq!(world.scale("hello", 1).await.unwrap(), Effort::Thawed);
    let one = || async { pids(&world).await.len() == 1 };
    eventually("two have ended", one).await;
    assert_eq!(world.text("hello", "/").await, "one");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_keeps_its_function_awake() {
    let Some((world, _)) = frozen(2).await else {
        return;
    };
    world.scale("hello", 2).await.unwrap();
    let call = world.lease("hello").unwrap();
    assert!(!world.engine.freeze(&fleet("hello")).await.unwrap());
    assert_eq!(world.ready("hello").len(), 2);
    assert_eq!(world.text("hello", "/").await, "one");
    drop(call);
    freeze(&world).await;
    world.end().await;
}

/// A call either finds a replica that stays awake, or none and wakes one.
#[tokio::test(flavor = "multi_thread")]
async fn calls_that_race_with_freezing_are_all_answered() {
    let Some((world, pids_before)) = frozen(1).await else {
        return;
    };
    let (left, frozen) = (AtomicU32::new(4), AtomicU32::new(0));
    let calls = async {
        let caller = || async {
            for _ in 0..50 {
                while world.lease("hello").is_none() {
                    world.scale("hello", 1).await.unwrap();
                }
                match world.call("hello", "/").await {
                    Ok(body) => assert_eq!(body, b"one"),
                    // Frozen again between the two lines: nothing was sent.
                    Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotConnected),
                }
            }
            left.fetch_sub(1, Ordering::SeqCst);
        };
        futures_util::join!(caller(), caller(), caller(), caller());
    };
    let freezes = async {
        while left.load(Ordering::SeqCst) > 0 {
            let done = world.engine.freeze(&fleet("hello")).await.unwrap();
            frozen.fetch_add(done.into(), Ordering::SeqCst);
            tokio::task::yield_now().await;
        }
    };
    let race = async { futures_util::join!(calls, freezes) };
    let over = tokio::time::timeout(crate::world::SOON * 6, race).await;
    over.expect("no call is stuck");
    assert!(frozen.load(Ordering::SeqCst) > 0);
    world.scale("hello", 1).await.unwrap();
    assert_eq!(world.text("hello", "/").await, "one");
    assert_eq!(pids(&world).await, pids_before);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_replica_makes_way_like_any_other() {
    let Some((world, first)) = frozen(2).await else {
        return;
    };
    world.apply(&world.server("hello", "two")).await;
    assert_eq!(world.text("hello", "/").await, "two");
    is_gone(&world, &first).await;

    let second = pids(&world).await;
    freeze(&world).await;
    assert_eq!(world.scale("hello", 0).await.unwrap(), Effort::None);
    is_gone(&world, &second).await;
    assert_eq!(world.observe("hello").await.state, FunctionState::Stopped);

    assert_eq!(world.scale("hello", 1).await.unwrap(), Effort::Started);
    let third = pids(&world).await;
    freeze(&world).await;
    world.engine.remove(&name("hello")).await.unwrap();
    is_gone(&world, &third).await;

    world.apply(&world.server("hello", "three")).await;
    let fourth = pids(&world).await;
    freeze(&world).await;
    world.engine.shutdown().await;
    assert!(!fourth.iter().any(|pid| is_running(*pid)));
    for folder in ["r", "replicas", "secrets"] {
        let left = entries(&world.run().join(folder));
        assert!(left.is_empty(), "{folder}: {left:?}");
    }
}

/// With cgroup version 1 the signal waits until the replica goes on, with version 2 it does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_replica_that_is_killed_is_missed_by_a_call_only() {
    let Some((world, pids_before)) = frozen(1).await else {
        return;
    };
    let pid = rustix::process::Pid::from_raw(pids_before[0].try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let asleep = [FunctionState::Frozen, FunctionState::Stopped];
    assert!(asleep.contains(&world.observe("hello").await.state));
    let answered = || async {
        world.scale("hello", 1).await.unwrap();
        world.call("hello", "/").await.is_ok()
    };
    eventually("another takes its place", answered).await;
    assert_ne!(pids(&world).await, pids_before);
    assert!(world.observe("hello").await.last_end.is_some());
    world.end().await;
}

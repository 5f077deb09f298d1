//! Calls of a function that has a canary.

use std::sync::{Arc, atomic::Ordering};

use hob_model::{
    CanaryRoute, Cors, Counters, EndReason, ReplicaSet, Route, Target, Track, port::WakeError,
};

use crate::harness::{Replica, World, echo};

const CALL: &str = "POST /function/hello HTTP/1.1\nHost: h\nContent-Length: 2\n\nhi";

/// Gives `share` of the calls of `hello` to replicas of a canary.
fn canary(world: &World, share: &str, adjust: impl FnOnce(&mut Route)) -> Arc<ReplicaSet> {
    let stable = world.routes.find("hello").unwrap();
    let replicas = Arc::new(ReplicaSet::default());
    let mut route = Route {
        track: Track::Canary,
        revision: "2".into(),
        target: Target::Replicas(Arc::clone(&replicas)),
        counters: Arc::new(Counters::within(&stable.counters)),
        ..Route::clone(&stable)
    };
    adjust(&mut route);
    let canary = CanaryRoute {
        share: share.parse().unwrap(),
        route: Arc::new(route),
    };
    world.routes.set_canary(&stable.function, Some(canary));
    replicas
}

fn words(world: &World, words: &'static str) -> Replica {
    world.replica(move |mut conn| while conn.request().is_some() && conn.answer(words) {})
}

/// So many of 400 calls are answered by the canary.
fn taken(world: &World, request: &str) -> usize {
    let mut client = world.connect();
    let answers = (0..400).map(|_| client.call(request).text());
    answers.filter(|answer| answer == "canary").count()
}

/// 100 are expected; with 40 to 180, one run in many billions fails.
#[test]
fn it_gets_its_share_on_every_path_and_both_count_them() {
    let world = World::start();
    let stable = words(&world, "stable");
    let set = world.function("hello", |_| {});
    set.replace(vec![Arc::clone(&stable.backend)]);
    let new = words(&world, "canary");
    canary(&world, "25%", |_| {}).replace(vec![Arc::clone(&new.backend)]);
    let plain = taken(&world, CALL);
    // Not for the express lane.
    let other = taken(
        &world,
        &CALL.replace("\n\n", "\nConnection: keep-alive, te\n\n"),
    );
    assert!((40..=180).contains(&plain), "{plain}");
    assert!((40..=180).contains(&other), "{other}");
    assert_eq!(world.totals(), (800, 0));
    let route = world.routes.find("hello").unwrap();
    let of_canary = route.canary.as_ref().unwrap().route.counters.totals();
    assert_eq!(of_canary, ((plain + other) as u64, 0));
}

/// It would be drawn for twice else.
#[test]
fn one_that_is_not_for_the_lane_gets_no_other_share() {
    let world = World::start();
    let stable = words(&world, "stable");
    let set = world.function("hello", |_| {});
    set.replace(vec![Arc::clone(&stable.backend)]);
    let new = words(&world, "canary");
    let replicas = canary(&world, "25%", |route| route.cors = Some(Cors::Any));
    replicas.replace(vec![Arc::clone(&new.backend)]);
    let taken = (0..400).filter(|_| world.call(CALL).text() == "canary");
    let taken = taken.count();
    assert!((40..=180).contains(&taken), "{taken}");
}

#[test]
fn a_call_that_waits_for_a_canary_that_ends_is_answered_by_the_other() {
    let world = World::start();
    let stable = world.replica(echo);
    let set = world.function("hello", |_| {});
    canary(&world, "99.99%", |_| {});
    let (routes, backend) = (Arc::clone(&world.routes), Arc::clone(&stable.backend));
    world.wake.then(move || {
        // The first wake is that of the canary.
        routes.set_canary(&"hello".parse().unwrap(), None);
        set.replace(vec![Arc::clone(&backend)]);
        let message = "it has ended".into();
        let reason = EndReason::Cancelled;
        Err(WakeError { reason, message })
    });
    assert_eq!(world.call(CALL).text(), "POST / HTTP/1.1|hi");
    assert!(world.wake.woken.load(Ordering::SeqCst) > 0);
    assert_eq!(world.totals(), (1, 0));
}

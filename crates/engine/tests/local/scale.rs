use std::time::Duration;

use hob_model::{EndReason, port::EngineError, wire::FunctionState};

use crate::world::{World, entries, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn replicas_follow_the_number_that_is_asked_for() {
    let world = World::new();
    let mut function = world.server("hello", "one");
    function.replicas = 0;
    world.apply(&function).await;
    assert_eq!(world.observe("hello").await.state, FunctionState::Stopped);
    assert!(world.lease("hello").is_none());

    for replicas in [1, 3, 2, 3] {
        world.scale("hello", replicas).await.unwrap();
        assert_eq!(world.ready("hello").len(), replicas as usize);
        assert_eq!(world.text("hello", "/").await, "one");
    }
    world.scale("hello", 0).await.unwrap();
    assert!(world.lease("hello").is_none());
    let gone = || async { world.observe("hello").await.instances.is_empty() };
    eventually("all replicas are gone", gone).await;
    assert_eq!(world.observe("hello").await.state, FunctionState::Stopped);
    let clean = || async { entries(&world.run().join("r")).is_empty() };
    eventually("their folders are gone", clean).await;

    function.replicas = 2;
    world.apply(&function).await;
    assert_eq!(world.ready("hello").len(), 2);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_busy_replica_outlives_the_idle_ones() {
    let world = World::new();
    let mut function = world.server("hello", "one");
    function.replicas = 3;
    world.apply(&function).await;
    let call = world.lease("hello").unwrap();
    world.scale("hello", 1).await.unwrap();
    assert_eq!(world.ready("hello")[0].id, call.id);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sleeping_function_takes_a_new_revision_without_waking() {
    let world = World::new();
    let mut function = world.server("hello", "one");
    function.replicas = 0;
    world.apply(&function).await;
    let mut second = world.server("hello", "two");
    second.replicas = 0;
    world.apply(&second).await;
    assert!(world.observe("hello").await.instances.is_empty());
    world.scale("hello", 1).await.unwrap();
    assert_eq!(world.text("hello", "/").await, "two");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_who_wait_share_one_start_and_its_failure() {
    let world = World::new();
    let mut good = world.server("good", "one");
    good.replicas = 0;
    world.apply(&good).await;
    let wakes = (0..20).map(|_| world.scale("good", 1));
    for outcome in futures_util::future::join_all(wakes).await {
        outcome.unwrap();
    }
    assert_eq!(
        entries(&world.data().join("logs/openfaas-fn/good")).len(),
        1
    );

    let mut bad = world.function("bad", "one", "raise SystemExit('no luck')");
    bad.replicas = 0;
    world.apply(&bad).await;
    let wakes = (0..20).map(|_| world.scale("bad", 1));
    for outcome in futures_util::future::join_all(wakes).await {
        match outcome.unwrap_err() {
            EngineError::Start {
                reason, log_tail, ..
            } => {
                assert_eq!(reason, EndReason::Exit);
                assert_eq!(log_tail, ["no luck"]);
            }
            other => panic!("{other}"),
        }
    }
    // A log, and the times of its lines.
    assert_eq!(entries(&world.data().join("logs/openfaas-fn/bad")).len(), 2);
    let observed = world.observe("bad").await;
    assert_eq!(observed.last_end.unwrap().reason, EndReason::Exit);
    // Nobody waits any more, so nobody starts it again.
    let calm = || async { world.observe("bad").await.state == FunctionState::Stopped };
    eventually("its back-off passes", calm).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_goes_away_takes_no_start_along() {
    let world = World::new();
    let mut function = world.server("hello", "one");
    function.replicas = 0;
    world.apply(&function).await;
    let wake = world.scale("hello", 1);
    assert!(futures_util::FutureExt::now_or_never(wake).is_none());
    let ready = || async { world.ready("hello").len() == 1 };
    eventually("the start goes on", ready).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_is_called_off_when_nobody_wants_it_any_more() {
    let world = World::new();
    let silent = "import signal\nsignal.pause()\n";
    let mut function = world.function("hello", "one", silent);
    function.replicas = 0;
    world.apply(&function).await;
    let wake = world.scale("hello", 1);
    assert!(futures_util::FutureExt::now_or_never(wake).is_none());
    let started = || async { world.observe("hello").await.instances.len() == 1 };
    eventually("a replica is on its way", started).await;
    assert_eq!(world.observe("hello").await.state, FunctionState::Starting);
    world.scale("hello", 0).await.unwrap();
    let observed = world.observe("hello").await;
    assert_eq!(observed.state, FunctionState::Stopped);
    assert!(observed.instances.is_empty());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_beyond_reason_is_refused() {
    let world = World::new();
    world.apply(&world.server("hello", "one")).await;
    let refusal = world.scale("hello", 1_000_000).await.unwrap_err();
    assert!(refusal.to_string().contains("1000000"), "{refusal}");
    assert_eq!(world.ready("hello").len(), 1);
    let nobody = world.scale("nobody", 1).await.unwrap_err();
    assert!(matches!(nobody, EngineError::NotFound(_)));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_a_start_that_is_far_off_gets_the_last_end_instead() {
    let world = World::new();
    world.apply(&world.server("hello", "one")).await;
    let crash = || async {
        let _ = world.call("hello", "/crash/9").await;
        world.scale("hello", 1).await.err()
    };
    let refused = async {
        loop {
            if let Some(refusal) = crash().await {
                return refusal;
            }
        }
    };
    let refusal = tokio::time::timeout(Duration::from_secs(30), refused).await;
    let refusal = refusal.expect("the pauses grow");
    assert_eq!(refusal.reason(), EndReason::Exit);
    let text = refusal.to_string();
    assert!(
        text.contains("keeps ending") && text.contains("exit status 9"),
        "{text}"
    );
    // It is started again all the same, and may be stopped meanwhile.
    let back = || async { world.ready("hello").len() == 1 };
    eventually("it is back", back).await;
    world.scale("hello", 0).await.unwrap();
    world.end().await;
}

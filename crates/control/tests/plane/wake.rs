use std::{sync::Arc, sync::atomic::Ordering, thread, time::Instant};

use futures_util::future::join_all;
use hob_model::{
    EndReason, FleetName, FunctionName, ReplicaId,
    port::{Wake, WakeError},
};

use crate::{Plane, eventually};

/// A function that sleeps, and nothing noted yet.
async fn asleep(plane: &Plane) -> FunctionName {
    let name = plane.deployed("hello", "v1").await;
    plane
        .call("POST /hob/v1/functions/hello/scale", r#"{"replicas":0}"#)
        .await;
    plane.engine.calls();
    name
}

#[tokio::test]
async fn all_calls_that_wait_share_one_start() {
    let plane = Plane::new();
    let name = asleep(&plane).await;
    let hold = plane.engine.starts.acquire().await.expect("open");
    let calls: Vec<_> = (0..500)
        .map(|_| {
            let (control, name) = (Arc::clone(&plane.control), name.clone());
            tokio::spawn(async move { control.wake(&FleetName::stable(&name)).await })
        })
        .collect();
    eventually("the start begins", || {
        plane.engine.count("scale hello 1") > 0
    })
    .await;
    drop(hold);
    for result in join_all(calls).await {
        result.expect("no panic").expect("woken");
    }
    assert_eq!(plane.engine.calls(), ["scale hello 1"]);
}

#[tokio::test]
async fn a_wake_starts_as_many_replicas_as_are_wished() {
    let plane = Plane::new();
    let name = plane.deployed("hello", "v1").await;
    plane
        .call("POST /hob/v1/functions/hello/scale", r#"{"replicas":3}"#)
        .await;
    plane.engine.calls();
    plane
        .control
        .wake(&FleetName::stable(&name))
        .await
        .expect("woken");
    assert_eq!(plane.engine.calls(), ["scale hello 3"]);
}

#[tokio::test]
async fn callers_that_give_up_do_not_stop_the_start() {
    let plane = Plane::new();
    let name = asleep(&plane).await;
    let hold = plane.engine.starts.acquire().await.expect("open");
    let (control, waking) = (Arc::clone(&plane.control), name.clone());
    let caller = tokio::spawn(async move { control.wake(&FleetName::stable(&waking)).await });
    eventually("the start begins", || {
        plane.engine.count("scale hello 1") > 0
    })
    .await;
    caller.abort();
    assert!(caller.await.expect_err("aborted").is_cancelled());
    drop(hold);
    eventually("the replica is up", || {
        plane.engine.replicas(&name) == Some(1)
    })
    .await;
}

#[tokio::test]
async fn a_failure_is_shared_and_answers_for_a_while() {
    let plane = Plane::new();
    let name = asleep(&plane).await;
    plane.engine.broken.store(true, Ordering::SeqCst);
    let began = Instant::now();
    let fleet = FleetName::stable(&name);
    let wakes = join_all((0..100).map(|_| plane.control.wake(&fleet)));
    for result in wakes.await {
        let WakeError { reason, message } = result.expect_err("broken");
        assert_eq!(reason, EndReason::Exit);
        assert_eq!(&*message, "function `hello` ended at once: exit status 3");
    }
    plane
        .control
        .wake(&FleetName::stable(&name))
        .await
        .expect_err("remembered");
    // One start, and on a machine under load at most one more per pause of a second.
    let starts = plane.engine.count("scale hello 1") as u64;
    assert!(
        (1..=1 + began.elapsed().as_secs()).contains(&starts),
        "{starts}"
    );

    // After the pause it is tried again, and a success is the end of it.
    plane.engine.broken.store(false, Ordering::SeqCst);
    plane.engine.calls();
    while plane.control.wake(&FleetName::stable(&name)).await.is_err() {
        assert!(began.elapsed() < crate::PATIENCE);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(plane.engine.calls(), ["scale hello 1"]);
}

#[tokio::test]
async fn a_deploy_ends_the_pause_of_a_broken_function() {
    let plane = Plane::new();
    let name = asleep(&plane).await;
    plane.engine.broken.store(true, Ordering::SeqCst);
    plane
        .control
        .wake(&FleetName::stable(&name))
        .await
        .expect_err("broken");
    plane.engine.broken.store(false, Ordering::SeqCst);
    plane
        .control
        .wake(&FleetName::stable(&name))
        .await
        .expect_err("remembered");
    plane.deployed("hello", "v2").await;
    plane
        .control
        .wake(&FleetName::stable(&name))
        .await
        .expect("at once");
}

#[tokio::test]
async fn a_wake_works_from_any_runtime() {
    let plane = Plane::new();
    let name = asleep(&plane).await;
    let (control, waking) = (Arc::clone(&plane.control), name.clone());
    let gateway = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("runtime");
        runtime.block_on(control.wake(&FleetName::stable(&waking)))
    });
    eventually("the other thread is done", || gateway.is_finished()).await;
    gateway.join().expect("no panic").expect("woken");
    assert_eq!(plane.engine.replicas(&name), Some(1));
}

#[tokio::test]
async fn what_is_not_deployed_cannot_be_woken() {
    let plane = Plane::new();
    let error = plane
        .control
        .wake(&FleetName::stable(&"nobody".parse().expect("valid")))
        .await;
    let error = error.expect_err("unknown");
    assert_eq!(error.to_string(), "function `nobody` does not exist");
    assert!(plane.engine.calls().is_empty());
}

#[tokio::test]
async fn a_reported_replica_is_condemned() {
    let plane = Plane::new();
    let name = plane.deployed("hello", "v1").await;
    for why in [EndReason::Timeout, EndReason::Output] {
        let replica = ReplicaId("hello-0".into());
        plane.control.condemn(&name, &replica, why);
        let line = format!("condemn hello hello-0 {why}");
        eventually("condemned", || plane.engine.count(&line) == 1).await;
    }
}

use std::sync::Arc;

use hob_model::{FleetName, Target, port::Wake, wire::FunctionDetail};
use tokio::{sync::oneshot, task::JoinHandle};

use crate::{Plane, calls::NoDoor, eventually};

#[tokio::test]
async fn only_functions_that_nobody_calls_are_stopped() {
    let plane = Plane::new();
    let (idle, busy) = (
        plane.deployed("idle", "impatient").await,
        plane.deployed("busy", "impatient").await,
    );
    let patient = plane.deployed("patient", "v1").await;
    let route = plane.engine.route(&busy);
    let Target::Replicas(replicas) = &route.target else {
        panic!("has replicas");
    };
    let call = replicas.lease().expect("ready");

    let work = watch(&plane);
    eventually("the idle one stops", || {
        plane.engine.replicas(&idle) == Some(0)
    })
    .await;
    assert_eq!(plane.engine.replicas(&busy), Some(1));
    drop(call);
    eventually("the busy one stops when its call is over", || {
        plane.engine.replicas(&busy) == Some(0)
    })
    .await;
    assert_eq!(plane.engine.replicas(&patient), Some(1));
    assert_eq!(
        plane
            .store
            .function(&idle)
            .expect("reads")
            .expect("kept")
            .replicas,
        1
    );

    work.end().await;
}

/// The background work of a server.
struct Work(oneshot::Sender<()>, JoinHandle<()>);

fn watch(plane: &Plane) -> Work {
    let (stop, stopped) = oneshot::channel::<()>();
    let run = Arc::clone(&plane.control).run(Arc::new(NoDoor), async { drop(stopped.await) });
    Work(stop, tokio::spawn(run))
}

impl Work {
    async fn end(self) {
        drop(self.0);
        let ended = tokio::time::timeout(crate::PATIENCE, self.1).await;
        ended.expect("ends").expect("no panic");
    }
}

#[tokio::test]
async fn a_quiet_function_is_frozen_before_it_is_stopped() {
    let plane = Plane::new();
    let brisk = plane.deployed("brisk", "brisk").await;
    let steady = plane.deployed("steady", "brisk impatient steady").await;
    let both = plane.deployed("both", "brisk impatient").await;
    let work = watch(&plane);
    eventually("it is frozen", || plane.engine.is_frozen(&brisk)).await;
    eventually("idle time comes first where it is not longer", || {
        plane.engine.replicas(&both) == Some(0)
    })
    .await;
    assert_eq!(plane.engine.count("freeze both"), 0);
    assert!(!plane.engine.is_frozen(&steady) && plane.engine.replicas(&steady) == Some(1));
    let (_, text) = plane.call("GET /hob/v1/functions/brisk", "").await;
    let detail: FunctionDetail = serde_json::from_str(&text).expect("reads");
    assert_eq!(
        (detail.summary.ready, detail.summary.frozen),
        (0, 1),
        "{text}"
    );
    let (_, text) = plane.call("GET /system/function/brisk", "").await;
    assert!(text.contains(r#""availableReplicas":1"#), "{text}");
    // Once is enough, however long it lasts.
    assert_eq!(plane.engine.count("freeze brisk"), 1);

    plane
        .control
        .wake(&FleetName::stable(&brisk))
        .await
        .expect("woken");
    let (_, text) = plane.call("GET /hob/v1/functions/brisk", "").await;
    let detail: FunctionDetail = serde_json::from_str(&text).expect("reads");
    let wakes = detail.summary.wakes;
    assert_eq!(wakes.frozen.map(|price| price.count), Some(1));
    assert_eq!(wakes.stopped, None);
    work.end().await;
}

#[tokio::test]
async fn a_function_is_awake_ahead_of_its_schedule() {
    let plane = Plane::new();
    // A run is never farther away than its hour.
    let script = r#"brisk impatient early clock [{"cron": "@every 1h"}]"#;
    let early = plane.deployed("early", script).await;
    plane
        .call("POST /hob/v1/functions/early/scale", r#"{"replicas":0}"#)
        .await;
    let late = plane.deployed("late", "impatient").await;
    let work = watch(&plane);
    eventually("it is awake", || plane.engine.replicas(&early) == Some(1)).await;
    eventually("others are not", || plane.engine.replicas(&late) == Some(0)).await;
    assert_eq!(plane.engine.replicas(&early), Some(1));
    assert_eq!(plane.engine.count("freeze early"), 0);
    work.end().await;
}

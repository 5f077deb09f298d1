use std::sync::Arc;

use hob_model::Target;
use tokio::sync::oneshot;

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

    let (stop, stopped) = oneshot::channel::<()>();
    let run = Arc::clone(&plane.control).run(Arc::new(NoDoor), async { drop(stopped.await) });
    let run = tokio::spawn(run);
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

    drop(stop);
    tokio::time::timeout(crate::PATIENCE, run)
        .await
        .expect("ends")
        .expect("no panic");
}

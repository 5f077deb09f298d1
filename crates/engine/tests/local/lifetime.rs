use std::{fs, sync::Arc};

use hob_engine::{LocalConfig, LocalEngine};
use hob_model::{
    EndReason,
    port::Engine,
    wire::{Instance, InstanceState},
};

use crate::world::{World, entries, eventually, is_running, name};

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_leaves_no_process_no_folder_and_no_group() {
    let world = World::new();
    world.secrets.set("token", b"x");
    let mut pids = Vec::new();
    for function in ["one", "two", "three"] {
        let mut function = world.server(function, "one");
        function.revision.settings.secrets = vec!["token".parse().unwrap()];
        function.replicas = 2;
        world.apply(&function).await;
    }
    for observed in world.engine.observe().await.unwrap() {
        pids.extend(observed.instances.iter().map(|one| one.pid));
    }
    assert_eq!(pids.len(), 6);
    let _held = world.lease("one").unwrap();

    world.engine.shutdown().await;
    assert!(!pids.iter().any(|&pid| is_running(pid)));
    assert!(
        entries(&world.run()).is_empty(),
        "{:?}",
        entries(&world.run())
    );
    for folder in &world.sandbox.capabilities().cgroup.folders {
        let left = entries(folder);
        let cage = |name: &String| {
            ["one-", "two-", "three-"]
                .iter()
                .any(|of| name.starts_with(of))
        };
        assert!(!left.iter().any(cage), "{}: {left:?}", folder.display());
    }
    let late = world.scale("one", 1).await.unwrap_err();
    assert!(late.to_string().contains("stopping"), "{late}");
    let late = world.engine.apply(&world.server("four", "one")).await;
    assert!(late.unwrap_err().to_string().contains("stopping"));
}

/// Everything at once, in whatever order the threads find: the last word counts.
#[tokio::test(flavor = "multi_thread")]
async fn many_hands_at_one_function_leave_it_as_the_last_one_wanted() {
    let world = World::new();
    world.secrets.set("token", b"x");
    let revision = |revision: &str| {
        let mut function = world.server("hello", revision);
        function.revision.settings.secrets = vec!["token".parse().unwrap()];
        function
    };
    let (one, two) = (revision("one"), revision("two"));
    world.apply(&one).await;
    let deploys = async {
        for round in 0..10 {
            let next = if round % 2 == 0 { &two } else { &one };
            world.engine.apply(next).await.unwrap();
        }
    };
    let scales = async {
        for round in 0..30 {
            world.scale("hello", round % 4).await.unwrap();
        }
    };
    let crashes = async {
        for _ in 0..6 {
            world.scale("hello", 1).await.unwrap();
            let _ = world.call("hello", "/crash/1").await;
        }
    };
    let condemned = async {
        for _ in 0..20 {
            world.scale("hello", 1).await.unwrap();
            if let Some(lease) = world.lease("hello") {
                let id = lease.id.clone();
                drop(lease);
                let why = EndReason::Timeout;
                world.engine.condemn(&name("hello"), &id, why).await;
            }
        }
    };
    futures_util::join!(deploys, scales, crashes, condemned);

    let mut last = revision("three");
    last.replicas = 2;
    world.apply(&last).await;
    let settled = || async {
        let observed = world.observe("hello").await;
        let ready = |one: &Instance| one.state == InstanceState::Ready;
        observed.instances.len() == 2 && observed.instances.iter().all(ready)
    };
    eventually("two replicas of the last revision", settled).await;
    assert_eq!(world.text("hello", "/").await, "three");
    assert_eq!(world.text("hello", "/secret/token").await, "x");
    for folder in ["r", "replicas"] {
        let two = || async { entries(&world.run().join(folder)).len() == 2 };
        eventually("nothing is left of all the others", two).await;
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_engine_clears_what_an_old_one_left() {
    let world = World::new();
    world.engine.shutdown().await;
    let (data, run) = (world.data(), world.run());
    for leftover in ["r/hello-1", "secrets/openfaas-fn/hello", "replicas"] {
        fs::create_dir_all(run.join(leftover)).unwrap();
    }
    fs::write(run.join("secrets/openfaas-fn/hello/token"), "x").unwrap();
    fs::write(run.join("replicas/hello-1.json"), "{}").unwrap();
    let again = LocalEngine::new(
        LocalConfig::new(data, run.clone()),
        Arc::clone(&world.sandbox),
        Arc::clone(&world.routes),
        world.secrets.clone(),
    );
    for folder in ["r", "secrets", "replicas"] {
        assert!(entries(&run.join(folder)).is_empty(), "{folder}");
    }
    again.unwrap().shutdown().await;
}

use std::{fs, sync::Arc};

use hob_engine::{LocalConfig, LocalEngine};
use hob_model::port::Engine;

use crate::world::{World, entries, is_running};

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

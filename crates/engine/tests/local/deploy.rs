use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use hob_model::{
    EndReason, Run, Target,
    port::{Engine, EngineError},
    wire::{FunctionState, InstanceState},
};

use crate::world::{World, entries, eventually, is_running, name};

#[tokio::test(flavor = "multi_thread")]
async fn a_function_is_ready_when_apply_returns_and_applying_it_again_changes_nothing() {
    let world = World::new();
    let function = world.server("hello", "one");
    world.apply(&function).await;
    assert_eq!(world.text("hello", "/").await, "one");
    assert_eq!(world.text("hello.openfaas-fn", "/").await, "one");

    let observed = world.observe("hello").await;
    assert_eq!(observed.state, FunctionState::Hot);
    let [instance] = &observed.instances[..] else {
        panic!("one replica: {observed:?}");
    };
    assert_eq!(instance.state, InstanceState::Ready);
    assert_eq!(instance.revision, "hello-one");
    assert!(is_running(instance.pid));
    let controllers = &world.sandbox.capabilities().cgroup.controllers;
    if controllers.iter().any(|name| name == "memory") {
        let memory = instance.memory.expect("the memory controller is there");
        assert!((1 << 20..256 << 20).contains(&memory), "{memory}");
    }
    let record = world.run().join(format!("replicas/{}.json", instance.id));
    let record = std::fs::read_to_string(record).unwrap();
    assert!(record.contains(&instance.pid.to_string()), "{record}");

    world.apply(&function).await;
    assert_eq!(world.observe("hello").await.instances[0].id, instance.id);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_says_what_the_program_may_use() {
    let world = World::new();
    let mut function = world.server("hello.staging", "one");
    let settings = &mut function.revision.settings;
    settings.env.insert("GREETING".into(), "moin".into());
    settings.env.insert("HOB_SOCKET".into(), "/wrong".into());
    settings.timeout = "90".parse().unwrap();
    world.apply(&function).await;
    for (variable, value) in [
        ("GREETING", "moin"),
        ("FROM_TEMPLATE", "yes"),
        ("HOB_FUNCTION", "hello"),
        ("HOB_NAMESPACE", "staging"),
        ("HOB_REVISION", "hello.staging-one"),
        ("HOB_MEMORY", "268435456"),
        ("HOB_TIMEOUT", "90"),
    ] {
        let seen = world
            .text("hello.staging", &format!("/env/{variable}"))
            .await;
        assert_eq!(seen, value, "{variable}");
    }
    let port = world.text("hello.staging", "/env/PORT").await;
    assert!(port.parse::<u16>().unwrap() > 0);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_revision_takes_over_without_a_failed_call() {
    let world = Arc::new(World::new());
    world.apply(&world.server("hello", "one")).await;
    let old = world.observe("hello").await.instances[0].clone();

    let stop = Arc::new(AtomicBool::new(false));
    let news = Arc::new(AtomicUsize::new(0));
    let client = {
        let (world, stop, news) = (Arc::clone(&world), Arc::clone(&stop), Arc::clone(&news));
        tokio::spawn(async move {
            let mut calls = 0;
            while !stop.load(Ordering::Relaxed) {
                let answer = world.text("hello", "/").await;
                news.fetch_add(usize::from(answer == "two"), Ordering::Relaxed);
                calls += 1;
            }
            calls
        })
    };
    let second = world.server("hello", "two");
    world.apply(&second).await;
    assert_eq!(world.routes.find("hello").unwrap().revision, "hello-two");
    assert_eq!(world.text("hello", "/").await, "two");
    let seen = || async { news.load(Ordering::Relaxed) > 20 };
    eventually("the client sees the new revision", seen).await;
    stop.store(true, Ordering::Relaxed);
    assert!(client.await.unwrap() > 20);

    let gone = || async { !is_running(old.pid) };
    eventually("the old replica is gone", gone).await;
    let world = Arc::into_inner(world).unwrap();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_no_replica_sees_change_without_a_restart() {
    let world = World::new();
    let mut function = world.server("hello", "one");
    world.apply(&function).await;
    let before = world.observe("hello").await.instances[0].id.clone();
    let held = [world.lease("hello"), world.lease("hello")];
    assert!(held.iter().all(Option::is_some), "there is no limit");

    function.revision.settings.scale.concurrency = Some(1);
    function.revision.settings.timeout = "7s".parse().unwrap();
    world.apply(&function).await;
    assert!(world.lease("hello").is_none(), "it has more than it may");
    drop(held);
    let held = world.lease("hello").expect("room for one");
    assert!(world.lease("hello").is_none());
    let route = world.routes.find("hello").unwrap();
    assert_eq!(route.timeout, function.revision.settings.timeout);

    // Also where none of it is to run now.
    function.revision.settings.scale.concurrency = Some(2);
    function.replicas = 0;
    world.apply(&function).await;
    let more = world.lease("hello").expect("room for two");
    assert!(world.lease("hello").is_none());
    drop((held, more));
    let [instance] = &world.observe("hello").await.instances[..] else {
        panic!("one replica");
    };
    assert_eq!(instance.id, before);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_under_way_is_finished_by_the_old_revision() {
    let world = World::new();
    world.apply(&world.server("hello", "one")).await;
    let old = world.observe("hello").await.instances[0].clone();
    let call = world.lease("hello").unwrap();
    world.apply(&world.server("hello", "two")).await;
    let now = world.observe("hello").await;
    let waiting = now.instances.iter().find(|one| one.id == old.id).unwrap();
    assert_eq!(waiting.state, InstanceState::Draining);
    assert_eq!(waiting.in_flight, 1);
    assert!(is_running(old.pid));
    assert!(call.ended().is_none());
    drop(call);
    let gone = || async { world.observe("hello").await.instances.len() == 1 };
    eventually("the old replica is gone", gone).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_that_does_not_start_leaves_the_old_one_serving() {
    let world = World::new();
    world.apply(&world.server("hello", "one")).await;
    let before = world.observe("hello").await;

    let source = "import sys\nprint('the cause')\nsys.exit(7)\n";
    let mut bad = world.function("hello", "two", source);
    bad.replicas = 2;
    let failure = world.engine.apply(&bad).await.unwrap_err();
    let EngineError::Start {
        reason,
        message,
        log_tail,
    } = failure
    else {
        panic!("{failure}");
    };
    assert_eq!(reason, EndReason::Exit);
    assert!(
        message.contains("`hello`") && message.contains('7'),
        "{message}"
    );
    assert_eq!(log_tail, ["the cause"]);

    let mut missing = world.function("hello", "three", "");
    missing.revision.run = Run::Process {
        argv: vec!["no-such-program".into()],
        env: Default::default(),
    };
    let failure = world.engine.apply(&missing).await.unwrap_err();
    assert!(failure.to_string().contains("no-such-program"), "{failure}");

    assert_eq!(world.text("hello", "/").await, "one");
    assert_eq!(world.observe("hello").await.instances.len(), 1);
    assert_eq!(world.observe("hello").await.state, before.state);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_revision_that_does_not_start_leaves_no_function() {
    let world = World::new();
    let bad = world.function("hello", "one", "raise SystemExit(1)");
    world.engine.apply(&bad).await.unwrap_err();
    assert!(world.routes.find("hello").is_none());
    assert!(world.engine.observe().await.unwrap().is_empty());
    let scaled = world.scale("hello", 1).await;
    assert!(matches!(scaled, Err(EngineError::NotFound(_))));
    assert!(entries(&world.run().join("r")).is_empty());
    world.apply(&world.server("hello", "two")).await;
    assert_eq!(world.text("hello", "/").await, "two");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_never_listens_is_unready() {
    let world = World::with(|config| config.start_timeout = Duration::from_millis(300));
    let silent = "import signal\nprint('waiting')\nsignal.pause()\n";
    let failure = world
        .engine
        .apply(&world.function("hello", "one", silent))
        .await
        .unwrap_err();
    let EngineError::Start {
        reason,
        message,
        log_tail,
    } = failure
    else {
        panic!("{failure}");
    };
    assert_eq!(reason, EndReason::Unready);
    for word in ["`hello`", "300ms", "$HOB_SOCKET", "$PORT"] {
        assert!(message.contains(word), "{message}");
    }
    assert_eq!(log_tail, ["waiting"]);
    assert!(entries(&world.run().join("r")).is_empty());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_may_listen_on_its_port_as_well() {
    let world = World::new();
    let source = "\
import http.server, os
http.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), http.server.SimpleHTTPRequestHandler).serve_forever()
";
    world.apply(&world.function("files", "one", source)).await;
    assert_eq!(world.text("files", "/handler.py").await, source);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn static_files_need_no_replica_and_may_come_and_go() {
    let world = World::new();
    let program = world.server("site", "one");
    let mut files = program.clone();
    files.revision.digest = "site-files".into();
    files.revision.bundle = "site-files".into();
    files.revision.run = Run::Static {
        root: "public".into(),
    };
    world.bundle("site-files", "index.html", "hi");

    world.apply(&program).await;
    world.apply(&files).await;
    match &world.routes.find("site").unwrap().target {
        Target::Static(root) => assert!(root.ends_with("bundles/site-files/public")),
        other => panic!("{other:?}"),
    }
    let gone = || async { world.observe("site").await.instances.is_empty() };
    eventually("the program is gone", gone).await;
    assert_eq!(world.observe("site").await.state, FunctionState::Hot);
    world.scale("site", 3).await.unwrap();
    assert!(world.observe("site").await.instances.is_empty());

    world.apply(&program).await;
    assert_eq!(world.text("site", "/").await, "one");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_is_gone_is_named() {
    let world = World::new();
    let function = world.server("hello", "one");
    std::fs::remove_dir_all(world.data().join("bundles")).unwrap();
    let failure = world.engine.apply(&function).await.unwrap_err().to_string();
    assert!(
        failure.contains("hello-one") && failure.contains("deploy"),
        "{failure}"
    );
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_function_leaves_its_name_and_nothing_else() {
    let world = World::new();
    world.apply(&world.server("hello", "one")).await;
    let pid = world.observe("hello").await.instances[0].pid;
    let logs = world.data().join("logs/openfaas-fn/hello");
    assert_eq!(entries(&logs).len(), 1);
    let call = world.lease("hello").unwrap();

    world.engine.remove(&name("hello")).await.unwrap();
    assert!(!is_running(pid));
    assert!(world.routes.find("hello").is_none());
    assert_eq!(call.ended().unwrap().reason, EndReason::Cancelled);
    assert!(!logs.exists());
    for folder in ["r", "replicas", "secrets/openfaas-fn"] {
        assert!(entries(&world.run().join(folder)).is_empty(), "{folder}");
    }
    let again = world.engine.remove(&name("hello")).await;
    assert!(matches!(again, Err(EngineError::NotFound(_))));

    world.apply(&world.server("hello", "two")).await;
    assert_eq!(world.text("hello", "/").await, "two");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_calls_off_a_rollout_that_hangs() {
    let world = World::new();
    world.apply(&world.server("hello", "one")).await;
    let silent = "import signal\nsignal.pause()\n";
    let hangs = world.function("hello", "two", silent);
    let engine = Arc::clone(&world.engine);
    let rollout = tokio::spawn(async move { engine.apply(&hangs).await });
    let two = || async { world.observe("hello").await.instances.len() == 2 };
    eventually("the new replica is on its way", two).await;
    world.engine.remove(&name("hello")).await.unwrap();
    let failure = rollout.await.unwrap().unwrap_err();
    assert_eq!(failure.reason(), EndReason::Cancelled);
    assert!(entries(&world.run().join("r")).is_empty());
    world.end().await;
}

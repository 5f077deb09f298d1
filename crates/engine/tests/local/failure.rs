use std::time::{Duration, Instant};

use hob_model::{
    EndReason,
    port::Engine,
    wire::{FunctionState, InstanceState},
};

use crate::world::{World, eventually, is_running, name};

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_dies_is_replaced_after_a_pause_that_grows() {
    let world = World::new();
    world.apply(&world.server("hello", "one")).await;
    let mut pauses = Vec::new();
    for status in [3, 4, 5] {
        let call = world.lease("hello").unwrap();
        let died = Instant::now();
        assert!(
            world
                .call("hello", &format!("/crash/{status}"))
                .await
                .is_err()
        );
        let known = || async { call.ended().is_some() };
        eventually("the end is known", known).await;
        assert_eq!(call.ended().unwrap().reason, EndReason::Exit);
        let observed = world.observe("hello").await;
        assert_eq!(observed.state, FunctionState::Failing);
        let last_end = observed.last_end.unwrap();
        assert!(last_end.message.contains(&status.to_string()), "{last_end}");
        // Waits for the start that is due, with all who call meanwhile.
        world.scale("hello", 1).await.unwrap();
        pauses.push(died.elapsed());
        assert_ne!(world.lease("hello").unwrap().id, call.id);
        assert_eq!(world.text("hello", "/").await, "one");
    }
    assert!(pauses[0] >= Duration::from_millis(100), "{pauses:?}");
    assert!(pauses[2] >= Duration::from_millis(400), "{pauses:?}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_dies_is_replaced_while_the_others_serve() {
    let world = World::new();
    let mut function = world.server("hello", "one");
    function.replicas = 2;
    world.apply(&function).await;
    assert!(world.call("hello", "/crash/1").await.is_err());
    let one_less = || async { world.ready("hello").len() == 1 };
    eventually("the dead one takes no calls", one_less).await;
    assert_eq!(world.observe("hello").await.state, FunctionState::Hot);
    assert_eq!(world.text("hello", "/").await, "one");
    let whole = || async { world.ready("hello").len() == 2 };
    eventually("it is replaced", whole).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_cannot_start_again_keeps_trying_until_told_otherwise() {
    let world = World::new();
    // Starts once: the second time its mark is in the way.
    let source = "\
import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(os.environ['HOB_SOCKET'])
if os.path.exists(os.path.join(os.environ['HOB_SECRETS'], 'mark')):
    sys.exit('marked')
listener.listen(1)
listener.accept()
listener.accept()
";
    let mut function = world.function("hello", "one", source);
    function.revision.settings.secrets = vec!["mark".parse().unwrap()];
    world.secrets.set("mark", b"");
    let failure = world.engine.apply(&function).await.unwrap_err();
    assert_eq!(failure.reason(), EndReason::Exit);

    let fine = source.replace("'mark'", "'other'");
    let mut function = world.function("hello", "two", &fine);
    function.replicas = 1;
    world.apply(&function).await;
    // Ends by itself: the first connection was hob's own.
    let _ = world.call("hello", "/").await;
    let failing = || async { world.observe("hello").await.state == FunctionState::Failing };
    eventually("its end is seen", failing).await;
    world.scale("hello", 0).await.unwrap();
    let calm = || async { world.observe("hello").await.state == FunctionState::Stopped };
    eventually("it is left in peace", calm).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condemned_replica_takes_no_calls_and_is_killed_when_its_last_one_is_done() {
    let world = World::new();
    world.apply(&world.server("hello", "one")).await;
    let call = world.lease("hello").unwrap();
    let old = world.observe("hello").await.instances[0].clone();
    world
        .engine
        .condemn(&name("hello"), &old.id, EndReason::Timeout)
        .await;
    assert!(call.is_draining());
    let replaced = || async { world.ready("hello").iter().any(|one| one.id != old.id) };
    eventually("another one takes over", replaced).await;
    let observed = world.observe("hello").await;
    let doomed = observed.instances.iter().find(|one| one.id == old.id);
    assert_eq!(doomed.unwrap().state, InstanceState::Draining);
    assert!(is_running(old.pid));
    assert_eq!(observed.last_end.unwrap().reason, EndReason::Timeout);

    let backend = std::sync::Arc::clone(&call);
    drop(call);
    let gone = || async { !is_running(old.pid) };
    eventually("it is killed", gone).await;
    assert_eq!(backend.ended().unwrap().reason, EndReason::Timeout);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condemned_replica_whose_calls_never_end_is_killed_after_the_timeout() {
    let world = World::new();
    let mut function = world.server("hello", "one");
    function.revision.settings.timeout = "1s".parse().unwrap();
    world.apply(&function).await;
    let call = world.lease("hello").unwrap();
    let pid = world.observe("hello").await.instances[0].pid;
    let id = call.id.clone();
    world
        .engine
        .condemn(&name("hello"), &id, EndReason::Timeout)
        .await;
    let gone = || async { !is_running(pid) };
    eventually("it is killed", gone).await;
    assert_eq!(call.ended().unwrap().reason, EndReason::Timeout);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_over_its_memory_ends_with_that_reason() {
    let world = World::new();
    let controllers = &world.sandbox.capabilities().cgroup.controllers;
    if !controllers.iter().any(|name| name == "memory") {
        assert!(std::env::var_os("CI").is_none(), "no memory controller");
        eprintln!("NOT TESTED: this machine has no memory controller for hob");
        return world.end().await;
    }
    let source = "\
import os, socket
listener = socket.socket(socket.AF_UNIX)
listener.bind(os.environ['HOB_SOCKET'])
listener.listen(8)
while listener.accept()[0].recv(100) == b'':
    pass
hoard = [bytearray(b'x' * (1 << 20)) for _ in range(1000)]
";
    let mut function = world.function("hello", "one", source);
    function.revision.settings.limits.memory = "32Mi".parse().unwrap();
    world.apply(&function).await;
    let call = world.lease("hello").unwrap();
    assert!(world.call("hello", "/").await.is_err());
    let known = || async { call.ended().is_some() };
    eventually("the end is known", known).await;
    assert_eq!(call.ended().unwrap().reason, EndReason::Memory);
    world.end().await;
}

/// The folder of the socket is the program's: a link in it must not lead hob to another socket.
#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_is_a_link_is_no_sign_of_life() {
    let world = World::with(|config| config.start_timeout = Duration::from_millis(500));
    let bait = std::os::unix::net::UnixListener::bind(world.run().join("bait.sock")).unwrap();
    bait.set_nonblocking(true).unwrap();
    let source = "import os, time\nos.symlink('../../bait.sock', os.environ['HOB_SOCKET'])\ntime.sleep(60)\n";
    let function = world.function("linked", "one", source);
    let error = world.engine.apply(&function).await.unwrap_err();
    assert!(error.to_string().contains("did not listen"), "{error}");
    assert!(bait.accept().is_err(), "hob followed the link");
    world.end().await;
}

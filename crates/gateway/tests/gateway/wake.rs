use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use hob_model::{EndReason, Timespan, port::WakeError};

use crate::harness::{World, echo};

const CALL: &str = "POST /function/hello HTTP/1.1\nHost: h\nContent-Length: 2\n\nhi";

#[test]
fn a_sleeping_function_is_woken_by_its_call() {
    let world = World::start();
    let replicas = world.function("hello", |_| {});
    let replica = world.replica(echo);
    let backend = Arc::clone(&replica.backend);
    world.wake.then(move || {
        replicas.replace(vec![backend.clone()]);
        Ok(())
    });
    let reply = world.call(CALL);
    assert_eq!(reply.text(), "POST / HTTP/1.1|hi");
    assert!(
        !reply
            .field("server-timing")
            .unwrap()
            .contains("wake;dur=0.000,")
    );
    assert_eq!(world.wake.woken(), 1);
    world.call(CALL);
    assert_eq!(world.wake.woken(), 1);
}

/// The program may be about to close them: for its clock they were idle all the time.
#[test]
fn connections_from_before_a_freeze_are_not_used_after_it() {
    let world = World::start();
    let replica = world.hello(echo);
    let mut client = world.connect();
    let call = "GET /function/hello HTTP/1.1\nHost: h\n\n";
    client.call(call);
    client.call(call);
    assert_eq!(replica.accepted(), 1);
    assert!(replica.backend.pause());
    replica.backend.resume();
    client.call(call);
    client.call(call);
    assert_eq!(replica.accepted(), 2);
}

#[test]
fn a_failed_start_is_a_502_with_the_reason() {
    for reason in [
        EndReason::Exit,
        EndReason::Memory,
        EndReason::Pids,
        EndReason::Unready,
        EndReason::Host,
    ] {
        let world = World::start();
        world.function("hello", |_| {});
        world.wake.then(move || {
            let message = "exit status 3: no module named PIL".into();
            Err(WakeError { reason, message })
        });
        let reply = world.call(CALL);
        let words = "function `hello` did not start: exit status 3: no module named PIL";
        reply.assert_error(502, Some(reason.as_str()), words);
        assert_eq!(world.totals(), (1, 1));
    }
}

#[test]
fn a_start_that_takes_too_long_is_a_504() {
    let world = World::start();
    world.function("hello", |route| {
        route.timeout = Timespan(std::time::Duration::from_millis(80))
    });
    world.wake.hangs.store(true, Ordering::SeqCst);
    let begun = Instant::now();
    let reply = world.call(CALL);
    assert!(begun.elapsed().as_millis() >= 80);
    let words = "function `hello` did not start within its timeout of 80ms";
    reply.assert_error(504, Some("timeout"), words);
    assert!(reply.field("server-timing").unwrap().contains("wake;dur=8"));
}

#[test]
fn a_function_that_wakes_to_nothing_is_given_up() {
    let world = World::start();
    world.function("hello", |_| {});
    let reply = world.call(CALL);
    reply.assert_error(502, Some("exit"), "did not start");
    assert!(world.wake.woken() > 1);
}

#[test]
fn a_replica_that_is_gone_costs_no_call() {
    let world = World::start();
    let replicas = world.function("hello", |_| {});
    let (dead, alive) = (world.replica(echo), world.replica(echo));
    dead.stop();
    replicas.replace(vec![dead.backend.clone()]);
    let (backend, end) = (alive.backend.clone(), dead.backend.clone());
    // The engine notices, a moment later.
    let notices = std::thread::spawn(move || {
        eventually!(end.in_flight() == 0);
        replicas.replace(vec![backend]);
        end.set_ended(hob_model::End::new(EndReason::Exit, "signal 9"));
    });
    let reply = world.call(CALL);
    notices.join().unwrap();
    assert_eq!(reply.text(), "POST / HTTP/1.1|hi");
    assert_eq!(world.totals(), (1, 0));
}

#[test]
fn a_draining_replica_gets_no_call() {
    let world = World::start();
    let replicas = world.function("hello", |_| {});
    let (old, new) = (world.replica(echo), world.replica(echo));
    replicas.replace(vec![old.backend.clone()]);
    world.call(CALL);
    old.backend.drain();
    let backend = new.backend.clone();
    world.wake.then(move || {
        replicas.replace(vec![backend.clone()]);
        Ok(())
    });
    assert_eq!(world.call(CALL).status, 200);
    assert_eq!((old.accepted(), new.accepted()), (1, 1));
}

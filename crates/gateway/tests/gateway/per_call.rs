//! Replicas that are used once: whatever comes, by the express lane or by hyper, none has a second
//! call.

use std::{
    io::{Read, Write},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use hob_model::{EndReason, ReplicaSet, Route, Scale, Timespan};

use crate::{
    harness::{Client, Conn, Replica, World, echo},
    way::Way,
};

fn request(way: Way, method: &str, rest: &str) -> String {
    let mark = way.field();
    format!("{method} /function/hello{rest} HTTP/1.1\nHost: h\n{mark}\n")
}

fn begin(world: &World, request: &str) -> Client {
    let mut client = world.connect();
    client.send(request.replace('\n', "\r\n"));
    client
}

/// A set whose function is awake.
fn supplied(world: &World, adjust: impl FnOnce(&mut Route)) -> Arc<ReplicaSet> {
    let set = world.function("hello", adjust);
    set.supply(Some(0));
    set.limit(&Scale {
        concurrency: Some(1),
        queue: 10,
        ..Scale::default()
    });
    set
}

fn show(set: &ReplicaSet, replicas: &[Replica]) {
    set.replace(
        replicas
            .iter()
            .map(|one| Arc::clone(&one.backend))
            .collect(),
    );
}

/// `hello`, with so many fresh replicas that echo.
fn stocked(world: &World, count: usize) -> (Arc<ReplicaSet>, Vec<Replica>) {
    let set = supplied(world, |_| {});
    let replicas: Vec<_> = (0..count).map(|_| world.fresh(echo)).collect();
    show(&set, &replicas);
    (set, replicas)
}

/// Each has had one connection, and nobody is at one of them any more.
fn assert_spent(replicas: &[Replica]) {
    for replica in replicas {
        assert_eq!(replica.accepted(), 1);
        eventually!(replica.backend.in_flight() == 0);
        assert!(replica.backend.is_draining() && replica.backend.lease(1).is_none());
    }
}

#[test]
fn one_connection_after_another_or_many_requests_in_one_piece() {
    for way in Way::BOTH {
        let world = World::start();
        let (set, replicas) = stocked(&world, 6);
        let mut kept = world.connect();
        for _ in 0..3 {
            let reply = kept.call(&request(way, "GET", "/kept"));
            assert_eq!(reply.text(), "GET /kept HTTP/1.1|", "{way:?}");
        }
        let all = (0..3).map(|number| request(way, "GET", &format!("/{number}")));
        let mut pipelined = begin(&world, &all.collect::<String>());
        for number in 0..3 {
            let reply = pipelined.reply("GET").unwrap();
            assert_eq!(reply.text(), format!("GET /{number} HTTP/1.1|"), "{way:?}");
        }
        assert_spent(&replicas);
        // A seventh waits for one that is made for it.
        let mut seventh = begin(&world, &request(way, "GET", "/last"));
        eventually!(set.waiting() == 1);
        let more = [world.fresh(echo)];
        show(&set, &more);
        assert_eq!(seventh.reply("GET").unwrap().text(), "GET /last HTTP/1.1|");
        assert_spent(&more);
        assert_eq!((world.wake.woken(), world.totals()), (0, (7, 0)));
    }
}

#[test]
fn a_call_that_is_tried_again_is_tried_at_another() {
    for way in Way::BOTH {
        let world = World::start();
        let set = supplied(&world, |_| {});
        let dies = [world.fresh(|mut conn: Conn| drop(conn.request()))];
        let next = [world.fresh(echo)];
        show(&set, &dies);
        let mut client = begin(&world, &request(way, "GET", "/again"));
        // It is held until it is known how it ended, which the engine would tell.
        eventually!(dies[0].accepted() == 1);
        show(&set, &next);
        let reply = client.reply("GET").unwrap();
        assert_eq!(reply.text(), "GET /again HTTP/1.1|", "{way:?}");
        assert_spent(&dies);
        assert_spent(&next);

        let deaf = world.fresh(echo);
        deaf.stop();
        let well = [world.fresh(echo)];
        set.replace(vec![Arc::clone(&deaf.backend)]);
        let mut client = begin(&world, &request(way, "POST", ""));
        eventually!(deaf.backend.is_draining());
        show(&set, &well);
        assert_eq!(client.reply("POST").unwrap().status, 200, "{way:?}");
        assert!(deaf.backend.lease(1).is_none());
        assert_spent(&well);
    }
}

#[test]
fn what_may_not_be_tried_again_tells_how_its_replica_ended() {
    for way in Way::BOTH {
        let world = World::start();
        let set = supplied(&world, |_| {});
        let dies = [world.fresh(|mut conn: Conn| drop(conn.request()))];
        show(&set, &dies);
        let mut client = begin(&world, &request(way, "POST", ""));
        eventually!(dies[0].backend.is_draining());
        // The engine kills it when its lease is given back: that must not be before this.
        assert_eq!(dies[0].backend.in_flight(), 1);
        let end = hob_model::End::new(EndReason::Memory, "it used too much");
        dies[0].backend.set_ended(end);
        let reply = client.reply("POST").unwrap();
        reply.assert_error(502, Some("memory"), "it used too much");
        assert_spent(&dies);
    }
}

#[test]
fn the_end_of_a_call_is_told_by_its_lease_and_why_by_its_backend() {
    for way in Way::BOTH {
        let world = World::start();
        let short = Timespan(Duration::from_millis(200));
        let set = supplied(&world, |route| route.timeout = short);
        let slow = [world.fresh(|mut conn: Conn| while conn.request().is_some() {})];
        show(&set, &slow);
        let reply = world.call(&request(way, "GET", ""));
        reply.assert_error(504, Some("timeout"), "timeout");
        eventually!(slow[0].backend.in_flight() == 0);
        assert_eq!(
            slow[0].backend.blamed(),
            Some(EndReason::Timeout),
            "{way:?}"
        );
        assert!(world.wake.condemned().is_empty());

        let world = World::start();
        let set = supplied(&world, |_| {});
        let slow = [world.fresh(|mut conn: Conn| while conn.request().is_some() {})];
        show(&set, &slow);
        let client = begin(&world, &request(way, "GET", ""));
        eventually!(slow[0].accepted() == 1);
        drop(client);
        eventually!(slow[0].backend.in_flight() == 0);
        assert_eq!(slow[0].backend.blamed(), None, "{way:?}");
    }
}

#[test]
fn a_websocket_holds_it_to_its_end() {
    let world = World::start();
    let set = supplied(&world, |_| {});
    let talks = [world.fresh(|mut conn: Conn| {
        conn.request();
        conn.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
        let mut byte = [0];
        while conn.stream.read_exact(&mut byte).is_ok() {
            conn.write(byte);
        }
    })];
    show(&set, &talks);
    let mut client = begin(
        &world,
        "GET /function/hello HTTP/1.1\nHost: h\nConnection: Upgrade\nUpgrade: x\n\n",
    );
    assert_eq!(client.head().unwrap().status, 101);
    for byte in [b"a", b"b"] {
        client.stream.get_mut().write_all(byte).unwrap();
        let mut back = [0];
        client.stream.read_exact(&mut back).unwrap();
        assert_eq!((&back, talks[0].backend.in_flight()), (byte, 1));
    }
    drop(client);
    assert_spent(&talks);
}

#[test]
fn who_wakes_the_function_waits_in_line_meanwhile() {
    for way in Way::BOTH {
        let world = World::start();
        let set = supplied(&world, |_| {});
        set.supply(None);
        let waking = Arc::clone(&set);
        let first = world.fresh(echo);
        let backend = Arc::clone(&first.backend);
        world.wake.then(move || {
            waking.supply(Some(0));
            waking.replace(vec![Arc::clone(&backend)]);
            Ok(())
        });
        let mut one = begin(&world, &request(way, "GET", ""));
        assert_eq!(one.reply("GET").unwrap().status, 200, "{way:?}");
        assert_eq!((world.wake.woken(), set.waiting()), (1, 0));
        assert_spent(&[first]);

        // While the start is under way, as many are in line as there are callers.
        set.supply(None);
        world.wake.hangs.store(true, Ordering::SeqCst);
        let callers: Vec<_> = (0..4)
            .map(|_| begin(&world, &request(way, "GET", "")))
            .collect();
        eventually!(set.waiting() == 4);
        drop(callers);
        eventually!(set.waiting() == 0);
    }
}

#[test]
fn who_waits_while_the_supply_ends_wakes_the_function_and_gets_its_error() {
    for way in Way::BOTH {
        let world = World::start();
        let set = supplied(&world, |_| {});
        world.wake.then(|| {
            Err(hob_model::port::WakeError {
                reason: EndReason::Exit,
                message: "it is broken".into(),
            })
        });
        let mut callers: Vec<_> = (0..3)
            .map(|_| begin(&world, &request(way, "GET", "")))
            .collect();
        eventually!(set.waiting() == 3);
        set.supply(None);
        set.replace(Vec::new());
        for caller in &mut callers {
            let reply = caller.reply("GET").unwrap();
            reply.assert_error(502, Some("exit"), "it is broken");
        }
        assert_eq!(set.waiting(), 0, "{way:?}");
    }
}

use std::time::{Duration, Instant};

use hob_model::Timespan;

use crate::harness::{Conn, World, echo};

const CALL: &str = "GET /function/hello HTTP/1.1\nHost: h\n\n";
/// For what is always late.
const SHORT: Timespan = Timespan(Duration::from_millis(100));
/// For what is first in time and then late, also on a busy machine.
const LONGER: Timespan = Timespan(Duration::from_millis(700));

#[test]
fn a_late_head_is_a_504_and_the_replica_is_reported() {
    let world = World::start();
    let replica = world.hello_with(
        |route| route.timeout = SHORT,
        |mut conn: Conn| {
            conn.request();
            conn.request();
        },
    );
    let begun = Instant::now();
    let reply = world.call(CALL);
    assert!(begun.elapsed() >= SHORT.0);
    let words = "function `hello` did not answer within its timeout of 100ms";
    reply.assert_error(504, Some("timeout"), words);
    assert_eq!(
        world.wake.condemned(),
        [format!("hello {} timeout", replica.backend.id)]
    );
    assert_eq!(world.totals(), (1, 1));
    eventually!(replica.backend.in_flight() == 0);
}

#[test]
fn a_late_body_is_cut_and_the_replica_is_reported() {
    let world = World::start();
    let replica = world.hello_with(
        |route| route.timeout = LONGER,
        |mut conn: Conn| {
            conn.request();
            conn.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
            conn.request();
        },
    );
    let mut client = world.connect();
    client.send(CALL.replace('\n', "\r\n"));
    assert!(client.reply("GET").is_none(), "the answer looks complete");
    assert_eq!(
        world.wake.condemned(),
        [format!("hello {} timeout", replica.backend.id)]
    );
    assert_eq!(world.totals(), (1, 1));
    assert_eq!(replica.backend.in_flight(), 0);
}

#[test]
fn a_caller_that_does_not_read_holds_nothing_past_the_deadline() {
    let world = World::start();
    let replica = world.hello_with(
        |route| route.timeout = LONGER,
        |mut conn: Conn| {
            conn.request();
            conn.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
            while conn.write(&chunk) {}
        },
    );
    let mut client = world.connect();
    client.send(CALL.replace('\n', "\r\n"));
    eventually!(replica.backend.in_flight() == 1);
    eventually!(replica.backend.in_flight() == 0);
    // It is the caller's fault, not the replica's.
    assert!(world.wake.condemned().is_empty());
    assert!(client.reply("GET").is_none());
}

#[test]
fn a_body_that_is_not_there_in_time_is_the_callers_fault() {
    let world = World::start();
    let _replica = world.hello_with(|route| route.timeout = SHORT, echo);
    let mut client = world.connect();
    client.send("POST /function/hello HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nslow");
    let reply = client.reply("POST").unwrap();
    reply.assert_error(408, None, "the request's body came too slowly");
    assert!(world.wake.condemned().is_empty());
}

#[test]
fn deadlines_hold_for_every_call_of_a_connection() {
    let world = World::with(|config| config.threads = 1);
    let _replica = world.hello_with(
        |route| route.timeout = LONGER,
        |mut conn: Conn| {
            while let Some(request) = conn.request() {
                if request.line.contains("/slow") {
                    conn.request();
                    return;
                }
                conn.answer("quick");
            }
        },
    );
    let mut client = world.connect();
    let until = Instant::now() + LONGER.0 * 2;
    while Instant::now() < until {
        assert_eq!(client.call(CALL).text(), "quick");
    }
    let begun = Instant::now();
    let reply = client.call("GET /function/hello/slow HTTP/1.1\nHost: h\n\n");
    reply.assert_error(504, Some("timeout"), "within its timeout of 700ms");
    let took = begun.elapsed();
    assert!(took >= LONGER.0 && took < LONGER.0 * 8, "{took:?}");
}

#[test]
fn a_shorter_timeout_counts_on_a_connection_that_had_a_longer_one() {
    let world = World::with(|config| config.threads = 1);
    let replicas = world.function("hello", |_| {});
    let replica = world.replica(|mut conn: Conn| {
        conn.request();
        conn.answer("quick");
        conn.request();
        conn.request();
    });
    replicas.replace(vec![replica.backend.clone()]);
    assert_eq!(world.call(CALL).status, 200);
    let replicas = world.function("hello", |route| route.timeout = SHORT);
    replicas.replace(vec![replica.backend.clone()]);
    let begun = Instant::now();
    world.call(CALL).assert_error(504, Some("timeout"), "100ms");
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(replica.accepted(), 1);
}

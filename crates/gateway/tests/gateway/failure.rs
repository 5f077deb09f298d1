use std::{fs, os::unix::fs::symlink, sync::Arc, time::Instant};

use hob_model::{End, EndReason, Endpoint};

use crate::harness::{Conn, World, echo};

const CALL: &str = "GET /function/hello HTTP/1.1\nHost: h\n\n";
/// Not to be sent twice.
const POST: &str = "POST /function/hello HTTP/1.1\nHost: h\nContent-Length: 0\n\n";

#[test]
fn a_replica_that_dies_without_an_answer_is_a_502_with_its_end() {
    let world = World::start();
    let backend = Arc::new(std::sync::OnceLock::<Arc<hob_model::Backend>>::new());
    let late = Arc::clone(&backend);
    let replica = world.hello(move |mut conn: Conn| {
        conn.request();
        drop(conn);
        // The engine hears of it a moment after the connection broke.
        std::thread::sleep(std::time::Duration::from_millis(30));
        late.wait()
            .set_ended(End::new(EndReason::Memory, "over its memory limit of 64Mi"));
    });
    assert!(backend.set(replica.backend.clone()).is_ok());
    let reply = world.call(POST);
    let words = "function `hello` ended during the call: over its memory limit of 64Mi";
    reply.assert_error(502, Some("memory"), words);
    assert_eq!(world.totals(), (1, 1));
    assert_eq!(replica.backend.in_flight(), 0);
}

#[test]
fn a_connection_closed_without_an_answer_is_a_502() {
    let world = World::start();
    let _replica = world.hello(|mut conn: Conn| drop(conn.request()));
    let begun = Instant::now();
    let reply = world.call(CALL);
    let words = "function `hello` closed the connection without an answer";
    reply.assert_error(502, Some("exit"), words);
    assert!(
        begun.elapsed().as_millis() < 2_000,
        "the wait for the end is bounded"
    );
}

#[test]
fn an_answer_that_is_no_http_is_a_502() {
    for nonsense in [
        "hello\r\n\r\n",
        "HTTP/1.1 2xx\r\n\r\n",
        "HTTP/1.1 200 OK\r\nbad field\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    ] {
        let world = World::start();
        let _replica = world.hello(move |mut conn: Conn| {
            conn.request();
            conn.write(nonsense);
            conn.request();
        });
        let reply = world.call(CALL);
        reply.assert_error(502, Some("exit"), "not HTTP/1.1");
    }
}

#[test]
fn a_replica_that_dies_inside_its_answer_cuts_it() {
    for head in ["Content-Length: 100", "Transfer-Encoding: chunked"] {
        let world = World::start();
        let replica = world.hello(move |mut conn: Conn| {
            conn.request();
            conn.write(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n5\r\nhello\r\n"));
        });
        let mut client = world.connect();
        client.send(CALL.replace('\n', "\r\n"));
        assert!(client.reply("GET").is_none(), "the answer looks complete");
        eventually!(replica.backend.in_flight() == 0);
        eventually!(world.totals() == (1, 1));
    }
}

#[test]
fn a_caller_that_hangs_up_frees_the_replica_and_its_connection() {
    let world = World::start();
    let closed = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let count = Arc::clone(&closed);
    let replica = world.hello(move |mut conn: Conn| {
        conn.request();
        // Answers nothing, and sees the connection end.
        assert!(conn.head().is_none());
        count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    });
    let mut client = world.connect();
    client.send(CALL.replace('\n', "\r\n"));
    eventually!(replica.backend.in_flight() == 1);
    drop(client);
    eventually!(replica.backend.in_flight() == 0);
    eventually!(closed.load(std::sync::atomic::Ordering::SeqCst) == 1);
    assert!(world.wake.condemned().is_empty());
}

#[test]
fn a_caller_that_hangs_up_inside_a_stream_frees_the_replica() {
    let world = World::start();
    let replica = world.hello(|mut conn: Conn| {
        conn.request();
        conn.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        while conn.write("5\r\nhello\r\n") {}
    });
    let mut client = world.connect();
    client.send(CALL.replace('\n', "\r\n"));
    assert_eq!(client.head().unwrap().status, 200);
    assert_eq!(replica.backend.in_flight(), 1);
    drop(client);
    eventually!(replica.backend.in_flight() == 0);
}

#[test]
fn a_replica_that_accepts_nothing_is_a_502() {
    let world = World::start();
    let replica = world.hello(echo);
    replica.stop();
    let reply = world.call(CALL);
    reply.assert_error(
        502,
        Some("exit"),
        "function `hello` does not accept connections",
    );
}

#[test]
fn an_early_answer_reaches_a_caller_that_still_sends() {
    let world = World::start();
    let _replica = world.hello(|mut conn: Conn| {
        conn.head();
        conn.answer("no, thanks");
    });
    let mut client = world.connect();
    client.send("POST /function/hello HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\nx");
    let reply = client.reply("POST").unwrap();
    assert_eq!(reply.text(), "no, thanks");
}

/// The folder of the socket is the replica's: a link in it must not lead to `hob.sock` or Docker's.
#[test]
fn a_socket_that_became_a_link_is_not_followed() {
    let world = World::start();
    let replica = world.hello(echo);
    let Endpoint::Unix(path) = &replica.backend.endpoint else {
        panic!("the harness serves unix sockets");
    };
    let elsewhere = path.with_extension("elsewhere");
    fs::rename(path, &elsewhere).unwrap();
    symlink(&elsewhere, path).unwrap();
    let reply = world.call(CALL);
    reply.assert_error(502, Some("exit"), "does not accept connections");
    assert_eq!(replica.accepted(), 0);
}

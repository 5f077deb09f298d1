//! The limit of an answer's body, by the express lane and by hyper.

use hob_model::EndReason;

use crate::harness::{Client, Conn, Replica, World};

const LIMIT: u64 = 10;
/// Nothing for the lane, and the second takes hyper's way.
const WAYS: [&str; 2] = ["", "Connection: keep-alive, x-nothing\r\n"];

/// A function `hello` whose replica says this, and a caller who has called it.
fn called(way: &str, method: &str, answer: &'static str) -> (World, Replica, Client) {
    let world = World::start();
    let replica = world.hello_with(
        |route| route.output_limit = LIMIT,
        move |mut conn: Conn| {
            conn.request();
            conn.write(answer);
            // Open until the gateway closes, unless the answer ends so.
            if !answer.contains("close") {
                conn.request();
            }
        },
    );
    let mut client = world.connect();
    client.send(format!(
        "{method} /function/hello HTTP/1.1\r\nHost: h\r\n{way}\r\n"
    ));
    (world, replica, client)
}

#[track_caller]
fn assert_condemned(world: &World, replica: &Replica) {
    let line = format!("hello {} output", replica.backend.id);
    eventually!(world.wake.condemned() == [line.clone()]);
    eventually!(replica.backend.in_flight() == 0);
    let counts = world.routes.find("hello").unwrap().counters.counts();
    let ends: Vec<_> = counts.ends.iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(ends, [&(EndReason::Output, 1)]);
    assert_eq!(world.totals(), (1, 1));
}

#[test]
fn an_answer_of_exactly_the_limit_passes() {
    for way in WAYS {
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\n0123\r\n6\r\n456789\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n0123456789",
        ] {
            let (world, replica, mut client) = called(way, "GET", answer);
            let reply = client.reply("GET").unwrap();
            assert_eq!((reply.status, reply.text().as_str()), (200, "0123456789"));
            eventually!(replica.backend.in_flight() == 0);
            assert!(world.wake.condemned().is_empty(), "{answer:?}");
        }
    }
}

#[test]
fn the_length_that_a_head_answer_tells_is_no_body() {
    for way in WAYS {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n";
        let (world, _replica, mut client) = called(way, "HEAD", answer);
        let reply = client.reply("HEAD").unwrap();
        assert_eq!(
            (reply.status, reply.field("content-length")),
            (200, Some("11"))
        );
        assert!(world.wake.condemned().is_empty());
    }
}

#[test]
fn an_answer_that_is_over_before_its_caller_has_any_of_it_is_a_502() {
    for way in WAYS {
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 9000000000000000000\r\n\r\n0",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n0123456789a\r\n",
        ] {
            let (world, replica, mut client) = called(way, "GET", answer);
            let reply = client.reply("GET").unwrap();
            let words = "more than the 10 bytes that it may: raise `limits.output`";
            reply.assert_error(502, Some("output"), words);
            assert_condemned(&world, &replica);
        }
    }
}

#[test]
fn a_stream_is_cut_where_it_passes_the_limit() {
    const BEGUN: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n01234567\r\n";
    for way in WAYS {
        let world = World::start();
        let (go, gone) = std::sync::mpsc::channel();
        let gone = std::sync::Mutex::new(gone);
        let replica = world.hello_with(
            |route| route.output_limit = LIMIT,
            move |mut conn: Conn| {
                conn.request();
                conn.write(BEGUN);
                // The caller has these by now.
                gone.lock().unwrap().recv().unwrap();
                conn.write("3\r\n89a\r\n");
                conn.request();
            },
        );
        let mut client = world.connect();
        client.send(format!(
            "GET /function/hello HTTP/1.1\r\nHost: h\r\n{way}\r\n"
        ));
        let head = client.head().unwrap();
        assert_eq!((head.status, head.field("x-hob-end")), (200, None));
        go.send(()).unwrap();
        let mut rest = Vec::new();
        let _ = std::io::Read::read_to_end(&mut client.stream, &mut rest);
        let rest = String::from_utf8(rest).unwrap();
        assert!(rest.contains("01234567") && !rest.contains('9'), "{rest}");
        assert_condemned(&world, &replica);
    }
}

//! What is counted of a call, by the express lane and by hyper.

use std::{
    io::{Read, Write},
    time::Duration,
};

use hob_model::{CallCounts, EndReason, Route, Timespan};

use crate::{
    harness::{Client, Conn, Replica, World},
    way::Way,
};

/// Shorter than anybody waits, and long enough to be told from no time at all.
const SHORT: Timespan = Timespan(Duration::from_millis(300));

impl Way {
    /// The head of a call. A body in chunks is not plain.
    fn call(self) -> &'static str {
        match self {
            Self::Lane => "POST /function/hello HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi",
            Self::Hyper => {
                "POST /function/hello HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
                 2\r\nhi\r\n0\r\n\r\n"
            }
        }
    }
}

/// A function `hello` that runs `script`, and a caller who has called it.
fn called(way: Way, script: impl Fn(Conn) + Send + Sync + 'static) -> (World, Replica, Client) {
    let world = World::start();
    let replica = world.hello_with(|route: &mut Route| route.timeout = SHORT, script);
    let mut client = world.connect();
    client.send(way.call());
    (world, replica, client)
}

fn counts(world: &World) -> CallCounts {
    world.routes.find("hello").unwrap().counters.counts()
}

/// How calls have ended so far: codes and reasons, each with its count.
type Outcomes = (Vec<(String, u64)>, Vec<(EndReason, u64)>);

fn outcomes(world: &World) -> Outcomes {
    let counts = counts(world);
    let codes = counts.codes.iter();
    let codes = codes.map(|one| (one.code.to_string(), one.count()));
    let ends = counts.ends.iter().filter(|(_, count)| *count > 0);
    (codes.collect(), ends.copied().collect())
}

fn one(code: &str, reason: EndReason) -> Outcomes {
    (vec![(code.to_owned(), 1)], vec![(reason, 1)])
}

#[test]
fn an_answer_counts_with_its_code_before_it_is_here() {
    for way in Way::BOTH {
        for (answer, code) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "200"),
            ("HTTP/1.1 404 Gone\r\nContent-Length: 0\r\n\r\n", "404"),
            ("HTTP/1.1 204 Empty\r\n\r\n", "204"),
        ] {
            let (world, _replica, mut client) = called(way, move |mut conn| {
                conn.request();
                conn.write(answer);
            });
            client.reply("POST").expect("an answer");
            assert_eq!(outcomes(&world), one(code, EndReason::Ok), "{way:?}");
            assert_eq!((counts(&world).under_way(), world.totals()), (0, (1, 0)));
        }
    }
}

#[test]
fn a_streamed_answer_does_not_count_before_its_end() {
    for way in Way::BOTH {
        let (world, replica, mut client) = called(way, |mut conn| {
            conn.request();
            conn.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
            // Says no more, and waits for the end of the connection.
            conn.request();
        });
        let head = client.head().expect("a head");
        assert_eq!(head.status, 200, "{way:?}");
        assert_eq!(outcomes(&world), (vec![], vec![]), "{way:?}");
        assert_eq!(counts(&world).under_way(), 1, "{way:?}");
        // The timeout ends it: a 200 for its caller, and no good end.
        eventually!(replica.backend.in_flight() == 0);
        assert_eq!(outcomes(&world), one("200", EndReason::Timeout), "{way:?}");
        assert!(counts(&world).codes[0].sum >= SHORT.0, "{way:?}");
        assert_eq!(world.totals(), (1, 1));
    }
}

#[test]
fn a_streamed_answer_that_ends_well_counts_so() {
    for way in Way::BOTH {
        let (world, _replica, mut client) = called(way, |mut conn| {
            conn.request();
            conn.write("HTTP/1.1 201 Made\r\nTransfer-Encoding: chunked\r\n\r\n");
            for _ in 0..100 {
                conn.write(format!("4000\r\n{}\r\n", "x".repeat(0x4000)));
            }
            conn.write("0\r\n\r\n");
        });
        let reply = client.reply("POST").expect("an answer");
        assert_eq!(reply.body.len(), 100 * 0x4000);
        assert_eq!(outcomes(&world), one("201", EndReason::Ok), "{way:?}");
    }
}

#[test]
fn an_answer_of_hobs_own_counts_with_its_code_and_its_reason() {
    for way in Way::BOTH {
        let (world, _replica, mut client) = called(way, |mut conn| {
            conn.request();
        });
        assert_eq!(client.reply("POST").expect("an answer").status, 502);
        assert_eq!(outcomes(&world), one("502", EndReason::Exit), "{way:?}");
        assert_eq!(world.totals(), (1, 1));

        let (world, _replica, mut client) = called(way, |mut conn| {
            conn.request();
            conn.request();
        });
        assert_eq!(client.reply("POST").expect("an answer").status, 504);
        assert_eq!(outcomes(&world), one("504", EndReason::Timeout), "{way:?}");
        assert!(counts(&world).codes[0].sum >= SHORT.0);
    }
    let world = World::start();
    let _replica = world.hello_with(|route| route.body_limit = 1, |_| {});
    for way in Way::BOTH {
        let mut client = world.connect();
        client.send(way.call());
        assert_eq!(client.reply("POST").expect("an answer").status, 413);
    }
    assert_eq!(outcomes(&world).0, [("413".to_owned(), 2)]);
    assert_eq!(outcomes(&world).1, [(EndReason::Ok, 2)]);
}

#[test]
fn an_answer_that_breaks_off_counts_with_the_code_that_its_caller_saw() {
    for way in Way::BOTH {
        let (world, _replica, mut client) = called(way, |mut conn| {
            conn.request();
            conn.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
        });
        assert!(client.reply("POST").is_none());
        assert_eq!(outcomes(&world), one("200", EndReason::Exit), "{way:?}");
    }
}

#[test]
fn a_caller_that_leaves_has_cancelled() {
    for way in Way::BOTH {
        let (world, replica, client) = called(way, |mut conn| {
            conn.request();
            conn.request();
        });
        eventually!(replica.backend.in_flight() == 1);
        assert_eq!(counts(&world).under_way(), 1);
        drop(client);
        eventually!(counts(&world).under_way() == 0);
        assert_eq!(
            outcomes(&world),
            one("499", EndReason::Cancelled),
            "{way:?}"
        );
        assert_eq!(world.totals(), (1, 0));
    }
}

#[test]
fn a_websocket_counts_when_it_is_over() {
    let world = World::start();
    let _replica = world.hello(|mut conn: Conn| {
        conn.request();
        conn.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
        conn.stream.read_exact(&mut [0]).expect("a byte");
    });
    let mut client = world.connect();
    client.send(
        "GET /function/hello HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
    );
    assert_eq!(client.head().expect("a head").status, 101);
    assert_eq!(counts(&world).under_way(), 1);
    client.stream.get_mut().write_all(b"!").expect("open");
    assert!(client.is_closed());
    drop(client);
    eventually!(counts(&world).under_way() == 0);
    assert_eq!(outcomes(&world), one("101", EndReason::Ok));
}

#[test]
fn what_is_no_call_of_a_function_is_not_counted() {
    let world = World::start();
    let _replica = world.hello(|_| {});
    for path in ["/function/none", "/function/hello.elsewhere", "/healthz"] {
        world.call(&format!("GET {path} HTTP/1.1\nHost: h\n\n"));
    }
    assert_eq!(world.totals(), (0, 0));
    assert_eq!(outcomes(&world), (vec![], vec![]));
}

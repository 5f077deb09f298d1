//! How often, how many and how deep: by the express lane and by hyper, and by both together.

use std::{
    io::{Read, Write},
    sync::{Arc, mpsc},
};

use hob_gateway::RunFields;
use hob_model::{Cors, Guard, Rate, RateBy, Refusal, Route};

use crate::{
    harness::{Conn, Reply, World, echo, recorder},
    way::Way,
};

fn rate(text: &str, by: RateBy) -> Option<Arc<Guard>> {
    let rate: Rate = text.parse().unwrap();
    Some(Arc::new(Guard {
        auth: Default::default(),
        rate: Some(Rate { by, ..rate }),
    }))
}

/// A call of `hello` with these fields.
fn call(world: &World, way: Way, fields: &str) -> Reply {
    let way = way.field();
    world.call(&format!(
        "GET /function/hello HTTP/1.1\nHost: h\n{way}{fields}\n"
    ))
}

/// What an answer says of the caller's standing.
fn standing(reply: &Reply) -> (Option<&str>, Option<&str>) {
    (reply.field("ratelimit-policy"), reply.field("ratelimit"))
}

fn refused(world: &World, refusal: Refusal) -> u64 {
    world.routes.refusals().of(refusal)
}

#[test]
fn a_caller_is_told_how_it_stands_and_refused_beyond_the_rate() {
    for way in Way::BOTH {
        let world = World::start();
        let _replica = world.hello_with(
            |route| route.guard = rate("2/1h", RateBy::Address),
            |mut conn: Conn| {
                while conn.request().is_some() {
                    conn.write(
                        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nRateLimit: \"mine\";r=9\r\n\
                         RateLimit-Policy: \"mine\";q=9\r\n\r\nok",
                    );
                }
            },
        );
        let policy = Some("\"default\";q=2;w=3600");
        let first = call(&world, way, "");
        assert_eq!(
            standing(&first),
            (policy, Some("\"default\";r=1;t=1800")),
            "{way:?}"
        );
        let second = call(&world, way, "");
        let left = second.field("ratelimit").unwrap();
        assert!(left.starts_with("\"default\";r=0;t=3"), "{left}");
        let third = call(&world, way, "");
        third.assert_error(429, None, "function `hello` takes 2/1h calls of one caller");
        let wait: u64 = third.field("retry-after").unwrap().parse().unwrap();
        assert!((1700..=1800).contains(&wait), "{wait}");
        let left = format!("\"default\";r=0;t={wait}");
        assert_eq!(standing(&third), (policy, Some(&*left)));
        let limits = third.fields.iter();
        let limits = limits.filter(|(name, _)| name.to_lowercase().starts_with("ratelimit"));
        assert_eq!(limits.count(), 2);
        assert_eq!(refused(&world, Refusal::Rate), 1);
        assert_eq!(world.totals(), (3, 1));
    }
}

#[test]
fn a_function_without_a_rate_may_speak_of_its_own() {
    for way in Way::BOTH {
        let world = World::start();
        let _replica = world.hello(|mut conn: Conn| {
            conn.request();
            conn.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nRateLimit: \"mine\";r=9\r\n\r\n");
        });
        let reply = call(&world, way, "");
        assert_eq!(standing(&reply), (None, Some("\"mine\";r=9")), "{way:?}");
    }
}

#[test]
fn both_ways_count_for_one_caller_and_redeploys_do_not_begin_anew() {
    let world = World::start();
    let own =
        |text: &'static str| move |route: &mut Route| route.guard = rate(text, RateBy::Address);
    let _replica = world.hello_with(own("2/1h"), echo);
    assert_eq!(call(&world, Way::Lane, "").status, 200);
    let _replica = world.hello_with(own("2/1h"), echo);
    assert_eq!(call(&world, Way::Hyper, "").status, 200);
    let _replica = world.hello_with(own("2/1h"), echo);
    for way in Way::BOTH {
        assert_eq!(call(&world, way, "").status, 429, "{way:?}");
    }
    let _replica = world.hello_with(own("1/1h"), echo);
    assert_eq!(call(&world, Way::Lane, "").status, 200);
}

#[test]
fn a_header_can_tell_callers_apart() {
    for way in Way::BOTH {
        let world = World::start();
        let by = RateBy::Header("x-key".into());
        let _replica = world.hello_with(|route| route.guard = rate("1/1h", by), echo);
        for (fields, status) in [
            ("X-Key: a\n", 200),
            ("x-key: a\n", 429),
            ("X-Key: b\n", 200),
            ("X-Key: b\n", 429),
            ("", 200),
            ("", 429),
        ] {
            assert_eq!(call(&world, way, fields).status, status, "{way:?} {fields}");
        }
    }
}

#[test]
fn who_is_nobody_counts_by_address() {
    for way in Way::BOTH {
        let world = World::start();
        let guard = rate("1/1h", RateBy::Caller);
        let _replica = world.hello_with(|route| route.guard = guard, echo);
        let first = call(&world, way, "");
        assert_eq!(
            (first.status, first.field("ratelimit").is_some()),
            (200, true)
        );
        assert_eq!(call(&world, way, "").status, 429, "{way:?}");
    }
}

#[test]
fn a_server_has_a_rate_for_functions_without_one() {
    let world = World::with(|config| config.calls.rate = "1/1h".parse().ok());
    let _hello = world.hello(echo);
    let other = world.replica(echo);
    let replicas = world.function("other", |_| {});
    replicas.replace(vec![Arc::clone(&other.backend)]);
    assert_eq!(call(&world, Way::Lane, "").status, 200);
    assert_eq!(call(&world, Way::Hyper, "").status, 429);
    // Each function by itself.
    let other = "GET /function/other HTTP/1.1\nHost: h\n\n";
    assert_eq!(world.call(other).status, 200);
    assert_eq!(world.call(other).status, 429);
}

#[test]
fn refusals_of_runs_say_who_answers_and_pages_that_may_can_read_them() {
    let world = World::with(|config| {
        config.calls.runs = "1/1h".parse().ok();
        config.runs = RunFields {
            coord: Some("c1".parse().unwrap()),
            cors: Some(Cors::Origins(vec!["https://play.example.org".into()])),
        };
    });
    let run = |path: &str, origin: &str| {
        world.call(&format!(
            "POST {path} HTTP/1.1\nHost: h\nOrigin: https://{origin}\nContent-Length: 0\n\n"
        ))
    };
    let first = run("/run", "play.example.org");
    assert_eq!((first.status, first.field("coord")), (200, None));
    for path in ["/run", "/api/v2/execute"] {
        let refused = run(path, "play.example.org");
        assert_eq!((refused.status, refused.field("coord")), (429, Some("c1")));
        let readable = refused.field("access-control-allow-origin");
        assert_eq!(readable, Some("https://play.example.org"), "{path}");
        let other = run(path, "evil.example.org");
        assert_eq!((other.status, other.field("coord")), (429, Some("c1")));
        assert_eq!(other.field("access-control-allow-origin"), None);
        assert_eq!(other.field("vary"), Some("Origin"));
    }
}

#[test]
fn calls_for_later_count_and_preflights_do_not() {
    let world = World::start();
    let _replica = world.hello_with(
        |route| {
            route.guard = rate("2/1h", RateBy::Address);
            route.cors = Some(Cors::Any);
        },
        echo,
    );
    let preflight = "HTTP/1.1\nHost: h\nOrigin: http://a\nAccess-Control-Request-Method: POST\n\n";
    for path in ["/function/hello", "/async-function/hello"] {
        for _ in 0..5 {
            let reply = world.call(&format!("OPTIONS {path} {preflight}"));
            assert_eq!((reply.status, standing(&reply)), (204, (None, None)));
        }
    }
    let later =
        "POST /async-function/hello/x?q HTTP/1.1\nHost: h\nOrigin: http://a\nContent-Length: 0\n\n";
    let taken = world.call(later);
    assert!(
        taken
            .text()
            .starts_with("fallback /async-function/hello/x?q")
    );
    assert!(
        taken
            .field("ratelimit")
            .unwrap()
            .starts_with("\"default\";r=1;")
    );
    let exposed = taken.field("access-control-expose-headers").unwrap();
    assert!(exposed.contains("RateLimit, RateLimit-Policy, Retry-After"));
    assert_eq!(call(&world, Way::Hyper, "").status, 200);
    let refused = world.call(later);
    refused.assert_error(429, None, "takes 2/1h calls");
    assert_eq!(refused.field("access-control-allow-origin"), Some("*"));
    // The later call itself was counted when it was taken.
    let mut inside = world.dial();
    inside
        .write_all(b"POST /function/hello HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
        .unwrap();
    let mut answer = [0; 12];
    inside.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

/// A function whose answers end when the test says so, and what it says that by.
fn held(
    world: &World,
) -> (
    crate::harness::Replica,
    mpsc::Sender<()>,
    mpsc::Receiver<()>,
) {
    let (go, gone) = mpsc::channel();
    let (begun, begins) = mpsc::channel();
    let gone = std::sync::Mutex::new(gone);
    let replica = world.hello(move |mut conn: Conn| {
        while conn.request().is_some() {
            begun.send(()).unwrap();
            conn.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n12");
            gone.lock().unwrap().recv().ok();
            if !conn.write("34") {
                return;
            }
        }
    });
    (replica, go, begins)
}

#[test]
fn the_brake_holds_while_calls_are_under_way() {
    for way in Way::BOTH {
        let world = World::with(|config| config.calls.calls = 1);
        let (_replica, go, begins) = held(&world);
        let mut first = world.connect();
        let field = way.field().replace('\n', "\r\n");
        first.send(format!(
            "GET /function/hello HTTP/1.1\r\nHost: h\r\n{field}\r\n"
        ));
        begins.recv().unwrap();
        for other in Way::BOTH {
            let reply = call(&world, other, "");
            reply.assert_error(503, None, "as many calls under way as it takes");
            assert_eq!(reply.field("retry-after"), Some("1"), "{way:?} {other:?}");
        }
        assert_eq!(refused(&world, Refusal::Brake), 2);
        // What is no call of a function is not held.
        let health = world.call("GET /healthz HTTP/1.1\nHost: h\n\n");
        assert!(health.text().starts_with("fallback"));
        go.send(()).unwrap();
        assert_eq!(first.reply("GET").unwrap().text(), "1234");
        // Its place was free before its last byte was here.
        go.send(()).unwrap();
        assert_eq!(call(&world, way, "").text(), "1234", "{way:?}");
        begins.recv().unwrap();
    }
}

#[test]
fn a_caller_who_leaves_gives_its_place_back() {
    for way in Way::BOTH {
        let world = World::with(|config| config.calls.calls = 1);
        let (_replica, go, begins) = held(&world);
        let mut first = world.connect();
        let field = way.field().replace('\n', "\r\n");
        first.send(format!(
            "GET /function/hello HTTP/1.1\r\nHost: h\r\n{field}\r\n"
        ));
        begins.recv().unwrap();
        drop(first);
        for _ in 0..2 {
            go.send(()).unwrap();
        }
        eventually!(call(&world, way, "").status == 200);
    }
}

#[test]
fn a_function_is_told_how_deep_its_call_is() {
    for way in Way::BOTH {
        let world = World::start();
        let (seen, script) = recorder();
        let _replica = world.hello(script);
        for (fields, told) in [
            ("", "1"),
            ("X-Hob-Depth: 1\n", "2"),
            ("x-hob-depth: 15\nX_Hob_Depth: 9\n", "16"),
            ("X-Hob-Depth: 3\nX-Hob-Depth: 2\n", "4"),
        ] {
            assert_eq!(call(&world, way, fields).status, 200, "{way:?} {fields}");
            let request = seen.lock().unwrap().pop().unwrap();
            let depth = request.fields.iter();
            let depth =
                depth.filter(|(name, _)| name.to_lowercase().replace('_', "-") == "x-hob-depth");
            let depth: Vec<_> = depth.map(|(_, value)| value.as_str()).collect();
            assert_eq!(depth, [told], "{way:?} {fields}");
        }
        for fields in [
            "X-Hob-Depth: 16\n",
            "X-Hob-Depth: 99999999999999999999\n",
            "X-Hob-Depth: 1\nX-Hob-Depth: 16\n",
        ] {
            let reply = call(&world, way, fields);
            reply.assert_error(508, None, "call number 17 in a chain of functions");
        }
        for fields in ["X-Hob-Depth: deep\n", "X-Hob-Depth:\n", "X-Hob-Depth: -1\n"] {
            call(&world, way, fields).assert_error(400, None, "`X-Hob-Depth` has to be a number");
        }
        assert_eq!(refused(&world, Refusal::Depth), 6);
        assert!(seen.lock().unwrap().is_empty());
    }
}

#[test]
fn a_later_call_is_as_deep_as_it_was_taken() {
    let world = World::with(|config| config.calls.depth = 3);
    let (seen, script) = recorder();
    let _replica = world.hello(script);
    let later = |depth: &str| {
        world.call(&format!(
            "POST /async-function/hello HTTP/1.1\nHost: h\n{depth}Content-Length: 0\n\n"
        ))
    };
    assert_eq!(later("X-Hob-Depth: 2\n").status, 200);
    later("X-Hob-Depth: 3\n").assert_error(508, None, "3 is the most");
    for (field, told) in [("X-Hob-Depth: 7\r\n", "7"), ("", "1")] {
        let mut inside = world.dial();
        let head = format!("POST /function/hello HTTP/1.1\r\nHost: h\r\n{field}\r\n");
        inside.write_all(head.as_bytes()).unwrap();
        inside.read_exact(&mut [0; 12]).unwrap();
        let request = seen.lock().unwrap().pop().unwrap();
        assert_eq!(request.field("x-hob-depth"), Some(told));
    }
}

use std::{
    io::{Read, Write},
    time::Instant,
};

use crate::harness::{Conn, World, echo, recorder};

#[test]
fn trailers_say_nothing_that_only_hob_may_say() {
    let world = World::start();
    let (seen, script) = recorder();
    let _replica = world.hello(script);
    let reply = world.call(
        "POST /function/hello HTTP/1.1\nHost: h\nTransfer-Encoding: chunked\nTrailer: X-Sum, X-Hob-Caller, X-Forwarded-For, X_Forwarded_Host\n\n2\nhi\n0\nX-Sum: 1\nX-Hob-Caller: root\nX_Hob_Auth: jwt\nX-Forwarded-For: 1.2.3.4\nX_Forwarded_Host: evil\n\n",
    );
    assert_eq!(reply.status, 200);
    let request = seen.lock().unwrap().pop().unwrap();
    assert_eq!(request.trailers, [("X-Sum".to_owned(), "1".to_owned())]);
}

#[test]
fn the_prefix_is_cut_and_the_rest_passes_byte_for_byte() {
    let world = World::start();
    let _replica = world.hello(echo);
    for (path, seen) in [
        ("/function/hello", "/"),
        ("/function/hello/", "/"),
        ("/function/hello.openfaas-fn/a", "/a"),
        ("/function/hello?x=1&y=%20", "/?x=1&y=%20"),
        (
            "/function/hello/a/../b//c/%2e%2e/./d?q=a/b?c",
            "/a/../b//c/%2e%2e/./d?q=a/b?c",
        ),
    ] {
        let reply = world.call(&format!("GET {path} HTTP/1.1\nHost: h\n\n"));
        assert_eq!(reply.text(), format!("GET {seen} HTTP/1.1|"));
    }
}

#[test]
fn every_method_passes() {
    let world = World::start();
    let _replica = world.hello(echo);
    let mut client = world.connect();
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"] {
        let reply = client.call(&format!(
            "{method} /function/hello HTTP/1.1\nHost: h\nContent-Length: 2\n\nhi"
        ));
        assert_eq!(reply.text(), format!("{method} / HTTP/1.1|hi"));
    }
}

#[test]
fn a_call_from_inside_keeps_its_callers_name() {
    let world = World::start();
    let (seen, record) = recorder();
    let _replica = world.hello(record);
    let mut stream = world.dial();
    let request = "POST /function/hello/late HTTP/1.1\r\nHost: h\r\nX-Call-Id: 7\r\n\
        X-Forwarded-For: 192.0.2.7\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.contains("X-Call-Id: 7"), "{answer}");
    let seen = seen.lock().unwrap();
    let [request] = seen.as_slice() else {
        panic!("{} requests", seen.len());
    };
    assert_eq!(request.line, "POST /late HTTP/1.1");
    assert_eq!(request.field("x-forwarded-for"), Some("192.0.2.7"));
}

#[test]
fn unknown_functions_are_404_and_other_paths_are_the_fallbacks() {
    let world = World::start();
    for path in [
        "/function/",
        "/function/nope",
        "/function/nope.ns/x",
        "/function//x",
        "/function/.openfaas-fn",
    ] {
        let reply = world.call(&format!("GET {path} HTTP/1.1\nHost: h\n\n"));
        reply.assert_error(404, None, "does not exist");
        assert!(reply.field("x-call-id").is_some());
    }
    let reply = world.call("GET /function/nope HTTP/1.1\nHost: h\n\n");
    assert!(reply.text().starts_with("function `nope` "));
    for path in ["/", "/function", "/hob/v1/status?x=1"] {
        let reply = world.call(&format!("GET {path} HTTP/1.1\nHost: h\n\n"));
        assert_eq!(reply.text(), format!("fallback {path} 127.0.0.1"));
    }
}

#[test]
fn a_replica_sees_whose_call_it_is_and_no_field_of_the_hop() {
    let world = World::start();
    let (seen, script) = recorder();
    let _replica = world.hello(script);
    let reply = world.call(
        "POST /function/hello HTTP/1.1\nHost: shop.example\nX-Call-Id: mine-1\n\
         X-Forwarded-For: 10.9.8.7\nConnection: keep-alive, X-Secret\nX-Secret: 1\n\
         Keep-Alive: timeout=9\nProxy-Connection: x\nProxy-Authorization: x\nTE: gzip\n\
         Upgrade: h2c\nCookie: a=1\nX-Kept: yes\nContent-Length: 2\n\nhi",
    );
    let request = seen.lock().unwrap()[0].clone();
    assert_eq!(request.field("host"), Some("shop.example"));
    assert_eq!(request.field("x-forwarded-host"), Some("shop.example"));
    assert_eq!(
        request.field("x-forwarded-for"),
        Some("10.9.8.7, 127.0.0.1")
    );
    assert_eq!(request.field("x-forwarded-proto"), Some("http"));
    assert_eq!(request.field("x-kept"), Some("yes"));
    assert_eq!(request.field("cookie"), Some("a=1"));
    assert_eq!(request.field("x-call-id"), Some("mine-1"));
    assert_eq!(reply.field("x-call-id"), Some("mine-1"));
    assert_eq!(request.field("x-start-time"), reply.field("x-start-time"));
    let hop = [
        "connection",
        "x-secret",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "te",
        "upgrade",
        "transfer-encoding",
        "expect",
    ];
    for name in request.names() {
        assert!(!hop.contains(&name.as_str()), "{name} passed");
    }
}

#[test]
fn an_answer_carries_its_receipt() {
    let world = World::start();
    let _replica = world.hello(|mut conn: Conn| {
        while conn.request().is_some() {
            conn.write(
                "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nConnection: X-Mine\r\nX-Mine: 1\r\n\
                 Keep-Alive: timeout=5\r\nX-Hob-End: fake\r\nContent-Length: 0\r\n\r\n",
            );
        }
    });
    let reply = world.call("GET /function/hello HTTP/1.1\nHost: h\n\n");
    assert_eq!(reply.status, 302, "redirects are the caller's to follow");
    assert_eq!(reply.field("location"), Some("/elsewhere"));
    assert_eq!(reply.field("x-mine"), None);
    assert_eq!(reply.field("keep-alive"), None);
    assert_eq!(reply.field("x-hob-end"), None);
    assert_eq!(reply.field("content-type"), None);
    assert_eq!(reply.field("x-call-id").map(str::len), Some(36));
    assert!(reply.field("x-start-time").unwrap().parse::<u64>().unwrap() > 1 << 60);
    let timing = reply.field("server-timing").unwrap();
    for part in ["queue;dur=0.", "wake;dur=0.000", "run;dur="] {
        assert!(timing.contains(part), "{timing}");
    }
    let names: Vec<_> = reply.fields.iter().map(|(name, _)| name.as_str()).collect();
    assert!(
        names.contains(&"X-Call-Id") && names.contains(&"Server-Timing"),
        "{names:?}"
    );
}

#[test]
fn a_bad_call_id_is_replaced() {
    let world = World::start();
    let (seen, script) = recorder();
    let _replica = world.hello(script);
    for bad in ["a b", "", &"x".repeat(129), "\u{e9}"] {
        let reply = world.call(&format!(
            "GET /function/hello HTTP/1.1\nHost: h\nX-Call-Id: {bad}\n\n"
        ));
        assert_eq!(reply.field("x-call-id").map(str::len), Some(36));
        let request = seen.lock().unwrap().pop().unwrap();
        assert_eq!(request.field("x-call-id"), reply.field("x-call-id"));
    }
}

#[test]
fn connections_are_kept_on_both_sides() {
    let world = World::with(|config| config.threads = 1);
    let replica = world.hello(echo);
    let mut client = world.connect();
    for _ in 0..20 {
        assert_eq!(
            client
                .call("GET /function/hello HTTP/1.1\nHost: h\n\n")
                .status,
            200
        );
    }
    assert_eq!(
        world
            .call("GET /function/hello HTTP/1.1\nHost: h\n\n")
            .status,
        200
    );
    assert_eq!(replica.accepted(), 1);
    assert_eq!(replica.backend.in_flight(), 0);
    assert_eq!(world.totals(), (21, 0));
}

#[test]
fn a_connection_that_the_replica_closed_is_not_used_again() {
    let world = World::with(|config| config.threads = 1);
    let replica = world.hello(|mut conn: Conn| {
        // One answer, with no word of closing.
        conn.request();
        conn.answer("once");
    });
    let mut client = world.connect();
    for round in 1..=20 {
        let reply = client.call("POST /function/hello HTTP/1.1\nHost: h\nContent-Length: 2\n\nhi");
        assert_eq!(
            (reply.status, reply.text().as_str()),
            (200, "once"),
            "round {round}"
        );
        assert_eq!(replica.accepted(), round);
    }
}

#[test]
fn calls_spread_over_replicas() {
    let world = World::with(|config| config.threads = 1);
    let replicas = world.function("hello", |_| {});
    let (one, two) = (world.replica(echo), world.replica(echo));
    replicas.replace(vec![one.backend.clone(), two.backend.clone()]);
    // At random, where both have the same: often enough for each to be chosen.
    for _ in 0..64 {
        world.call("GET /function/hello HTTP/1.1\nHost: h\n\n");
    }
    assert_eq!((one.accepted(), two.accepted()), (1, 1));
}

#[test]
fn a_replica_over_tcp_is_reached() {
    let world = World::start();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = hob_model::Endpoint::Tcp(listener.local_addr().unwrap());
    let id = hob_model::ReplicaId("tcp".into());
    let replicas = world.function("hello", |_| {});
    replicas.replace(vec![std::sync::Arc::new(hob_model::Backend::new(
        id, endpoint,
    ))]);
    let replica = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]).unwrap();
        std::io::Write::write_all(
            &mut stream,
            b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ntcp",
        )
        .unwrap();
    });
    let reply = world.call("GET /function/hello HTTP/1.1\nHost: h\n\n");
    assert_eq!(reply.text(), "tcp");
    replica.join().unwrap();
}

#[test]
fn timing_tells_where_the_time_went() {
    let world = World::start();
    let _replica = world.hello(|mut conn: Conn| {
        conn.request();
        let begun = Instant::now();
        while begun.elapsed().as_millis() < 30 {
            std::thread::yield_now();
        }
        conn.answer("slow");
    });
    let reply = world.call("GET /function/hello HTTP/1.1\nHost: h\n\n");
    let timing = reply.field("server-timing").unwrap();
    let run = timing.rsplit_once("run;dur=").unwrap().1;
    assert!(run.parse::<f64>().unwrap() >= 29.0, "{timing}");
}

use std::{
    fs,
    io::{Read, Write},
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use crate::harness::{Conn, World, echo, recorder};

/// Enough to show a body that is kept, small enough for a quick test.
const LARGE: usize = 256 << 20;
const PIECE: usize = 1 << 20;
/// What sockets, buffers and the test itself may take meanwhile.
const FLAT: u64 = 48 << 20;

fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kib = line.split_whitespace().nth(1).unwrap();
    kib.parse::<u64>().unwrap() << 10
}

#[test]
fn large_bodies_pass_both_ways_at_flat_memory() {
    let world = World::start();
    let received = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&received);
    let _replica = world.hello(move |mut conn: Conn| {
        conn.head();
        let mut piece = vec![0; PIECE];
        let mut left = LARGE;
        while left > 0 {
            let read = conn.stream.read(&mut piece).unwrap();
            assert!(read > 0);
            left -= read;
            count.fetch_add(read as u64, Ordering::SeqCst);
        }
        conn.write(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n"
        ));
        for _ in 0..LARGE / PIECE {
            conn.write(&piece);
        }
    });
    let before = resident();
    let mut client = world.connect();
    client.send(format!(
        "POST /function/hello HTTP/1.1\r\nHost: h\r\nContent-Length: {LARGE}\r\n\r\n"
    ));
    let mut piece = vec![7; PIECE];
    for _ in 0..LARGE / PIECE {
        client.send(&piece);
    }
    assert_eq!(client.head().unwrap().status, 200);
    assert_eq!(received.load(Ordering::SeqCst), LARGE as u64);
    let mut left = LARGE;
    while left > 0 {
        let read = client.stream.read(&mut piece).unwrap();
        assert!(read > 0);
        left -= read;
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < FLAT, "grew by {} MiB", grown >> 20);
}

#[test]
fn a_replica_that_does_not_read_holds_the_caller_back() {
    let world = World::start();
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let _replica = world.hello(move |mut conn: Conn| {
        conn.head();
        gate.lock().unwrap().recv().unwrap();
        let mut sink = vec![0; PIECE];
        let mut left = LARGE;
        while left > 0 {
            left -= conn.stream.read(&mut sink).unwrap();
        }
        conn.answer("all");
    });
    let mut client = world.connect();
    client.send(format!(
        "POST /function/hello HTTP/1.1\r\nHost: h\r\nContent-Length: {LARGE}\r\n\r\n"
    ));
    let sent = Arc::new(AtomicU64::new(0));
    let (count, mut stream) = (
        Arc::clone(&sent),
        client.stream.get_ref().try_clone().unwrap(),
    );
    let sender = thread::spawn(move || {
        for _ in 0..LARGE / PIECE {
            stream.write_all(&vec![7; PIECE]).unwrap();
            count.fetch_add(PIECE as u64, Ordering::SeqCst);
        }
    });
    // Buffers fill, and then nothing moves.
    let mut seen = (u64::MAX, 0);
    eventually!({
        let now = sent.load(Ordering::SeqCst);
        seen = if now == seen.0 {
            (now, seen.1 + 1)
        } else {
            (now, 0)
        };
        now > 0 && seen.1 > 50
    });
    assert!(
        seen.0 < LARGE as u64 / 2,
        "{} MiB went nowhere",
        seen.0 >> 20
    );
    go.send(()).unwrap();
    sender.join().unwrap();
    assert_eq!(client.reply("POST").unwrap().text(), "all");
}

#[test]
fn chunked_bodies_and_trailers_pass_both_ways() {
    let world = World::start();
    let (seen, _) = recorder();
    let notes = Arc::clone(&seen);
    let _replica = world.hello(move |mut conn: Conn| {
        notes.lock().unwrap().push(conn.request().unwrap());
        conn.write(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
             3\r\nabc\r\n0\r\nX-Sum: 9\r\n\r\n",
        );
    });
    let reply = world.call(
        "POST /function/hello HTTP/1.1\nHost: h\nTE: trailers\nTrailer: X-Hash\n\
         Transfer-Encoding: chunked\n\n5\nhello\n6\n world\n0\nX-Hash: 7\n\n",
    );
    assert_eq!(reply.text(), "abc");
    assert_eq!(reply.trailers.len(), 1);
    assert_eq!(reply.trailers[0].1, "9");
    let request = seen.lock().unwrap()[0].clone();
    assert_eq!(request.body, b"hello world");
    assert_eq!(request.field("te"), Some("trailers"));
    assert_eq!(request.field("content-length"), None);
    assert_eq!(request.trailers.len(), 1);
    assert_eq!(request.trailers[0].1, "7");
}

#[test]
fn the_body_of_a_get_passes() {
    let world = World::start();
    let _replica = world.hello(echo);
    let call = "GET /function/hello HTTP/1.1\nHost: h\nTransfer-Encoding: chunked\n\n2\nhi\n0\n\n";
    assert_eq!(world.call(call).text(), "GET / HTTP/1.1|hi");
}

#[test]
fn answers_without_a_body_stay_so() {
    let world = World::with(|config| config.threads = 1);
    let replica = world.hello(|mut conn: Conn| {
        while let Some(request) = conn.request() {
            conn.write(match request.line.split(' ').nth(1).unwrap() {
                "/204" => "HTTP/1.1 204 No Content\r\n\r\n",
                "/304" => "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\nContent-Length: 9\r\n\r\n",
                _ => "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            });
        }
    });
    let mut client = world.connect();
    let reply = client.call("GET /function/hello/204 HTTP/1.1\nHost: h\n\n");
    assert_eq!(
        (reply.status, reply.field("transfer-encoding")),
        (204, None)
    );
    let reply = client.call("GET /function/hello/304 HTTP/1.1\nHost: h\n\n");
    assert_eq!((reply.status, reply.field("etag")), (304, Some("\"1\"")));
    let reply = client.call("HEAD /function/hello/ HTTP/1.1\nHost: h\n\n");
    assert_eq!(
        (reply.status, reply.field("content-length")),
        (200, Some("5"))
    );
    // The connection is still in step.
    assert_eq!(
        client
            .call("GET /function/hello/204 HTTP/1.1\nHost: h\n\n")
            .status,
        204
    );
    assert_eq!(replica.accepted(), 1);
}

#[test]
fn events_arrive_as_they_are_sent() {
    let world = World::start();
    let (next, events) = std::sync::mpsc::channel::<&str>();
    let events = std::sync::Mutex::new(events);
    let _replica = world.hello(move |mut conn: Conn| {
        conn.request();
        conn.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
        for event in events.lock().unwrap().iter() {
            conn.write(format!("data: {event}\n\n"));
        }
    });
    let mut client = world.connect();
    client.send("GET /function/hello HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\r\n");
    let head = client.head().unwrap();
    assert_eq!(head.field("content-type"), Some("text/event-stream"));
    for event in ["one", "two", "three"] {
        next.send(event).unwrap();
        let mut chunk = vec![0; event.len() + 8];
        let size = format!("{:X}\r\n", chunk.len());
        let mut got = vec![0; size.len()];
        client.stream.read_exact(&mut got).unwrap();
        assert_eq!(String::from_utf8(got).unwrap(), size);
        client.stream.read_exact(&mut chunk).unwrap();
        assert_eq!(
            String::from_utf8(chunk).unwrap(),
            format!("data: {event}\n\n")
        );
        client.stream.read_exact(&mut [0; 2]).unwrap();
    }
    drop(next);
    let mut end = [0; 5];
    client.stream.read_exact(&mut end).unwrap();
    assert_eq!(&end, b"0\r\n\r\n");
}

#[test]
fn a_body_over_the_limit_is_a_413() {
    let world = World::start();
    let (seen, script) = recorder();
    let replica = world.hello_with(|route| route.body_limit = 10, script);
    let call = "POST /function/hello HTTP/1.1\nHost: h\nContent-Length: 10\n\n0123456789";
    assert_eq!(world.call(call).status, 200);
    assert_eq!(seen.lock().unwrap().len(), 1);

    // Said beforehand: refused before the replica hears of it.
    let mut client = world.connect();
    client.send("POST /function/hello HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n");
    let reply = client.reply("POST").unwrap();
    reply.assert_error(413, None, "bodies of at most 10 bytes");
    assert_eq!(seen.lock().unwrap().len(), 1);

    // Found out on the way: the replica's request never ends.
    let mut client = world.connect();
    client.send("POST /function/hello HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send("8\r\n01234567\r\n");
    client.send("3\r\nabc\r\n");
    let reply = client.reply("POST").unwrap();
    reply.assert_error(413, None, "bodies of at most 10 bytes");
    assert_eq!(seen.lock().unwrap().len(), 1);
    eventually!(replica.backend.in_flight() == 0);
    assert_eq!(world.totals(), (3, 2));
}

#[test]
fn a_413_is_readable_by_a_caller_that_keeps_sending() {
    let world = World::start();
    let _replica = world.hello_with(|route| route.body_limit = 10, echo);
    let mut client = world.connect();
    client.send("POST /function/hello HTTP/1.1\r\nHost: h\r\nContent-Length: 8000000\r\n\r\n");
    let mut stream = client.stream.get_ref().try_clone().unwrap();
    let sender = thread::spawn(move || stream.write_all(&vec![1; 8_000_000]).is_ok());
    let reply = client.reply("POST").unwrap();
    reply.assert_error(413, None, "at most 10 bytes");
    drop(client);
    let _ = sender.join();
}

#[test]
fn a_caller_that_asks_first_is_told_to_go_on() {
    let world = World::start();
    let (seen, script) = recorder();
    let _replica = world.hello_with(|route| route.body_limit = 10, script);
    let mut client = world.connect();
    client.send(
        "POST /function/hello HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
    );
    assert_eq!(client.head().unwrap().status, 100);
    client.send("hi");
    assert_eq!(client.reply("POST").unwrap().status, 200);
    let request = seen.lock().unwrap()[0].clone();
    assert_eq!(
        (request.field("expect"), request.body.as_slice()),
        (None, &b"hi"[..])
    );
    // And not, when it would be in vain.
    let reply = world.call(
        "POST /function/hello HTTP/1.1\nHost: h\nExpect: 100-continue\nContent-Length: 11\n\n",
    );
    assert_eq!(reply.status, 413);
}

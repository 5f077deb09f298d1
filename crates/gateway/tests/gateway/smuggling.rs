use std::{
    io::{Read, Write},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use crate::harness::{Conn, PATIENCE, World, echo};

/// A request that must never reach a replica, hidden in another's bytes.
const SMUGGLED: &str = "GET /function/hello/smuggled HTTP/1.1\r\nHost: h\r\n\r\n";

/// Sends bytes as they are, and returns the first answer's status (0 for none), whether the
/// connection was closed after, and all that the replica got.
fn probe(bytes: &[u8]) -> (u16, bool, String) {
    let world = World::with(|config| config.threads = 1);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&seen);
    let replica = world.hello(move |mut conn: Conn| {
        while let Some(request) = conn.request() {
            let text = format!(
                "{} {:?} {}",
                request.line,
                request.fields,
                String::from_utf8_lossy(&request.body)
            );
            notes.lock().unwrap().push(text);
            conn.answer("ok");
        }
    });
    let mut client = world.connect();
    client.send(bytes);
    let status = client.reply("POST").map_or(0, |reply| reply.status);
    client
        .stream
        .get_ref()
        .shutdown(std::net::Shutdown::Write)
        .unwrap();
    let mut rest = Vec::new();
    let closed = client.stream.read_to_end(&mut rest).is_ok() && rest.is_empty();
    eventually!(replica.backend.in_flight() == 0);
    let seen = seen.lock().unwrap().join("\n");
    (status, closed, seen)
}

#[test]
fn the_first_request_of_a_connection_outside_the_lane_is_read_as_closely() {
    let world = World::with(|config| config.head_timeout = Duration::from_millis(200));
    let _replica = world.hello(echo);
    let both = "POST /function/hello HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let mut inside = world.dial();
    inside.write_all(both.as_bytes()).unwrap();
    let mut answer = String::new();
    inside.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    // And half a head is not waited for longer than any.
    let mut inside = world.dial();
    inside.write_all(&both.as_bytes()[..20]).unwrap();
    let begun = Instant::now();
    assert_eq!(inside.read(&mut [0]).unwrap(), 0);
    assert!(begun.elapsed() < PATIENCE);
}

#[test]
fn shapes_that_two_readers_could_read_differently_are_refused() {
    let post = "POST /function/hello HTTP/1.1\r\nHost: h\r\n";
    let cases: Vec<(&str, String)> = vec![
        (
            "two lengths",
            format!("{post}Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde{SMUGGLED}"),
        ),
        (
            "a list of lengths",
            format!("{post}Content-Length: 4, 5\r\n\r\nabcde{SMUGGLED}"),
        ),
        (
            "a signed length",
            format!("{post}Content-Length: +5\r\n\r\nabcde{SMUGGLED}"),
        ),
        (
            "a negative length",
            format!("{post}Content-Length: -5\r\n\r\n{SMUGGLED}"),
        ),
        (
            "a hex length",
            format!("{post}Content-Length: 0x5\r\n\r\nabcde{SMUGGLED}"),
        ),
        (
            "an empty length",
            format!("{post}Content-Length: \r\n\r\n{SMUGGLED}"),
        ),
        (
            "a huge length",
            format!("{post}Content-Length: 99999999999999999999\r\n\r\n{SMUGGLED}"),
        ),
        (
            "length, then coding",
            format!(
                "{post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"
            ),
        ),
        (
            "coding, then length",
            format!(
                "{post}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{SMUGGLED}"
            ),
        ),
        (
            "coding twice",
            format!(
                "{post}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"
            ),
        ),
        (
            "coding not last",
            format!("{post}Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n{SMUGGLED}"),
        ),
        (
            "other coding first",
            format!("{post}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"),
        ),
        (
            "unknown coding",
            format!("{post}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{SMUGGLED}"),
        ),
        (
            "identity",
            format!("{post}Transfer-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc{SMUGGLED}"),
        ),
        (
            "coding in 1.0",
            format!(
                "POST /function/hello HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"
            ),
        ),
        (
            "space before the colon",
            format!("{post}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"),
        ),
        (
            "space before the name",
            format!("POST /function/hello HTTP/1.1\r\n Host: h\r\n\r\n{SMUGGLED}"),
        ),
        (
            "a folded line",
            format!("{post}X-A: 1\r\n Transfer-Encoding: chunked\r\n\r\n{SMUGGLED}"),
        ),
        (
            "a folded coding",
            format!("{post}Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"),
        ),
        (
            "a bare CR in a value",
            format!("{post}X-A: 1\rTransfer-Encoding: chunked\r\n\r\n{SMUGGLED}"),
        ),
        (
            "a NUL in a value",
            format!("{post}X-A: 1\x002\r\n\r\n{SMUGGLED}"),
        ),
        ("no name", format!("{post}: 1\r\n\r\n{SMUGGLED}")),
        ("no colon", format!("{post}X-A\r\n\r\n{SMUGGLED}")),
        ("two hosts", format!("{post}Host: g\r\n\r\n{SMUGGLED}")),
        (
            "no host",
            format!("POST /function/hello HTTP/1.1\r\n\r\n{SMUGGLED}"),
        ),
        (
            "another host in the address",
            format!("POST http://g/function/hello HTTP/1.1\r\nHost: h\r\n\r\n{SMUGGLED}"),
        ),
        (
            "CONNECT",
            format!("CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n{SMUGGLED}"),
        ),
        (
            "a method with a space",
            format!("PO ST /function/hello HTTP/1.1\r\nHost: h\r\n\r\n{SMUGGLED}"),
        ),
        (
            "a method in brackets",
            format!("(GET) /function/hello HTTP/1.1\r\nHost: h\r\n\r\n{SMUGGLED}"),
        ),
        (
            "a space in the path",
            format!("GET /function/hello/a b HTTP/1.1\r\nHost: h\r\n\r\n{SMUGGLED}"),
        ),
        (
            "a tab in the request line",
            format!("GET\t/function/hello HTTP/1.1\r\nHost: h\r\n\r\n{SMUGGLED}"),
        ),
        (
            "HTTP/1.2",
            format!("GET /function/hello HTTP/1.2\r\nHost: h\r\n\r\n{SMUGGLED}"),
        ),
        ("HTTP/0.9", format!("GET /function/hello\r\n\r\n{SMUGGLED}")),
    ];
    for (name, bytes) in cases {
        let (status, closed, seen) = probe(bytes.as_bytes());
        assert_eq!(status, 400, "{name}");
        assert!(closed, "{name}: the connection goes on");
        assert_eq!(seen, "", "{name}");
    }
}

#[test]
fn broken_chunks_never_make_a_whole_request() {
    let head = "POST /function/hello HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (name, body) in [
        ("no number", "x\r\nabc\r\n0\r\n\r\n"),
        ("negative", "-1\r\nabc\r\n0\r\n\r\n"),
        ("prefixed", "0x3\r\nabc\r\n0\r\n\r\n"),
        ("too large", "fffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
        ("space before", " 3\r\nabc\r\n0\r\n\r\n"),
        ("shorter than said", "2\r\nabc\r\n0\r\n\r\n"),
        ("longer than said", "4\r\nabc\r\n0\r\n\r\n"),
        ("bare LF after the size", "3\nabc\r\n0\r\n\r\n"),
        ("bare LF after the data", "3\r\nabc\n0\r\n\r\n"),
        ("bare CR after the size", "3\rabc\r\n0\r\n\r\n"),
        ("line break in an extension", "3;a\nb\r\nabc\r\n0\r\n\r\n"),
        ("cut short", "3\r\nab"),
    ] {
        let (status, closed, seen) = probe(format!("{head}{body}{SMUGGLED}").as_bytes());
        assert!(status == 400 || status == 0, "{name}: {status}");
        assert!(closed, "{name}: the connection goes on");
        assert_eq!(seen, "", "{name}");
    }
}

#[test]
fn what_is_allowed_still_passes() {
    let cases: [(&str, &str); 7] = [
        (
            "two equal lengths",
            "POST /function/hello HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
        ),
        (
            "upper case coding",
            "POST /function/hello HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        ),
        (
            "chunk extension",
            "POST /function/hello HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nhi\r\n0\r\n\r\n",
        ),
        (
            "absolute form",
            "POST http://H/function/hello HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi",
        ),
        (
            "empty lines first",
            "\r\n\r\nPOST /function/hello HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi",
        ),
        (
            "a length in the body",
            "POST /function/hello HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n15\r\nhi\r\nContent-Length: 2\r\n0\r\n\r\n",
        ),
        (
            "an empty host",
            "POST /function/hello HTTP/1.1\r\nHost:\r\nContent-Length: 2\r\n\r\nhi",
        ),
    ];
    for (name, bytes) in cases {
        let (status, _, seen) = probe(bytes.as_bytes());
        assert_eq!(status, 200, "{name}");
        assert!(seen.contains("hi"), "{name}: {seen}");
        let lower = seen.to_lowercase();
        assert!(
            !(lower.contains("content-length\", ") && lower.contains("transfer-encoding\", ")),
            "{name}: {seen}"
        );
    }
}

#[test]
fn a_length_in_one_body_does_not_spoil_the_next_request() {
    let world = World::start();
    let _replica = world.hello(crate::harness::echo);
    let mut client = world.connect();
    let part = "--x\r\nContent-Length: 3\r\n\r\nabc\r\n";
    for _ in 0..3 {
        client.send(format!(
            "POST /function/hello HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{part}",
            part.len()
        ));
        assert_eq!(client.reply("POST").unwrap().status, 200);
        client
            .send("POST /function/hello HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
        client.send(format!("{:x}\r\n{part}\r\n0\r\n\r\n", part.len()));
        assert_eq!(client.reply("POST").unwrap().status, 200);
    }
}

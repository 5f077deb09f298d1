use std::io::{Read, Write};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::harness::{Conn, World, echo, recorder};

pub(crate) type Sender = hyper::client::conn::http2::SendRequest<Full<Bytes>>;

pub(crate) async fn h2c(world: &World) -> Sender {
    let stream = tokio::net::TcpStream::connect(world.address).await.unwrap();
    let io = TokioIo::new(stream);
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (sender, connection) = builder.handshake(io).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn post(path: &str, body: &'static str) -> http::Request<Full<Bytes>> {
    let uri = format!("http://shop.example{path}");
    let request = http::Request::post(uri)
        .header("cookie", "a=1")
        .header("cookie", "b=2");
    request
        .body(Full::new(Bytes::from_static(body.as_bytes())))
        .unwrap()
}

#[tokio::test]
async fn http2_with_prior_knowledge() {
    let world = World::start();
    let (seen, script) = recorder();
    let _replica = world.hello(script);
    let mut sender = h2c(&world).await;
    let answer = sender
        .send_request(post("/function/hello/a?b", "hi"))
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.headers().contains_key("x-call-id"));
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ok");
    let request = seen.lock().unwrap()[0].clone();
    assert_eq!(request.line, "POST /a?b HTTP/1.1");
    assert_eq!(request.body, b"hi");
    assert_eq!(request.field("host"), Some("shop.example"));
    assert_eq!(request.field("cookie"), Some("a=1; b=2"));
}

#[tokio::test]
async fn http2_calls_run_side_by_side() {
    let world = World::start();
    let replica = world.hello(|mut conn: Conn| {
        conn.request();
        conn.request();
    });
    let mut sender = h2c(&world).await;
    let slow: Vec<_> = (0..3)
        .map(|_| tokio::spawn(sender.send_request(post("/function/hello", ""))))
        .collect();
    while replica.backend.in_flight() < 3 {
        tokio::task::yield_now().await;
    }
    let answer = sender
        .send_request(post("/function/nope", ""))
        .await
        .unwrap();
    assert_eq!(answer.status(), 404);
    // A stream that is reset frees its replica; the connection lives on.
    for call in slow {
        call.abort();
    }
    while replica.backend.in_flight() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        sender
            .send_request(post("/other", ""))
            .await
            .unwrap()
            .status(),
        200
    );
}

#[tokio::test]
async fn http2_answers_past_their_deadline_are_reset() {
    let world = World::start();
    let _replica = world.hello_with(
        |route| route.timeout = hob_model::Timespan(std::time::Duration::from_millis(700)),
        |mut conn: Conn| {
            conn.request();
            conn.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello");
            conn.request();
        },
    );
    let mut sender = h2c(&world).await;
    let answer = sender
        .send_request(post("/function/hello", ""))
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.into_body().collect().await.is_err());
    assert_eq!(world.wake.condemned().len(), 1);
    assert_eq!(
        sender
            .send_request(post("/other", ""))
            .await
            .unwrap()
            .status(),
        200
    );
}

#[test]
fn http1_0_is_served() {
    let world = World::start();
    let (seen, script) = recorder();
    let _replica = world.hello(script);
    let mut client = world.connect();
    let reply = client.call("GET /function/hello HTTP/1.0\n\n");
    assert_eq!((reply.status, reply.text().as_str()), (200, "ok"));
    assert!(client.is_closed());
    let request = seen.lock().unwrap()[0].clone();
    assert_eq!(request.line, "GET / HTTP/1.1");
    assert!(request.field("host").is_some());
}

#[test]
fn requests_in_a_row_are_answered_in_order() {
    let world = World::start();
    let _replica = world.hello(echo);
    let mut client = world.connect();
    let calls: String = (0..20)
        .map(|n| {
            format!("POST /function/hello/{n} HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx")
        })
        .collect();
    client.send(calls);
    for n in 0..20 {
        assert_eq!(
            client.reply("POST").unwrap().text(),
            format!("POST /{n} HTTP/1.1|x")
        );
    }
}

const HANDSHAKE: &str = "GET /function/hello/chat HTTP/1.1\nHost: h\nConnection: keep-alive, Upgrade\n\
    Upgrade: websocket\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: a2V5\n\n";

#[test]
fn a_websocket_is_spliced_and_holds_the_replica() {
    let world = World::start();
    let (seen, _) = recorder();
    let notes = std::sync::Arc::clone(&seen);
    let replica = world.hello_with(
        |route| route.timeout = hob_model::Timespan(std::time::Duration::from_millis(700)),
        move |mut conn: Conn| {
            notes.lock().unwrap().push(conn.request().unwrap());
            conn.write(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: ok\r\n\r\nhello",
            );
            let mut bytes = [0; 64];
            while let Ok(read @ 1..) = conn.stream.read(&mut bytes) {
                conn.write(&bytes[..read]);
            }
        },
    );
    let mut client = world.connect();
    client.send(HANDSHAKE.replace('\n', "\r\n"));
    let head = client.head().unwrap();
    assert_eq!(head.status, 101);
    assert_eq!(head.field("upgrade"), Some("websocket"));
    assert_eq!(head.field("sec-websocket-accept"), Some("ok"));
    assert!(head.field("x-call-id").is_some());
    let mut bytes = [0; 5];
    client.stream.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"hello");
    let until = std::time::Instant::now() + std::time::Duration::from_millis(1000);
    while std::time::Instant::now() < until {
        client.stream.get_mut().write_all(b"frame").unwrap();
        client.stream.read_exact(&mut bytes).unwrap();
        assert_eq!(&bytes, b"frame");
    }
    assert_eq!(
        replica.backend.in_flight(),
        1,
        "the timeout ends with the handshake"
    );
    let request = seen.lock().unwrap()[0].clone();
    assert_eq!(request.line, "GET /chat HTTP/1.1");
    assert_eq!(request.field("upgrade"), Some("websocket"));
    assert_eq!(
        request
            .field("connection")
            .map(str::to_lowercase)
            .as_deref(),
        Some("upgrade")
    );
    drop(client);
    eventually!(replica.backend.in_flight() == 0);
    assert!(world.wake.condemned().is_empty());
}

#[test]
fn a_replica_that_ends_a_websocket_ends_it_for_the_caller() {
    let world = World::start();
    let replica = world.hello(|mut conn: Conn| {
        conn.request();
        conn.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
    });
    let mut client = world.connect();
    client.send(HANDSHAKE.replace('\n', "\r\n"));
    assert_eq!(client.head().unwrap().status, 101);
    assert!(client.is_closed());
    drop(client);
    eventually!(replica.backend.in_flight() == 0);
}

#[test]
fn a_refused_handshake_is_an_answer_like_any_other() {
    let world = World::start();
    let replica = world.hello(|mut conn: Conn| {
        conn.request();
        conn.write("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 2\r\n\r\nno");
    });
    let mut client = world.connect();
    let reply = client.call(HANDSHAKE);
    assert_eq!((reply.status, reply.text().as_str()), (426, "no"));
    eventually!(replica.backend.in_flight() == 0);
    assert_eq!(client.call("GET / HTTP/1.1\nHost: h\n\n").status, 200);
}

#[test]
fn a_handshake_without_an_answer_is_a_504() {
    let world = World::start();
    let replica = world.hello_with(
        |route| route.timeout = hob_model::Timespan(std::time::Duration::from_millis(80)),
        |mut conn: Conn| {
            conn.request();
            conn.request();
        },
    );
    let reply = world.call(HANDSHAKE);
    reply.assert_error(504, Some("timeout"), "did not answer within");
    assert_eq!(world.wake.condemned().len(), 1);
    eventually!(replica.backend.in_flight() == 0);
}

#[test]
fn a_slow_reader_of_a_websocket_gets_every_byte() {
    // More than the sockets on the way hold, in pieces that end between two buffers.
    const PIECES: usize = 40_000;
    const PIECE: usize = 777;
    let world = World::start();
    let written = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&written);
    let _replica = world.hello(move |mut conn: Conn| {
        conn.request();
        conn.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
        for _ in 0..PIECES {
            conn.write([7; PIECE]);
            count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
        // Silent, but there: nothing but the bytes themselves moves the rest along.
        conn.request();
    });
    let mut client = world.connect();
    client.send(HANDSHAKE.replace('\n', "\r\n"));
    assert_eq!(client.head().unwrap().status, 101);
    let mut seen = (usize::MAX, 0);
    eventually!({
        let now = written.load(std::sync::atomic::Ordering::SeqCst);
        seen = if now == seen.0 {
            (now, seen.1 + 1)
        } else {
            (now, 0)
        };
        now == PIECES || seen.1 > 50
    });
    let mut bytes = vec![0; PIECES * PIECE];
    client.stream.read_exact(&mut bytes).unwrap();
}

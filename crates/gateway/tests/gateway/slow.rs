//! Callers who send or read more slowly than they may. Whatever they do, no replica pays for it.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use crate::harness::{Client, Conn, World, echo};

/// What everything slow gets here.
const GRACE: Duration = Duration::from_millis(300);
/// By when it has to be over.
const OVER: Duration = Duration::from_secs(5);

fn impatient(rate: u64) -> World {
    World::with(|config| {
        config.body_rate = rate;
        config.body_grace = GRACE;
        config.idle_timeout = GRACE;
    })
}

#[test]
fn a_body_that_drips_is_given_up() {
    let world = impatient(1 << 20);
    let replica = world.hello(echo);
    for path in ["/function/hello", "/reads"] {
        let begun = Instant::now();
        let mut client = world.connect();
        client.send(format!(
            "POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n"
        ));
        let mut stream = client.stream.get_ref().try_clone().unwrap();
        let drip = std::thread::spawn(move || {
            while begun.elapsed() < OVER && stream.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let reply = client.reply("POST").unwrap();
        reply.assert_error(408, None, "the request's body came too slowly");
        assert_eq!(reply.field("connection"), Some("close"));
        assert!(begun.elapsed() >= GRACE, "{path}");
        drop(client);
        drip.join().unwrap();
        assert!(begun.elapsed() < OVER, "{path}");
    }
    assert!(world.wake.condemned().is_empty());
    eventually!(replica.backend.in_flight() == 0);
}

#[test]
fn a_body_that_comes_slowly_and_steadily_is_fine() {
    let world = impatient(100);
    let _replica = world.hello(echo);
    let mut client = world.connect();
    client.send("POST /function/hello HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    let begun = Instant::now();
    while begun.elapsed() < GRACE * 5 {
        client.send("5\r\nhello\r\n");
        std::thread::sleep(Duration::from_millis(20));
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.reply("POST").unwrap().status, 200);
}

#[test]
fn a_function_that_does_not_read_is_no_fault_of_its_caller() {
    let world = impatient(1 << 30);
    let _replica = world.hello(|mut conn: Conn| {
        conn.head();
        std::thread::sleep(GRACE * 4);
        conn.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    });
    let mut client = world.connect();
    client.send(format!(
        "POST /function/hello HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n",
        64 << 20
    ));
    let mut stream = client.stream.get_ref().try_clone().unwrap();
    let pour = std::thread::spawn(move || {
        let block = vec![b'x'; 1 << 20];
        while stream.write_all(&block).is_ok() {}
    });
    assert_eq!(client.reply("POST").unwrap().text(), "ok");
    drop(client);
    pour.join().unwrap();
}

#[test]
fn who_does_not_read_his_answer_is_cut() {
    // By the express lane, and by the other way.
    for head in ["", "Transfer-Encoding: chunked\r\n"] {
        let world = impatient(1 << 10);
        let replica = world.hello(|mut conn: Conn| {
            conn.request();
            conn.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
            while conn.write(&chunk) {}
        });
        let begun = Instant::now();
        let mut client = world.connect();
        let end = if head.is_empty() { "" } else { "0\r\n\r\n" };
        client.send(format!(
            "POST /function/hello HTTP/1.1\r\nHost: h\r\n{head}\r\n{end}"
        ));
        eventually!(replica.backend.in_flight() == 1);
        eventually!(replica.backend.in_flight() == 0);
        assert!(begun.elapsed() < OVER, "{head}");
        assert!(client.reply("POST").is_none());
        assert!(world.wake.condemned().is_empty());
    }
}

#[test]
fn who_asks_and_never_reads_is_cut() {
    let world = impatient(1 << 10);
    let _replica = world.hello(|mut conn: Conn| {
        while conn.request().is_some() {
            if !conn.answer(&"x".repeat(60_000)) {
                return;
            }
        }
    });
    let mut client = world.connect();
    let mut stream = client.stream.get_ref().try_clone().unwrap();
    let begun = Instant::now();
    let asks = std::thread::spawn(move || {
        // Ends when the gateway has had enough: first it stops reading, and then it hangs up.
        let ask = b"GET /function/hello HTTP/1.1\r\nHost: h\r\n\r\n".repeat(1000);
        while stream.write_all(&ask).is_ok() {}
    });
    asks.join().unwrap();
    assert!(begun.elapsed() < OVER);
    let mut answers = 0;
    while client.reply("GET").is_some() {
        answers += 1;
    }
    assert!(answers > 0);
    assert!(
        Client::connect(world.address)
            .call("GET /elsewhere HTTP/1.1\nHost: h\n\n")
            .status
            == 200
    );
}

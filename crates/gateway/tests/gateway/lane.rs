//! Plain calls take an express lane, all others go through hyper. Nobody may be able to tell
//! which it was.

use std::{
    collections::BTreeSet,
    io::Write,
    os::fd::AsFd,
    sync::{Arc, Mutex},
    time::Duration,
};

use hob_model::Timespan;
use rustix::event::{PollFd, PollFlags, poll};

use crate::harness::{Conn, PATIENCE, Reply, Request, World, echo, recorder};

/// Makes a request one that the lane leaves to hyper, and changes nothing else.
const NOT_PLAIN: &str = "Connection: keep-alive, x-nothing\n";
/// Differ from call to call.
const OF_THE_CALL: [&str; 4] = ["date", "server-timing", "x-call-id", "x-start-time"];

type Seen = BTreeSet<(String, String)>;

fn seen(fields: &[(String, String)]) -> Seen {
    let lower = fields.iter().map(|(n, v)| (n.to_lowercase(), v.clone()));
    let of_the_call = |name: &str| OF_THE_CALL.contains(&name);
    let tell = |(name, value): (String, String)| match of_the_call(&name) {
        true => (name, "…".to_owned()),
        false => (name, value),
    };
    lower.map(tell).collect()
}

/// The answer to a request by each way, and what the replica got of it.
fn both(
    request: &str,
    script: impl Fn(Conn) + Clone + Send + Sync + 'static,
) -> [(Reply, Option<Request>); 2] {
    [false, true].map(|plain| {
        let world = World::with(|config| config.threads = 1);
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (notes, script) = (Arc::clone(&requests), script.clone());
        let _replica = world.hello(move |mut conn: Conn| {
            if let Some(request) = conn.request() {
                notes.lock().unwrap().push(request);
                script(conn);
            }
        });
        let (line, rest) = request.split_once('\n').unwrap();
        let mark = if plain { "" } else { NOT_PLAIN };
        let reply = world.call(&format!("{line}\n{mark}{rest}"));
        let request = requests.lock().unwrap().pop();
        (reply, request)
    })
}

#[track_caller]
fn assert_alike(request: &str, script: impl Fn(Conn) + Clone + Send + Sync + 'static) -> Reply {
    let [(slow, slow_request), (quick, quick_request)] = both(request, script);
    assert_eq!(slow.status, quick.status, "{request}");
    assert_eq!(seen(&slow.fields), seen(&quick.fields), "{request}");
    assert_eq!(slow.text(), quick.text(), "{request}");
    let tell = |request: Request| (request.line.clone(), seen(&request.fields), request.body);
    assert_eq!(slow_request.map(tell), quick_request.map(tell), "{request}");
    quick
}

#[test]
fn a_replica_gets_the_same_request() {
    for request in [
        "GET /function/hello HTTP/1.1\nHost: h\n\n",
        "GET /function/hello/a//b/../%2e?q=%20&x=/y HTTP/1.1\nHost: h:80\n\n",
        "GET /function/hello.openfaas-fn?q HTTP/1.1\nhost:h\nX-A:  1 \nx-a: 2\nX-Empty:\n\n",
        "POST /function/hello HTTP/1.1\nHost: h\nContent-Length: 2\n\nhi",
        "POST /function/hello HTTP/1.1\nHost: h\nContent-Length: 0\n\n",
        "DELETE /function/hello HTTP/1.1\nHost: h\nX-Start-Time: 1\nServer-Timing: x\n\n",
        "OPTIONS /function/hello HTTP/1.1\nHost: h\nOrigin: http://a\n\n",
        "FROB /function/hello HTTP/1.1\nHost: h\nX-Forwarded-For: 10.0.0.1\n\n",
        "GET /function/hello HTTP/1.1\nHost: h\nX-Forwarded-For: a,\u{e9} ,b\n\n",
        "GET /function/hello HTTP/1.1\nHost: h\nX_Forwarded_For: a\nX-Forwarded-Prefix: /a\n\n",
        "GET /function/hello HTTP/1.1\nHost: h\nX-Forwarded-Host: a\nX-Forwarded-Proto: https\n\n",
        "GET /function/hello HTTP/1.1\nHost: h\nCookie: a=1; b=2\nProxy: http://evil\n\n",
    ] {
        let reply = assert_alike(request, |mut conn| {
            conn.answer("ok");
        });
        assert_eq!(reply.status, 200, "{request}");
    }
}

#[test]
fn a_caller_gets_the_same_answer() {
    let get = "GET /function/hello HTTP/1.1\nHost: h\n\n";
    let head = "HEAD /function/hello HTTP/1.1\nHost: h\n\n";
    let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n1\r\n!\r\n0\r\nT: 1\r\n\r\n";
    let long = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n{}",
        "x".repeat(300_000)
    );
    let many: String = (0..50)
        .map(|number| format!("X-{number}: {}\r\n", "y".repeat(500)))
        .collect();
    for (request, answer, status, body) in [
        (
            get,
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
            200,
            "hi",
        ),
        (
            get,
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Hob-End: lie\r\nServer-Timing: a\r\n\r\n",
            200,
            "",
        ),
        (
            get,
            "HTTP/1.1 404 Nope\r\nContent-Length: 1\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\n-",
            404,
            "-",
        ),
        (
            get,
            "HTTP/1.1 200\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n-",
            200,
            "-",
        ),
        (
            get,
            "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
            302,
            "",
        ),
        (get, "HTTP/1.1 204 No Content\r\n\r\n", 204, ""),
        (
            get,
            "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n",
            304,
            "",
        ),
        (
            get,
            "HTTP/1.1 200 OK\r\nConnection: close, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=5\r\nContent-Length: 1\r\n\r\n-",
            200,
            "-",
        ),
        (
            get,
            "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n-",
            200,
            "-",
        ),
        (
            get,
            "HTTP/1.1 200 OK\r\nUpgrade: h2c\r\nProxy-Authenticate: x\r\nContent-Length: 1\r\n\r\n-",
            200,
            "-",
        ),
        (
            get,
            "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\nuntil the end",
            200,
            "until the end",
        ),
        (get, "HTTP/1.0 200 OK\r\n\r\nold", 200, "old"),
        (get, chunks, 200, "hello!"),
        (get, &long, 200, &"x".repeat(300_000)),
        (
            get,
            &format!("HTTP/1.1 200 OK\r\n{many}Content-Length: 1\r\n\r\n-"),
            200,
            "-",
        ),
        (
            head,
            "HTTP/1.1 200 OK\r\nContent-Length: 700\r\n\r\n",
            200,
            "",
        ),
        (
            head,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            200,
            "",
        ),
        (get, "", 502, "closed the connection without an answer"),
        (
            get,
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n",
            502,
            "closed the connection without an answer",
        ),
        (
            get,
            "HTTP/1.1 099 Odd\r\nContent-Length: 0\r\n\r\n",
            502,
            "not HTTP/1.1",
        ),
        (
            get,
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            502,
            "not HTTP/1.1",
        ),
        (get, "SSH-2.0-dropbear\r\n\r\n", 502, "not HTTP/1.1"),
        (
            get,
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n--",
            502,
            "not HTTP/1.1",
        ),
        (
            get,
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            502,
            "not HTTP/1.1",
        ),
    ] {
        let answer = answer.to_owned();
        let reply = assert_alike(request, move |mut conn| {
            conn.write(&answer);
        });
        assert_eq!(reply.status, status, "{request}");
        assert!(reply.text().contains(body) && (status == 502) == (reply.text() != body));
    }
}

#[test]
fn an_answer_that_breaks_off_is_cut() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let world = World::start();
        let _replica = world.hello(move |mut conn: Conn| {
            conn.request();
            conn.write(answer);
        });
        let mut client = world.connect();
        client.send("GET /function/hello HTTP/1.1\r\nHost: h\r\n\r\n");
        assert!(client.reply("GET").is_none(), "{answer}");
        assert_eq!(world.totals(), (1, 1));
    }
}

#[test]
fn an_answer_until_the_end_that_breaks_off_is_cut() {
    let world = World::start();
    let _replica = world.hello(|mut conn: Conn| {
        // Leaves a part of the request unread, which makes its close a reset.
        conn.head();
        conn.write("HTTP/1.1 200 OK\r\n\r\nhalf");
    });
    let mut client = world.connect();
    let body = "x".repeat(12_000);
    client.send(format!(
        "POST /function/hello HTTP/1.1\r\nHost: h\r\nContent-Length: 12000\r\n\r\n{body}"
    ));
    assert!(client.reply("POST").is_none());
    assert_eq!(world.totals(), (1, 1));
}

#[test]
fn a_body_where_none_belongs_is_nobody_s_answer() {
    let world = World::with(|config| config.threads = 1);
    let _replica = world.hello(|mut conn: Conn| {
        while let Some(request) = conn.request() {
            let more = match request.line.starts_with("HEAD") {
                true => "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged",
                false => "",
            };
            let (line, length) = (&request.line, request.line.len());
            conn.write(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{line}{more}"
            ));
        }
    });
    let mut client = world.connect();
    for _ in 0..20 {
        client.call("HEAD /function/hello HTTP/1.1\nHost: h\n\n");
        let reply = client.call("GET /function/hello HTTP/1.1\nHost: h\n\n");
        assert_eq!(reply.text(), "GET / HTTP/1.1");
    }
}

#[test]
fn a_dripping_body_is_not_waited_for_in_the_lane() {
    let world = World::start();
    let timeout = Timespan(Duration::from_millis(300));
    let _replica = world.hello_with(|route| route.timeout = timeout, echo);
    let mut client = world.connect();
    client.send("POST /function/hello HTTP/1.1\r\nHost: h\r\nContent-Length: 16000\r\n\r\n");
    let mut stream = client.stream.get_ref().try_clone().unwrap();
    let drip = std::thread::spawn(move || {
        // Ends when the gateway has had enough.
        while stream.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    client
        .reply("POST")
        .unwrap()
        .assert_error(408, None, "too slowly");
    drop(client);
    drip.join().unwrap();
}

#[test]
fn a_connection_that_leaves_the_lane_serves_on() {
    let world = World::with(|config| config.threads = 1);
    let _replica = world.hello(echo);
    let mut client = world.connect();
    let plain = "POST /function/hello/1 HTTP/1.1\nHost: h\nContent-Length: 2\n\nhi";
    assert_eq!(client.call(plain).text(), "POST /1 HTTP/1.1|hi");
    let chunked =
        "POST /function/hello/2 HTTP/1.1\nHost: h\nTransfer-Encoding: chunked\n\n3\nyes\n0\n\n";
    assert_eq!(client.call(chunked).text(), "POST /2 HTTP/1.1|yes");
    assert_eq!(client.call(plain).text(), "POST /1 HTTP/1.1|hi");
    let other = client.call("GET /elsewhere HTTP/1.1\nHost: h\n\n");
    assert!(other.text().starts_with("fallback"));
    assert_eq!(world.totals(), (3, 0));
}

#[test]
fn requests_sent_ahead_are_answered_in_turn() {
    let world = World::with(|config| config.threads = 1);
    let _replica = world.hello(echo);
    let mut client = world.connect();
    let mut all = String::new();
    for number in 0..200 {
        let body = "b".repeat(number);
        all += &match number % 3 {
            // From this one on the requests are hyper's.
            1 if number > 100 => format!(
                "POST /function/hello/{number} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{number:x}\r\n{body}\r\n0\r\n\r\n"
            ),
            _ => format!(
                "POST /function/hello/{number} HTTP/1.1\r\nHost: h\r\nContent-Length: {number}\r\n\r\n{body}"
            ),
        };
    }
    client.send(&all);
    for number in 0..200 {
        let body = "b".repeat(number);
        let reply = client.reply("POST").unwrap();
        assert_eq!(reply.text(), format!("POST /{number} HTTP/1.1|{body}"));
    }
}

#[test]
fn a_request_may_come_in_pieces() {
    let request = "POST /function/hello HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello";
    let world = World::with(|config| config.threads = 1);
    let (seen, script) = recorder();
    let _replica = world.hello(script);
    let mut client = world.connect();
    for cut in 1..request.len() {
        client.send(&request[..cut]);
        // A packet of its own.
        std::thread::yield_now();
        client.send(&request[cut..]);
        assert_eq!(client.reply("POST").unwrap().text(), "ok", "{cut}");
        assert_eq!(seen.lock().unwrap().pop().unwrap().body, b"hello");
    }
}

#[test]
fn a_request_that_a_closing_replica_left_unread_goes_elsewhere() {
    let world = World::with(|config| config.threads = 1);
    let replica = world.hello(|mut conn: Conn| {
        conn.request();
        conn.answer("once");
        // Closes just when the next request has come.
        let stream = conn.stream.get_ref().as_fd();
        let patience = PATIENCE.try_into().unwrap();
        let _ = poll(&mut [PollFd::new(&stream, PollFlags::IN)], Some(&patience));
    });
    let mut client = world.connect();
    let call = "POST /function/hello HTTP/1.1\nHost: h\nContent-Length: 2\n\nhi";
    for round in 1..=10 {
        assert_eq!(client.call(call).text(), "once");
        assert_eq!(replica.accepted(), round);
    }
    assert_eq!(world.totals(), (10, 0));
}

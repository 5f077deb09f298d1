//! Signed bodies.

use std::{
    io::Write,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::hmac;
use hob_model::{Guard, Rate, RateBy};

use super::{Guarded, auth, told};
use crate::{
    harness::{Client, Reply, World},
    way::Way,
};

/// The example that GitHub publishes.
const KEY: &str = "It's a Secret to Everybody";
const BODY: &str = "Hello, World!";
const SIGNATURE: &str = "X-Hub-Signature-256: sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17\n";

fn sign(body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, KEY.as_bytes());
    hex::encode(hmac::sign(&key, body))
}

fn github() -> Guarded {
    Guarded::new(auth(r#"auth = { type = "hmac", secret = "hook" }"#)).secret("hook", KEY)
}

/// A signature over a time, which is so many seconds from now.
fn stripe(body: &str, from_now: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let time = i64::try_from(now.as_secs()).unwrap() + from_now;
    let signature = sign(format!("{time}.{body}").as_bytes());
    format!(
        "Stripe-Signature: t={time},v1={},v1={signature},v0=x\n",
        "00".repeat(32)
    )
}

#[test]
fn githubs_example_is_let_in_and_passes_unchanged() {
    let guarded = github();
    for way in Way::BOTH {
        let reply = guarded.call(way, "POST", "/hook", SIGNATURE, BODY);
        assert_eq!(reply.status, 200, "{}", reply.text());
        let body = guarded.seen.lock().unwrap().last().unwrap().body.clone();
        assert_eq!(body, BODY.as_bytes());
        let expected = [("x-hob-auth", "hmac"), ("x-hob-caller", "hook")];
        assert_eq!(guarded.told(), told(&expected), "{way:?}");

        let refused = |lines: &str, body: &str, words: &str| {
            let reply = guarded.call(way, "POST", "", lines, body);
            reply.assert_error(401, None, words);
            assert_eq!(reply.field("www-authenticate"), None);
        };
        refused("", BODY, "it is not signed");
        refused(SIGNATURE, "Hello, World?", "not that of the body");
        refused(SIGNATURE, "", "not that of the body");
        refused(&SIGNATURE.repeat(2), BODY, "not written as");
        refused(
            &SIGNATURE.replace("sha256=", "sha1="),
            BODY,
            "not written as",
        );
        refused(
            &SIGNATURE.replace("3e17", "3e18"),
            BODY,
            "not that of the body",
        );
        assert!(guarded.seen.lock().unwrap().is_empty());
    }
}

#[test]
fn bodies_in_chunks_and_large_ones_are_read_whole_first() {
    let guarded = github();
    let mut client = guarded.world.connect();
    let chunked = format!(
        "POST /function/hello HTTP/1.1\n{SIGNATURE}Host: h\nTransfer-Encoding: chunked\nTrailer: X-Sum\n\n6\nHello,\n7\n World!\n0\nX-Sum: 1\n\n"
    );
    assert_eq!(client.call(&chunked).status, 200);
    let request = guarded.seen.lock().unwrap().pop().unwrap();
    assert_eq!(request.body, BODY.as_bytes());
    assert_eq!(request.trailers, [("X-Sum".to_owned(), "1".to_owned())]);
    // The connection goes on.
    let wrong = chunked.replace("World!", "World?");
    assert_eq!(client.call(&wrong).status, 401);
    assert_eq!(client.call(&chunked).status, 200);

    let large = "y".repeat(3 << 20);
    let signature = sign(large.as_bytes());
    let line = format!("X-Hub-Signature-256: sha256={signature}\n");
    let reply = guarded.call(Way::Lane, "POST", "", &line, &large);
    assert_eq!(reply.status, 200);
    let request = guarded.seen.lock().unwrap().pop().unwrap();
    assert!(request.body == large.as_bytes());
}

#[test]
fn a_body_that_is_too_large_is_not_read() {
    let length = |guarded: &Guarded, length: u64| -> Reply {
        let mut client = guarded.world.connect();
        client.call(&format!(
            "POST /function/hello HTTP/1.1\nHost: h\n{SIGNATURE}Content-Length: {length}\n\n"
        ))
    };
    length(&github(), (16 << 20) + 1).assert_error(413, None, "more than 16777216 bytes");
    let small = r#"auth = { type = "hmac", secret = "hook" }"#;
    let small = Guarded::with(auth(small), |route| route.body_limit = 5).secret("hook", KEY);
    length(&small, 6).assert_error(413, None, "at most 5 bytes");
    let mut client = small.world.connect();
    let reply = client.call(&format!(
        "POST /function/hello HTTP/1.1\nHost: h\n{SIGNATURE}Transfer-Encoding: chunked\n\n6\nHello,\n"
    ));
    reply.assert_error(413, None, "at most 5 bytes");
    // What is refused for its head is not read either: this body never comes.
    let reply = small
        .world
        .call("POST /function/hello HTTP/1.1\nHost: h\nTransfer-Encoding: chunked\n\n");
    assert_eq!(reply.status, 401);
}

#[test]
fn a_body_that_does_not_come_lets_its_call_end_with_its_time() {
    let guarded = Guarded::with(
        auth(r#"auth = { type = "hmac", secret = "hook" }"#),
        |route| route.timeout = hob_model::Timespan(std::time::Duration::from_millis(200)),
    )
    .secret("hook", KEY);
    let mut client = guarded.world.connect();
    client.send(
        format!("POST /function/hello HTTP/1.1\nHost: h\n{SIGNATURE}Content-Length: 13\n\nHello")
            .replace('\n', "\r\n"),
    );
    let reply = client.reply("POST").unwrap();
    reply.assert_error(408, None, "came too slowly");
    // One that breaks off takes nothing with it.
    let mut client = guarded.world.connect();
    client.send("POST /function/hello HTTP/1.1\r\nHost: h\r\nContent-Length: 13\r\n\r\nHello");
    client.stream.get_mut().flush().unwrap();
    drop(client);
    assert_eq!(
        guarded.call(Way::Hyper, "POST", "", SIGNATURE, BODY).status,
        200
    );
}

/// A call whose body is waited for, and does not come.
fn begin(mut client: Client, length: usize) -> Client {
    let head = format!(
        "POST /function/hello HTTP/1.1\nHost: h\n{SIGNATURE}Expect: 100-continue\nContent-Length: {length}\n\n"
    );
    // That is said when the body is first asked for.
    assert_eq!(client.call(&head).status, 100);
    client
}

#[test]
fn whoever_is_not_let_in_yet_takes_no_place() {
    let world = World::with(|config| config.calls.calls = 1);
    let text = r#"auth = { type = "hmac", secret = "hook" }"#;
    let guarded = Guarded::within(world, auth(text), |_| {}).secret("hook", KEY);
    let mut slow = begin(guarded.world.connect(), BODY.len());
    for way in Way::BOTH {
        let reply = guarded.call(way, "POST", "", SIGNATURE, BODY);
        assert_eq!(reply.status, 200, "{way:?} {}", reply.text());
    }
    slow.send(BODY);
    assert_eq!(slow.reply("POST").unwrap().status, 200);
}

#[test]
fn one_caller_does_not_take_all_the_room_for_bodies() {
    let guarded = github();
    let guest = || Client::connect_from("127.0.0.2", guarded.world.address);
    // Each is short enough, and both together are more than one caller may have in memory.
    let longest = 16 << 20;
    let mut both = [begin(guest(), longest), begin(guest(), longest)];
    for one in &mut both {
        let stream = one.stream.get_mut();
        let _ = stream.write_all(&vec![b'x'; longest / 4 * 3]);
        stream.set_nonblocking(true).unwrap();
    }
    let is_answered = |one: &Client| one.stream.get_ref().peek(&mut [0]).is_ok();
    eventually!(both.iter().any(is_answered));
    let refused = both.iter_mut().find(|one| is_answered(one)).unwrap();
    refused.stream.get_ref().set_nonblocking(false).unwrap();
    let reply = refused.reply("POST").unwrap();
    reply.assert_error(503, None, "too many signed bodies");
    let reply = guarded.call(Way::Hyper, "POST", "", SIGNATURE, BODY);
    assert_eq!(reply.status, 200);
}

#[test]
fn a_signature_with_a_time_is_good_once_and_not_for_long() {
    let text = r#"auth = { type = "hmac", secret = "hook", style = "stripe", window = "1m" }"#;
    let guarded = Guarded::new(auth(text)).secret("hook", KEY);
    for (number, way) in Way::BOTH.into_iter().enumerate() {
        let body = format!("{{\"n\":{number}}}");
        let call = |line: &str| guarded.call(way, "POST", "", line, &body);
        let line = stripe(&body, 0);
        assert_eq!(call(&line).status, 200, "{way:?}");
        call(&line).assert_error(401, None, "used before");
        for other in Way::BOTH {
            let again = guarded.call(other, "POST", "", &line, &body);
            again.assert_error(401, None, "used before");
        }
        assert_eq!(call(&stripe(&body, -50)).status, 200);
        assert_eq!(call(&stripe(&body, 50)).status, 200);
        call(&stripe(&body, -70)).assert_error(401, None, "too old");
        call(&stripe(&body, 70)).assert_error(401, None, "time to come");
        let moved = stripe(&body, -70).replace("t=", "t=1,t=");
        call(&moved).assert_error(401, None, "not written as");
        call(&stripe("other", 0)).assert_error(401, None, "not that of the body");
        call(SIGNATURE).assert_error(401, None, "it is not signed");
    }
}

#[test]
fn a_signature_is_not_used_up_by_a_call_that_was_refused() {
    let auth = auth(r#"auth = { type = "hmac", secret = "hook", style = "stripe" }"#);
    let rate: Rate = "1/3s".parse().unwrap();
    let guard = Arc::new(Guard {
        auth: auth.clone(),
        rate: Some(Rate {
            by: RateBy::Caller,
            ..rate
        }),
    });
    for way in Way::BOTH {
        let guard = Some(Arc::clone(&guard));
        let guarded = Guarded::with(auth.clone(), |route| route.guard = guard).secret("hook", KEY);
        let call = |body: &str, line: &str| guarded.call(way, "POST", "", line, body).status;
        assert_eq!(call("one", &stripe("one", 0)), 200, "{way:?}");
        let two = stripe("two", 0);
        assert_eq!(call("two", &two), 429, "{way:?}");
        eventually!(call("two", &two) == 200);
    }
}

#[test]
fn the_header_may_have_another_name() {
    let text = r#"auth = { type = "hmac", secret = "hook", header = "X-Gitea-Signature" }"#;
    let guarded = Guarded::new(auth(text)).secret("hook", KEY);
    for way in Way::BOTH {
        let line = SIGNATURE.replace("X-Hub-Signature-256", "x-gitea-SIGNATURE");
        assert_eq!(guarded.call(way, "POST", "", &line, BODY).status, 200);
        assert_eq!(guarded.call(way, "POST", "", SIGNATURE, BODY).status, 401);
    }
}

#[test]
fn an_empty_key_is_none() {
    let guarded = github().secret("hook", "");
    for way in Way::BOTH {
        let reply = guarded.call(way, "POST", "", SIGNATURE, BODY);
        reply.assert_error(503, None, "is empty");
    }
}

#[test]
fn signed_calls_for_later_are_read_whole_as_well() {
    let guarded = github();
    let later = |body: &str| {
        guarded.world.call(&format!(
            "POST /async-function/hello HTTP/1.1\nHost: h\n{SIGNATURE}Content-Length: 13\n\n{body}"
        ))
    };
    assert!(later(BODY).text().starts_with("fallback"));
    later("Hello, World?").assert_error(401, None, "not that of the body");
}

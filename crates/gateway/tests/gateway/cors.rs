use hob_model::{Cors, Route};

use crate::harness::{Conn, Reply, World};

const ORIGIN: &str = "https://app.example";

fn world(cors: Option<Cors>) -> (World, crate::harness::Replica) {
    let world = World::start();
    let adjust = |route: &mut Route| route.cors = cors;
    let replica = world.hello_with(adjust, |mut conn: Conn| {
        while let Some(request) = conn.request() {
            if request.line.contains("/die") {
                return;
            }
            conn.write(
                "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: https://own.example\r\n\
                 Access-Control-Allow-Methods: BREW\r\nAccess-Control-Expose-Headers: X-Own\r\n\
                 Vary: Accept\r\nContent-Length: 2\r\n\r\nok",
            );
        }
    });
    (world, replica)
}

fn listed() -> Option<Cors> {
    Some(Cors::Origins(vec![
        ORIGIN.into(),
        "http://localhost:3000".into(),
    ]))
}

fn get(path: &str, origin: &str) -> String {
    format!("GET /function/{path} HTTP/1.1\nHost: h\nOrigin: {origin}\n\n")
}

fn preflight(origin: &str) -> String {
    format!(
        "OPTIONS /function/hello HTTP/1.1\nHost: h\nOrigin: {origin}\n\
         Access-Control-Request-Method: PUT\nAccess-Control-Request-Headers: x-a, x-b\n\n"
    )
}

fn allowed(reply: &Reply) -> (Option<&str>, Option<&str>) {
    let credentials = reply.field("access-control-allow-credentials");
    (reply.field("access-control-allow-origin"), credentials)
}

fn all(reply: &Reply, name: &str) -> String {
    let found = reply
        .fields
        .iter()
        .filter(|(n, _)| n.eq_ignore_ascii_case(name));
    found
        .map(|(_, value)| value.as_str())
        .collect::<Vec<_>>()
        .join(", ")
}

#[test]
fn without_a_policy_nothing_is_added_and_preflights_are_the_functions() {
    let (world, replica) = world(None);
    let reply = world.call(&get("hello", ORIGIN));
    assert_eq!(allowed(&reply), (Some("https://own.example"), None));
    assert_eq!(world.call(&preflight(ORIGIN)).text(), "ok");
    assert!(replica.accepted() > 0);
    assert_eq!(world.totals().0, 2);
    let reply = world.call(&get("hello/die", ORIGIN));
    assert_eq!((reply.status, allowed(&reply)), (502, (None, None)));
}

#[test]
fn any_origin() {
    let (world, _replica) = world(Some(Cors::Any));
    for origin in [ORIGIN, "null"] {
        let reply = world.call(&get("hello", origin));
        assert_eq!((reply.status, allowed(&reply)), (200, (Some("*"), None)));
        assert_eq!(reply.field("access-control-allow-methods"), None);
        assert_eq!(reply.field("vary"), Some("Accept"));
        let exposed = all(&reply, "access-control-expose-headers");
        assert_eq!(
            exposed,
            "X-Own, X-Call-Id, Server-Timing, X-Hob-End, RateLimit, RateLimit-Policy, Retry-After"
        );
    }
    let reply = world.call(&get("hello/die", ORIGIN));
    assert_eq!((reply.status, allowed(&reply)), (502, (Some("*"), None)));
    let reply = world.call(&get("nope", ORIGIN));
    assert_eq!((reply.status, allowed(&reply)), (404, (None, None)));
}

#[test]
fn listed_origins() {
    let (world, _replica) = world(listed());
    let reply = world.call(&get("hello", ORIGIN));
    assert_eq!(allowed(&reply), (Some(ORIGIN), Some("true")));
    assert_eq!(all(&reply, "vary"), "Accept, Origin");
    let reply = world.call(&get("hello/die", "http://localhost:3000"));
    assert_eq!(
        (reply.status, allowed(&reply)),
        (502, (Some("http://localhost:3000"), Some("true")))
    );
    for stranger in [
        "https://evil.example",
        "https://app.example.evil",
        "null",
        "",
    ] {
        let reply = world.call(&get("hello", stranger));
        assert_eq!(
            (reply.status, allowed(&reply)),
            (200, (None, None)),
            "{stranger}"
        );
        assert_eq!(all(&reply, "vary"), "Accept, Origin");
    }
    let reply = world.call("GET /function/hello HTTP/1.1\nHost: h\n\n");
    assert_eq!(allowed(&reply), (None, None));
    assert_eq!(all(&reply, "vary"), "Accept, Origin");
}

#[test]
fn preflights_wake_nothing() {
    for (policy, answer) in [
        (Some(Cors::Any), (Some("*"), None)),
        (listed(), (Some(ORIGIN), Some("true"))),
    ] {
        let world = World::start();
        world.function("hello", |route| route.cors = policy);
        let reply = world.call(&preflight(ORIGIN));
        assert_eq!((reply.status, allowed(&reply)), (204, answer));
        assert_eq!(reply.field("access-control-allow-methods"), Some("PUT"));
        assert_eq!(
            reply.field("access-control-allow-headers"),
            Some("x-a, x-b")
        );
        assert!(reply.field("access-control-max-age").is_some());
        assert!(all(&reply, "vary").contains("Access-Control-Request-Headers"));
        assert_eq!((world.wake.woken(), world.totals()), (0, (0, 0)));
    }
}

#[test]
fn a_strangers_preflight_says_how_to_let_it_in() {
    let (world, _replica) = world(listed());
    let reply = world.call(&preflight("https://evil.example"));
    reply.assert_error(
        403,
        None,
        "pages of https://evil.example: add the origin to `cors`",
    );
    assert_eq!(allowed(&reply), (None, None));
}

#[test]
fn an_options_call_that_is_no_preflight_is_the_functions() {
    let (world, _replica) = world(Some(Cors::Any));
    let reply =
        world.call("OPTIONS /function/hello HTTP/1.1\nHost: h\nOrigin: https://a.example\n\n");
    assert_eq!(
        (reply.text().as_str(), allowed(&reply)),
        ("ok", (Some("*"), None))
    );
}

#[test]
fn calls_for_later_have_the_policy_of_their_function() {
    let world = World::start();
    world.function("hello", |route| route.cors = listed());
    world.function("open", |_| {});
    let later = |text: String| world.call(&text.replace("/function/", "/async-function/"));
    let reply = later(preflight(ORIGIN));
    assert_eq!((reply.status, allowed(&reply).0), (204, Some(ORIGIN)));
    let reply = later(preflight("https://evil.example"));
    assert_eq!((reply.status, allowed(&reply).0), (403, None));

    let reply = later(get("hello/x?y", ORIGIN).replace("GET", "POST"));
    assert_eq!(reply.text(), "fallback /async-function/hello/x?y 127.0.0.1");
    assert_eq!(allowed(&reply).0, Some(ORIGIN));
    assert!(reply.field("x-call-id").is_some() && reply.field("x-start-time").is_some());
    // What has no policy, or is no call, is answered as it comes.
    let reply = later(preflight(ORIGIN).replace("hello", "open"));
    assert!(reply.text().starts_with("fallback"));
    assert_eq!(allowed(&reply), (None, None));
    let reply = later(get("hello", ORIGIN));
    assert_eq!(
        (allowed(&reply), reply.field("x-call-id")),
        ((None, None), None)
    );
}

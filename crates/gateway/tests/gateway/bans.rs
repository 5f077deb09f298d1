//! Who is shut out, and what leads to it. All of 127.0.0.0/8 is this machine, and each of its
//! addresses a caller of its own.

use std::time::{Duration, Instant};

use hob_model::{Ban, BanRules, Bans, TurnedAway};

use crate::harness::{Client, World, echo};

const CALL: &str = "GET /function/hello HTTP/1.1\nHost: h\n\n";
const GUEST: &str = "127.0.0.2";

fn few() -> Bans {
    let rules = BanRules {
        logins: 4,
        misses: 4,
        ..BanRules::default()
    };
    Bans::new(rules, Vec::new())
}

fn ban(world: &World, address: &str) {
    let ban = Ban::by_hand(address.parse().unwrap(), None, "rude".into());
    world.bans.add(ban).unwrap();
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\nHost: h\n\n")
}

#[test]
fn the_banned_are_not_even_listened_to() {
    let world = World::start();
    let _replica = world.hello(echo);
    ban(&world, "127.0.0.2");
    let mut guest = Client::connect_from(GUEST, world.address);
    assert!(guest.is_closed());
    assert_eq!(world.call(CALL).status, 200);
    assert_eq!(world.bans.refused(TurnedAway::Banned), 1);
    assert!(world.bans.remove(&"127.0.0.2".parse().unwrap()));
    let mut guest = Client::connect_from(GUEST, world.address);
    assert_eq!(guest.call(CALL).status, 200);
}

#[test]
fn a_connection_ends_when_its_caller_is_banned() {
    let world = World::start();
    let _replica = world.hello(echo);
    // One by the express lane, and one that has left it.
    let mut plain = Client::connect_from(GUEST, world.address);
    assert_eq!(plain.call(CALL).status, 200);
    let mut other = Client::connect_from(GUEST, world.address);
    assert_eq!(other.call(&get("/elsewhere")).status, 200);
    ban(&world, "127.0.0.0/30");
    for guest in [&mut plain, &mut other] {
        let reply = guest.call(CALL);
        reply.assert_error(403, None, "nothing is served at 127.0.0.2 for now");
        assert_eq!(reply.field("connection"), Some("close"));
        assert!(guest.is_closed());
    }
    let mut neighbour = Client::connect_from("127.0.0.4", world.address);
    assert_eq!(neighbour.call(CALL).status, 200);
}

#[test]
fn whoever_guesses_passwords_waits_and_is_shut_out() {
    let world = World::guarded(few(), |_| {});
    let _replica = world.hello(echo);
    let wrong = "GET /wrong-password HTTP/1.1\nHost: h\nAuthorization: Basic eDp5\n\n";
    let mut guest = Client::connect_from(GUEST, world.address);
    let begun = Instant::now();
    for _ in 0..2 {
        assert_eq!(guest.call(wrong).status, 401);
    }
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_eq!(guest.call(wrong).status, 401);
    assert!(begun.elapsed() >= Duration::from_secs(1), "it did not wait");
    // Nobody else waits, and the gateway's threads are free.
    assert_eq!(world.call(CALL).status, 200);
    let last = guest.call(wrong);
    assert_eq!(
        (last.status, last.field("connection")),
        (401, Some("close"))
    );
    assert!(guest.is_closed());
    assert!(Client::connect_from(GUEST, world.address).is_closed());
    let bans = world.bans.list();
    assert_eq!(bans.len(), 1);
    assert_eq!(bans[0].address.to_string(), GUEST);
    assert_eq!(bans[0].reason, "4 failed logins");
    assert_eq!(world.call(CALL).status, 200);
}

#[test]
fn a_login_clears_the_count_and_a_password_that_nobody_showed_is_no_guess() {
    let world = World::guarded(few(), |_| {});
    let mut guest = Client::connect_from(GUEST, world.address);
    let with = |path: &str| format!("GET {path} HTTP/1.1\nHost: h\nAuthorization: Basic eDp5\n\n");
    for _ in 0..5 {
        assert_eq!(guest.call(&with("/wrong-password")).status, 401);
        assert_eq!(guest.call(&with("/wrong-password")).status, 401);
        assert_eq!(guest.call(&with("/right-password")).status, 200);
    }
    // Who is known may look for what is not there.
    for _ in 0..5 {
        let reply = guest.call(&with("/right-password-nothing"));
        assert_eq!(reply.status, 404);
    }
    assert_eq!(world.bans.count(), 0);
}

#[test]
fn a_token_clears_no_count_and_may_look_for_what_is_not_there() {
    let world = World::guarded(few(), |_| {});
    let mut guest = Client::connect_from(GUEST, world.address);
    let with = |path: &str| format!("GET {path} HTTP/1.1\nHost: h\nAuthorization: Basic eDp5\n\n");
    for _ in 0..8 {
        assert_eq!(guest.call(&with("/token-nothing")).status, 404);
    }
    for _ in 0..4 {
        assert_eq!(guest.call(&with("/token")).status, 200);
        assert_eq!(guest.call(&with("/wrong-password")).status, 401);
    }
    assert_eq!(world.bans.list()[0].reason, "4 failed logins");
}

#[test]
fn storms_for_nothing_are_shut_out_wherever_they_go() {
    for paths in [
        ["/function/none", "/function/nothing"],
        ["/nothing", "/no-password"],
    ] {
        let world = World::guarded(few(), |_| {});
        let mut guest = Client::connect_from(GUEST, world.address);
        for path in [paths, paths].as_flattened() {
            assert!(matches!(guest.call(&get(path)).status, 401 | 404), "{path}");
        }
        assert!(guest.is_closed());
        assert_eq!(world.bans.list()[0].reason, "4 requests for nothing");
        assert_eq!(world.call(&get("/elsewhere")).status, 200);
    }
}

#[test]
fn bodies_that_do_not_come_are_requests_for_nothing() {
    let world = World::guarded(few(), |config| {
        config.body_rate = 1 << 20;
        config.body_grace = Duration::from_millis(50);
    });
    let _replica = world.hello(echo);
    for _ in 0..4 {
        let mut guest = Client::connect_from(GUEST, world.address);
        guest.send("POST /function/hello HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n");
        assert_eq!(guest.reply("POST").unwrap().status, 408);
    }
    assert_eq!(world.bans.list()[0].reason, "4 requests for nothing");
}

#[test]
fn a_page_cannot_have_its_visitors_shut_out() {
    let world = World::guarded(few(), |_| {});
    let mut guest = Client::connect_from(GUEST, world.address);
    let ask = |path: &str, lines: &str| {
        format!("GET {path} HTTP/1.1\nHost: h\nSec-Fetch-Site: cross-site\n{lines}\n")
    };
    for path in [
        "/function/none",
        "/nothing",
        "/no-password",
        "/wrong-password",
    ]
    .repeat(2)
    {
        assert!(
            matches!(guest.call(&ask(path, "")).status, 401 | 404),
            "{path}"
        );
    }
    assert_eq!(world.bans.count(), 0);
    // No page can show a password that the visitor has not given it.
    for _ in 0..4 {
        guest.call(&ask("/wrong-password", "Authorization: Basic eDp5\n"));
    }
    assert_eq!(world.bans.list()[0].reason, "4 failed logins");
}

#[test]
fn what_a_function_answers_is_no_conduct() {
    let world = World::guarded(few(), |_| {});
    let _replica = world.hello(|mut conn| {
        while conn.request().is_some() {
            conn.write("HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let mut guest = Client::connect_from(GUEST, world.address);
    for _ in 0..10 {
        assert_eq!(guest.call(CALL).status, 401);
        let chunked = "POST /function/hello HTTP/1.1\nHost: h\nTransfer-Encoding: chunked\n\n0\n\n";
        assert_eq!(guest.call(chunked).status, 401);
    }
    assert_eq!(world.bans.count(), 0);
}

#[test]
fn one_caller_has_no_more_connections_than_his_share() {
    let world = World::with(|config| config.connections_per_address = 3);
    let _replica = world.hello(echo);
    let mut guests: Vec<_> = (0..3)
        .map(|_| Client::connect_from(GUEST, world.address))
        .collect();
    for guest in &mut guests {
        assert_eq!(guest.call(CALL).status, 200);
    }
    assert!(Client::connect_from(GUEST, world.address).is_closed());
    assert_eq!(world.bans.refused(TurnedAway::Crowd), 1);
    assert_eq!(world.call(CALL).status, 200);
    guests.pop();
    eventually!({
        let mut guest = Client::connect_from(GUEST, world.address);
        guest.send(CALL.replace('\n', "\r\n"));
        guest.reply("GET").is_some_and(|reply| reply.status == 200)
    });
}

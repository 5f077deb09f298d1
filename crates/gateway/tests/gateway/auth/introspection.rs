//! Tokens that their issuer is asked about.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    Guarded, auth,
    issuer::{Asked, FakeIssuer, answer, ok},
    told,
};
use crate::{harness::Client, way::Way};

const GOOD: &str = "Authorization: Bearer good\n";
const BAD: &str = "Authorization: Bearer bad\n";

fn active() -> Value {
    json!({"active": true, "sub": "ann", "client_id": "c", "scope": "read", "aud": ["shop"]})
}

fn says(asked: &Asked) -> String {
    match asked.body.split('&').next() {
        Some("token=good") => ok(&active()),
        _ => ok(&json!({"active": false})),
    }
}

fn guarded(issuer: &FakeIssuer, more: &str) -> Guarded {
    let url = issuer.url();
    Guarded::new(auth(&format!(
        "[auth]\ntype = \"introspection\"\nurl = \"{url}/introspect?x=1\"\nclient = \"my client\"\nsecret = \"client\"\n{more}"
    )))
    .secret("client", "pass:word\n")
}

#[test]
fn the_issuer_is_asked_once_and_believed_for_a_while() {
    let issuer = FakeIssuer::new(says);
    let guarded = guarded(&issuer, "cache = \"1h\"");
    for way in Way::BOTH {
        for _ in 0..3 {
            let reply = guarded.get(way, GOOD);
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
        let expected = [
            ("authorization", "Bearer good"),
            ("x-hob-auth", "introspection"),
            ("x-hob-caller", "ann"),
            ("x-hob-scope", "read"),
        ];
        assert_eq!(guarded.told(), told(&expected), "{way:?}");
        for _ in 0..3 {
            let reply = guarded.get(way, BAD);
            reply.assert_error(401, None, "unknown or has ended");
        }
    }
    let asked = issuer.asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert_eq!(asked[0].line, "POST /introspect?x=1 HTTP/1.1");
    assert_eq!(asked[0].body, "token=good&token_type_hint=access_token");
    let login = format!("Basic {}", STANDARD.encode("my+client:pass%3Aword"));
    assert_eq!(asked[0].login, login);
    drop(asked);
    guarded
        .get(Way::Lane, "")
        .assert_error(401, None, "send a token of its issuer");
}

#[test]
fn an_answer_ends_with_its_time_and_with_its_token() {
    let issuer = FakeIssuer::new(says);
    let short = guarded(&issuer, "cache = \"1s\"");
    assert_eq!(short.get(Way::Lane, GOOD).status, 200);
    // Revoked.
    issuer.then(|_| ok(&json!({"active": false})));
    eventually!(short.get(Way::Lane, GOOD).status == 401);
    issuer.then(says);
    eventually!(short.get(Way::Lane, GOOD).status == 200);

    let ends = |after: u64| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let end = now.as_secs() + after;
        move |_: &Asked| {
            let mut answer = active();
            answer["exp"] = json!(end);
            ok(&answer)
        }
    };
    let long = guarded(&issuer, "cache = \"1h\"");
    issuer.then(ends(2));
    assert_eq!(long.get(Way::Lane, GOOD).status, 200);
    issuer.then(|_| ok(&json!({"active": false})));
    eventually!(long.get(Way::Lane, GOOD).status == 401);
    // An issuer that calls active what has ended is not believed.
    issuer.then(ends(0));
    assert_eq!(
        long.get(Way::Lane, "Authorization: Bearer late\n").status,
        401
    );
}

#[test]
fn the_audience_and_the_scopes_have_to_fit() {
    let issuer = FakeIssuer::new(says);
    let rules = "rules = [{ methods = [\"GET\"], scope = \"read\" }, { scope = \"write\" }]";
    let guarded = guarded(&issuer, &format!("audience = \"shop\"\n{rules}"));
    for way in Way::BOTH {
        assert_eq!(guarded.get(way, GOOD).status, 200);
        let reply = guarded.call(way, "POST", "", GOOD, "x");
        reply.assert_error(403, None, "no scope `write`");
    }
    issuer.then(|_| ok(&json!({"active": true, "scope": "read", "aud": "blog"})));
    let reply = guarded.get(Way::Lane, "Authorization: Bearer blog\n");
    reply.assert_error(401, None, "another audience");
    issuer.then(|_| ok(&json!({"active": true, "scope": "read"})));
    assert_eq!(
        guarded
            .get(Way::Lane, "Authorization: Bearer none\n")
            .status,
        401
    );
}

#[test]
fn an_issuer_that_makes_no_sense_lets_nobody_in() {
    let issuer = FakeIssuer::new(says);
    for says in [
        answer("401 Unauthorized", "{\"active\": true}"),
        answer("500 Oops", &active().to_string()),
        answer("302 Found", &active().to_string()),
        answer("200 OK", ""),
        answer("200 OK", "{}"),
        answer("200 OK", "{\"active\": \"true\"}"),
        answer("200 OK", &format!("{}{}", " ".repeat(2 << 20), active())),
        String::new(),
    ] {
        issuer.then(move |_| says.clone());
        let guarded = guarded(&issuer, "");
        for way in Way::BOTH {
            let reply = guarded.get(way, GOOD);
            reply.assert_error(503, None, "its issuer cannot be asked");
        }
    }
    // Nor does one that is away, or a secret that is.
    let url = issuer.url();
    issuer.then(says);
    let good = guarded(&issuer, "");
    good.world.known.secrets.lock().unwrap().clear();
    assert_eq!(good.get(Way::Lane, GOOD).status, 503);
    drop(issuer);
    let gone = Guarded::new(auth(&format!(
        "auth = {{ type = \"introspection\", url = \"{url}\", client = \"c\", secret = \"s\" }}"
    )))
    .secret("s", "x");
    assert_eq!(gone.get(Way::Lane, GOOD).status, 503);
}

#[test]
fn one_caller_cannot_keep_the_issuer_busy() {
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let ended = std::sync::Mutex::new(ended);
    let issuer = FakeIssuer::new(move |asked| {
        if !asked.body.starts_with("token=good&") {
            // Until the test is over, and the others after it.
            let _ = ended.lock().unwrap().recv();
        }
        says(asked)
    });
    let guarded = guarded(&issuer, "");
    let guest = || Client::connect_from("127.0.0.2", guarded.world.address);
    let call = |token: &str| {
        format!("GET /function/hello HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n")
    };
    let mut open = Vec::new();
    for number in 0..8 {
        let mut client = guest();
        client.send(call(&format!("made-up-{number}")));
        open.push(client);
        eventually!(issuer.count() == number + 1);
    }
    let mut late = guest();
    late.send(call("good"));
    late.reply("GET")
        .unwrap()
        .assert_error(503, None, "cannot be asked");
    assert_eq!(guarded.get(Way::Lane, GOOD).status, 200);
    drop(end);
}

#[test]
fn one_token_makes_one_question_and_a_slow_issuer_ends_it() {
    let issuer = FakeIssuer::new(|asked| {
        std::thread::sleep(Duration::from_millis(200));
        says(asked)
    });
    let guarded = guarded(&issuer, "");
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| assert_eq!(guarded.get(Way::Lane, GOOD).status, 200));
        }
    });
    assert_eq!(issuer.count(), 1);
    issuer.then(|_| {
        std::thread::sleep(Duration::from_secs(8));
        String::new()
    });
    let began = std::time::Instant::now();
    assert_eq!(
        guarded
            .get(Way::Lane, "Authorization: Bearer slow\n")
            .status,
        503
    );
    assert!(began.elapsed() < Duration::from_secs(7));
    // Others are not held up by it.
    assert_eq!(guarded.get(Way::Lane, GOOD).status, 200);
}

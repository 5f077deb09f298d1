//! JSON Web Tokens.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hob_model::Auth;
use serde_json::{Value, json};

use super::{
    Guarded, auth,
    issuer::{FakeIssuer, Signer, answer, ok},
    told,
};
use crate::{harness::PATIENCE, way::Way};

const ISSUER: &str = "https://issuer.example";

pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs()
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": ["other", "shop"], "sub": "ann", "exp": now() + 600,
        "scope": "read write", "role": ["user", "admin"],
    })
}

/// The same with one of them another, or none where it is null.
pub(super) fn but(name: &str, value: Value) -> Value {
    let mut claims = claims();
    match value {
        Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
        value => claims[name] = value,
    }
    claims
}

fn keys(signers: &[&Signer]) -> Value {
    let keys: Vec<_> = signers.iter().map(|signer| &signer.jwk).collect();
    json!({ "keys": keys })
}

pub(super) fn issuer(signers: &[&Signer]) -> FakeIssuer {
    let keys = keys(signers);
    FakeIssuer::new(move |_| ok(&keys))
}

fn guarded(issuer: &FakeIssuer, more: &str) -> Guarded {
    Guarded::new(asks(issuer, more))
}

pub(super) fn asks(issuer: &FakeIssuer, more: &str) -> Auth {
    let url = issuer.url();
    auth(&format!(
        "[auth]\ntype = \"jwt\"\nissuer = \"{ISSUER}\"\naudience = \"shop\"\njwks = \"{url}/keys\"\n{more}"
    ))
}

pub(super) fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\n")
}

#[test]
fn a_token_of_the_issuer_is_let_in_and_the_function_told() {
    for signer in [Signer::p256("one"), Signer::ed25519("one")] {
        let issuer = issuer(&[&signer]);
        let guarded = guarded(&issuer, "claims = { role = \"admin\" }");
        let token = signer.sign(&claims());
        for way in Way::BOTH {
            let reply = guarded.get(way, &format!("{}X-Hob-Caller: root\n", bearer(&token)));
            assert_eq!(reply.status, 200, "{way:?} {}", reply.text());
            let expected = [
                ("authorization", &*format!("Bearer {token}")),
                ("x-hob-auth", "jwt"),
                ("x-hob-caller", "ann"),
                ("x-hob-scope", "read write"),
            ];
            assert_eq!(guarded.told(), told(&expected), "{way:?}");
        }
        assert_eq!(issuer.count(), 1);
        // The lane knows the key by now: nothing is left to wait for.
        let mut client = guarded.world.connect();
        let call = format!(
            "GET /function/hello HTTP/1.1\nHost: h\n{}\n",
            bearer(&token)
        );
        for _ in 0..3 {
            assert_eq!(client.call(&call).status, 200);
        }
    }
}

#[test]
fn what_is_not_sure_to_be_the_issuers_is_refused() {
    let (signer, other) = (Signer::p256("one"), Signer::p256("one"));
    let issuer = issuer(&[&signer]);
    let guarded = guarded(&issuer, "claims = { role = \"admin\" }");
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let good = signer.sign(&claims());
    let signature = good.rsplit('.').next().unwrap();
    let none = format!("{}.{}.", part(json!({"alg": "none"})), part(claims()));
    // The public key as the secret of an HMAC: it is known to all.
    let public = signer.jwk.to_string();
    let confused = jsonwebtoken::encode(
        &jsonwebtoken::Header {
            kid: Some("one".into()),
            ..jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256)
        },
        &claims(),
        &jsonwebtoken::EncodingKey::from_secret(public.as_bytes()),
    )
    .unwrap();
    let mut critical = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES256);
    critical.kid = Some("one".into());
    critical.crit = Some(vec!["exp".into()]);
    let mut own_key = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::ES256);
    own_key.jwk = serde_json::from_value(other.jwk.clone()).unwrap();
    own_key.jku = Some(format!("{}/evil", issuer.url()));
    let changed = {
        let parts: Vec<_> = good.split('.').collect();
        format!(
            "{}.{}.{signature}",
            parts[0],
            part(but("sub", json!("root")))
        )
    };
    for (token, words) in [
        ("x".to_owned(), "no signed JSON Web Token"),
        (none, "no signed JSON Web Token"),
        (confused, "in a way that is not accepted"),
        (
            signer.sign_with(&critical, &claims()),
            "in a way that is not accepted",
        ),
        (other.sign(&claims()), "signed by somebody else"),
        (
            other.sign_with(&own_key, &claims()),
            "signed by somebody else",
        ),
        (changed, "signed by somebody else"),
        (
            good.trim_end_matches(|c| c != '.').to_owned(),
            "signed by somebody else",
        ),
        (
            Signer::p256("two").sign(&claims()),
            "a key that its issuer has not",
        ),
        (
            Signer::ed25519("one").sign(&claims()),
            "a key that its issuer has not",
        ),
        (signer.sign(&but("exp", json!(now() - 61))), "has ended"),
        (
            signer.sign(&but("exp", Value::Null)),
            "does not say when it ends",
        ),
        (
            signer.sign(&but("nbf", json!(now() + 120))),
            "does not hold yet",
        ),
        (
            signer.sign(&but("iss", json!("https://evil.example"))),
            "of another issuer",
        ),
        (signer.sign(&but("iss", Value::Null)), "does not say"),
        (
            signer.sign(&but("aud", json!("blog"))),
            "for another audience",
        ),
        (signer.sign(&but("aud", Value::Null)), "does not say"),
    ] {
        for way in Way::BOTH {
            let reply = guarded.get(way, &bearer(&token));
            reply.assert_error(401, None, words);
            let challenge = reply.field("www-authenticate").unwrap();
            assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
        }
    }
    for (claims, words) in [
        (but("role", json!("user")), "claim `role`"),
        (but("role", Value::Null), "claim `role`"),
    ] {
        guarded
            .get(Way::Lane, &bearer(&signer.sign(&claims)))
            .assert_error(403, None, words);
    }
    // Clocks differ a little.
    for claims in [but("exp", json!(now() - 30)), but("nbf", json!(now() + 30))] {
        assert_eq!(
            guarded
                .get(Way::Lane, &bearer(&signer.sign(&claims)))
                .status,
            200
        );
    }
    let told = guarded.get(Way::Lane, "");
    assert_eq!(
        told.field("www-authenticate"),
        Some("Bearer realm=\"hello\"")
    );
    // Nobody was asked at a token's own word.
    let asked = issuer.asked.lock().unwrap();
    assert!(
        asked
            .iter()
            .all(|asked| asked.line.starts_with("GET /keys ")),
        "{asked:?}"
    );
}

#[test]
fn rules_ask_for_scopes() {
    let signer = Signer::p256("one");
    let issuer = issuer(&[&signer]);
    let guarded = guarded(
        &issuer,
        "rules = [{ methods = [\"GET\"], scope = \"read\" }, { methods = [\"POST\"], scope = \"write\" }]",
    );
    let read = bearer(&signer.sign(&but("scope", json!("read"))));
    for way in Way::BOTH {
        assert_eq!(guarded.call(way, "GET", "", &read, "").status, 200);
        assert_eq!(guarded.call(way, "HEAD", "", &read, "").status, 200);
        let reply = guarded.call(way, "POST", "", &read, "x");
        reply.assert_error(403, None, "no scope `write`");
        assert_eq!(guarded.call(way, "PUT", "", &read, "x").status, 403);
        let both = bearer(&signer.sign(&claims()));
        assert_eq!(guarded.call(way, "POST", "", &both, "x").status, 200);
    }
}

#[test]
fn a_new_key_is_learnt_and_strangers_cannot_make_the_issuer_busy() {
    let (old, new) = (Signer::p256("old"), Signer::p256("new"));
    let issuer = issuer(&[&old]);
    let guarded = guarded(&issuer, "");
    assert_eq!(
        guarded.get(Way::Lane, &bearer(&old.sign(&claims()))).status,
        200
    );
    // For a while nobody makes it ask again.
    for _ in 0..5 {
        let stranger = Signer::p256("stranger");
        assert_eq!(
            guarded
                .get(Way::Lane, &bearer(&stranger.sign(&claims())))
                .status,
            401
        );
    }
    assert_eq!(issuer.count(), 1);
    let both = keys(&[&old, &new]);
    issuer.then(move |_| ok(&both));
    let line = bearer(&new.sign(&claims()));
    // It does not ask twice in 10 s.
    eventually!(guarded.get(Way::Hyper, &line).status == 200, within PATIENCE * 3);
    assert_eq!(issuer.count(), 2);
}

#[test]
fn many_callers_make_one_question() {
    let signer = Signer::p256("one");
    let keys = keys(&[&signer]);
    let issuer = FakeIssuer::new(move |_| {
        std::thread::sleep(Duration::from_millis(200));
        ok(&keys)
    });
    let guarded = guarded(&issuer, "");
    let line = bearer(&signer.sign(&claims()));
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| assert_eq!(guarded.get(Way::Lane, &line).status, 200));
        }
    });
    assert_eq!(issuer.count(), 1);
}

#[test]
fn an_issuer_that_gives_no_keys_lets_nobody_in() {
    let signer = Signer::p256("one");
    let good = ok(&keys(&[&signer])).replace("\r\nConnection", "\r\nX: y\r\nConnection");
    let huge = answer(
        "200 OK",
        &format!("{}{}", " ".repeat(2 << 20), keys(&[&signer])),
    );
    let elsewhere = issuer(&[&signer]);
    let redirect = format!(
        "HTTP/1.1 302 Found\r\nLocation: {}/keys\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        elsewhere.url()
    );
    let symmetric = json!({"keys": [{"kty": "oct", "kid": "one", "k": "AAAA", "alg": "HS256"}]});
    let mut encrypts = keys(&[&signer]);
    encrypts["keys"][0]["use"] = json!("enc");
    for script in [
        huge,
        redirect,
        answer("500 Oops", &keys(&[&signer]).to_string()),
        answer("200 OK", "<html>"),
        answer("200 OK", "{\"keys\": []}"),
        ok(&symmetric),
        ok(&encrypts),
        "garbage\r\n\r\n".into(),
        good[..good.len() - 10].to_owned(),
    ] {
        let says = script.clone();
        let issuer = FakeIssuer::new(move |_| says.clone());
        let guarded = guarded(&issuer, "");
        for way in Way::BOTH {
            let reply = guarded.get(way, &bearer(&signer.sign(&claims())));
            reply.assert_error(503, None, "the keys of its issuer cannot be read");
        }
        assert_eq!(issuer.count(), 1, "{script}");
    }
    assert_eq!(elsewhere.count(), 0);
    // Once it is better, so is everything.
    let tried = Arc::new(AtomicUsize::new(0));
    let (count, keys) = (Arc::clone(&tried), keys(&[&signer]));
    let issuer = FakeIssuer::new(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => answer("503 Later", ""),
        _ => ok(&keys),
    });
    let guarded = guarded(&issuer, "");
    let line = bearer(&signer.sign(&claims()));
    assert_eq!(guarded.get(Way::Lane, &line).status, 503);
    eventually!(guarded.get(Way::Lane, &line).status == 200);
}

#[test]
fn a_slow_issuer_is_not_waited_for_for_ever() {
    let signer = Signer::p256("one");
    let issuer = FakeIssuer::new(|_| {
        std::thread::sleep(Duration::from_secs(8));
        String::new()
    });
    let guarded = guarded(&issuer, "");
    let began = Instant::now();
    let reply = guarded.get(Way::Lane, &bearer(&signer.sign(&claims())));
    reply.assert_error(503, None, "cannot be read");
    assert!(
        began.elapsed() < Duration::from_secs(7),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn the_issuer_says_where_its_keys_are() {
    let signer = Signer::p256("one");
    let keys = keys(&[&signer]);
    let issuer = FakeIssuer::new(|_| String::new());
    let url = issuer.url();
    let discover = |named: String, place: String| {
        let keys = keys.clone();
        issuer.then(move |asked| match asked.line.split(' ').nth(1) {
            Some("/.well-known/openid-configuration") => {
                ok(&json!({"issuer": named, "jwks_uri": place}))
            }
            Some("/some/keys") => ok(&keys),
            _ => answer("404 Not Found", ""),
        });
    };
    let guarded = || {
        Guarded::new(auth(&format!(
            "[auth]\ntype = \"jwt\"\nissuer = \"{url}/\"\naudience = \"shop\""
        )))
    };
    let line = bearer(&signer.sign(&but("iss", json!(format!("{url}/")))));
    discover(format!("{url}/"), format!("{url}/some/keys"));
    assert_eq!(guarded().get(Way::Lane, &line).status, 200);
    // Another issuer's, or keys that anybody could have put there.
    discover("http://evil.example/".into(), format!("{url}/some/keys"));
    assert_eq!(guarded().get(Way::Lane, &line).status, 503);
    discover(format!("{url}/"), "http://keys.example/some/keys".into());
    assert_eq!(guarded().get(Way::Lane, &line).status, 503);
}

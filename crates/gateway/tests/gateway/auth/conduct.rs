//! What a refusal says of its caller.

use hob_model::{BanRules, Bans};
use serde_json::json;

use super::{
    Guarded, auth, basic,
    issuer::{FakeIssuer, Signer, ok},
    jwt::{self, bearer, but},
};
use crate::{harness::World, way::Way};

/// A server that soon has enough.
fn strict() -> World {
    let rules = BanRules {
        logins: 3,
        misses: 4,
        ..BanRules::default()
    };
    World::guarded(Bans::new(rules, Vec::new()), |_| {})
}

/// What somebody was shut out for.
fn reasons(guarded: &Guarded) -> Vec<String> {
    let bans = guarded.world.bans.list();
    bans.into_iter().map(|ban| ban.reason).collect()
}

#[test]
fn a_token_that_the_issuer_has_signed_is_no_guess() {
    let (signer, other) = (Signer::p256("one"), Signer::p256("one"));
    let issuer = jwt::issuer(&[&signer]);
    let guarded = Guarded::within(strict(), jwt::asks(&issuer, ""), |_| {});
    for claims in [
        but("exp", json!(jwt::now() - 100)),
        but("nbf", json!(jwt::now() + 100)),
        but("aud", json!("blog")),
        but("iss", json!("https://other.example")),
    ] {
        let line = bearer(&signer.sign(&claims));
        for way in Way::BOTH {
            assert_eq!(guarded.get(way, &line).status, 401);
        }
    }
    assert_eq!(reasons(&guarded), [""; 0]);
    // Nor is one of somebody else, but a storm of them is one.
    let line = bearer(&other.sign(&but("sub", json!("x"))));
    for _ in 0..4 {
        assert_eq!(guarded.get(Way::Lane, &line).status, 401);
    }
    assert_eq!(reasons(&guarded), ["4 requests for nothing"]);
}

#[test]
fn what_can_be_guessed_is_a_guess() {
    let issuer = FakeIssuer::new(|_| ok(&json!({"active": false})));
    let introspection = format!(
        "auth = {{ type = \"introspection\", url = \"{}\", client = \"c\", secret = \"s\" }}",
        issuer.url()
    );
    for (text, line) in [
        (
            r#"auth = { type = "basic", secret = "s" }"#,
            basic("ann", "two"),
        ),
        (r#"auth = "token""#, bearer("hob_made_up")),
        (&introspection, bearer("made_up")),
    ] {
        let guarded = Guarded::within(strict(), auth(text), |_| {}).secret("s", "ann:one");
        for _ in 0..3 {
            assert_eq!(guarded.get(Way::Lane, &line).status, 401, "{text}");
        }
        assert_eq!(reasons(&guarded), ["3 failed logins"], "{text}");
    }
}

//! Tokens of ORY Hydra: asked about (RFC 7662), and signed (RFC 7519).

use hob_testkit::{Answer, assert_eventually, has_programs};
use http::Method;

use super::{
    call,
    hydra::{Hydra, PROGRAM, Pki},
    mirror, set_secret,
};
use crate::bench::Bench;

const CLIENT: (&str, &str) = ("caller", "password of the caller");
const RULES: &str = "rules = [{ methods = [\"GET\"], scope = \"read\" }, { methods = [\"POST\"], scope = \"write\" }]";

fn is_here() -> bool {
    has_programs(&[PROGRAM, "python3"])
}

fn with(bench: &Bench, method: Method, token: &str) -> Answer {
    let login = format!("Bearer {token}");
    call(
        bench,
        method,
        "/function/shop",
        &[("Authorization", &login)],
        "",
    )
}

#[test]
fn hydra_is_asked_about_its_tokens() {
    if !is_here() {
        return;
    }
    let mut hydra = Some(Hydra::start("opaque", None));
    let bench = Bench::new();
    let issuer = hydra.as_ref().unwrap();
    issuer.client(CLIENT.0, CLIENT.1);
    set_secret(&bench, "client", "p:% word\n");
    let url = issuer.introspection();
    let manifest = format!(
        "[auth]\ntype = \"introspection\"\nurl = \"{url}\"\nclient = \"hob\"\nsecret = \"client\"\ncache = \"1s\"\naudience = \"shop\"\n{RULES}\n"
    );
    mirror(&bench, "shop", &manifest);

    let read = issuer.token(CLIENT, "read");
    let both = issuer.token(CLIENT, "read write");
    let told = with(&bench, Method::GET, &read).expect(200).json();
    assert_eq!(told["x-hob-caller"], "caller", "{told}");
    assert_eq!(told["x-hob-auth"], "introspection");
    assert_eq!(told["x-hob-scope"], "read");
    assert_eq!(told["authorization"], format!("Bearer {read}"));
    let answer = with(&bench, Method::POST, &read).expect(403);
    assert!(
        answer
            .header("www-authenticate")
            .contains("insufficient_scope")
    );
    with(&bench, Method::POST, &both).expect(200);
    with(&bench, Method::GET, "made-up").expect(401);
    bench.hob.get("/function/shop").expect(401);

    issuer.revoke(CLIENT, &both);
    assert_eventually!(
        with(&bench, Method::GET, &both).status == 401,
        "a revoked token ends with the time that answers are kept"
    );
    with(&bench, Method::GET, &read).expect(200);
    drop(hydra.take());
    assert_eventually!(
        with(&bench, Method::GET, &read).status == 503,
        "without its issuer nobody is let in"
    );
    assert!(
        bench
            .hob
            .log()
            .contains("callers of a function cannot be checked")
    );
    assert!(!bench.hob.log().contains(&read));
}

#[test]
fn hydras_own_signatures_are_checked_and_its_keys_followed() {
    if !is_here() {
        return;
    }
    let hydra = Hydra::start("jwt", None);
    let bench = Bench::new();
    hydra.client(CLIENT.0, CLIENT.1);
    let url = hydra.issuer();
    let manifest = format!(
        "[auth]\ntype = \"jwt\"\nissuer = \"{url}\"\naudience = \"shop\"\nclaims = {{ client_id = \"caller\" }}\n{RULES}\n"
    );
    mirror(&bench, "shop", &manifest);

    let read = hydra.token(CLIENT, "read");
    let told = with(&bench, Method::GET, &read).expect(200).json();
    assert_eq!(told["x-hob-caller"], "caller", "{told}");
    assert_eq!(told["x-hob-auth"], "jwt");
    assert_eq!(told["x-hob-scope"], "read");
    with(&bench, Method::HEAD, &read).expect(200);
    with(&bench, Method::POST, &read).expect(403);
    let mut wrong = read.clone();
    let last = wrong.pop().unwrap();
    wrong.push(if last == 'A' { 'Q' } else { 'A' });
    with(&bench, Method::GET, &wrong).expect(401);

    hydra.change_key();
    let new = hydra.token(CLIENT, "read write");
    assert_eventually!(
        with(&bench, Method::POST, &new).status == 200,
        "a new key is learnt"
    );
    // The old key is none any more.
    with(&bench, Method::GET, &read).expect(401);
    // The keys are at hand: the issuer may be away.
    drop(hydra);
    with(&bench, Method::POST, &new).expect(200);
}

#[test]
fn an_issuer_with_an_authority_of_its_own_is_trusted_where_that_is_said() {
    if !is_here() {
        return;
    }
    let bench = Bench::new();
    let pki = Pki::make(&bench.folder.path().join("authority"));
    let hydra = Hydra::start("opaque", Some(&pki));
    hydra.client(CLIENT.0, CLIENT.1);
    let token = hydra.token(CLIENT, "read");
    set_secret(&bench, "client", "x");
    set_secret(&bench, "root", &std::fs::read_to_string(&pki.root).unwrap());
    let url = hydra.introspection();
    let manifest = |ca: &str| {
        format!(
            "[auth]\ntype = \"introspection\"\nurl = \"{url}\"\nclient = \"hob\"\nsecret = \"client\"\n{ca}\n"
        )
    };
    mirror(&bench, "shop", &manifest(""));
    with(&bench, Method::GET, &token).expect(503);
    mirror(&bench, "shop", &manifest("ca = \"root\""));
    with(&bench, Method::GET, &token).expect(200);
    with(&bench, Method::GET, "made-up").expect(401);
}

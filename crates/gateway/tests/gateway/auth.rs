//! Who calls: each kind of `auth`, by both ways a call can take.

mod conduct;
mod introspection;
mod issuer;
mod jwt;
mod signed;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use hob_model::{Auth, Guard, Rule, Token};

use crate::{
    harness::{Replica, Reply, Request, World, recorder},
    way::Way,
};

/// A function `hello` that asks who calls.
pub(crate) struct Guarded {
    pub(crate) world: World,
    pub(crate) seen: Arc<Mutex<Vec<Request>>>,
    _replica: Replica,
}

impl Guarded {
    pub(crate) fn new(auth: Auth) -> Self {
        Self::with(auth, |_| {})
    }

    pub(crate) fn with(auth: Auth, adjust: impl FnOnce(&mut hob_model::Route)) -> Self {
        Self::within(World::with(|config| config.threads = 1), auth, adjust)
    }

    pub(crate) fn within(
        world: World,
        auth: Auth,
        adjust: impl FnOnce(&mut hob_model::Route),
    ) -> Self {
        let (seen, script) = recorder();
        let guard = Guard { auth, rate: None };
        let replica = world.hello_with(
            |route| {
                route.guard = Some(Arc::new(guard));
                adjust(route);
            },
            script,
        );
        Self {
            world,
            seen,
            _replica: replica,
        }
    }

    pub(crate) fn secret(self, name: &str, value: &str) -> Self {
        self.set(name, value);
        self
    }

    pub(crate) fn set(&self, name: &str, value: &str) {
        let mut secrets = self.world.known.secrets.lock().unwrap();
        secrets.insert(format!("openfaas-fn/{name}"), value.into());
    }

    /// Knows a token with these scopes.
    pub(crate) fn token(self, text: &str, scopes: &[&str]) -> Self {
        let scopes = scopes.iter().map(|scope| scope.parse().unwrap()).collect();
        let token = Token {
            name: "laptop".into(),
            scopes,
            expires: None,
        };
        let mut tokens = self.world.known.tokens.lock().unwrap();
        tokens.insert(text.into(), Arc::new(token));
        drop(tokens);
        self
    }

    /// Calls with these lines in the head, by this way.
    pub(crate) fn call(
        &self,
        way: Way,
        method: &str,
        path: &str,
        lines: &str,
        body: &str,
    ) -> Reply {
        let mark = match way {
            Way::Lane => "",
            Way::Hyper => "Connection: keep-alive, x-nothing\n",
        };
        let length = body.len();
        self.world.call(&format!(
            "{method} /function/hello{path} HTTP/1.1\nHost: h\n{mark}{lines}Content-Length: {length}\n\n{body}"
        ))
    }

    pub(crate) fn get(&self, way: Way, lines: &str) -> Reply {
        self.call(way, "GET", "", lines, "")
    }

    /// What the function was last told of its caller.
    pub(crate) fn told(&self) -> BTreeMap<String, String> {
        let request = self.seen.lock().unwrap().pop().expect("a call");
        let fields = request.fields.into_iter();
        let fields = fields.map(|(name, value)| (name.to_lowercase(), value));
        let of_caller = |name: &str| {
            let name = name.replace('_', "-");
            // How deep it is has nothing to do with it.
            name.starts_with("x-hob-") && name != "x-hob-depth" || name == "authorization"
        };
        fields.filter(|(name, _)| of_caller(name)).collect()
    }
}

/// What a function is told.
pub(crate) fn told(fields: &[(&str, &str)]) -> BTreeMap<String, String> {
    let fields = fields.iter();
    fields
        .map(|(name, value)| ((*name).into(), (*value).into()))
        .collect()
}

pub(crate) fn basic(user: &str, password: &str) -> String {
    let pair = STANDARD.encode(format!("{user}:{password}"));
    format!("Authorization: Basic {pair}\n")
}

/// As it stands in a `hob.toml`.
pub(crate) fn auth(text: &str) -> Auth {
    hob_model::Manifest::parse(text).unwrap().auth
}

#[test]
fn basic_lets_in_who_knows_a_users_password() {
    let guarded = Guarded::new(auth(r#"auth = { type = "basic", secret = "users" }"#))
        .secret("users", "ann:one\nbob:t:wo\n");
    for way in Way::BOTH {
        let reply = guarded.get(way, "");
        reply.assert_error(401, None, "function `hello` asks who calls");
        assert_eq!(
            reply.field("www-authenticate"),
            Some("Basic realm=\"hello\"")
        );
        for wrong in [
            basic("ann", "two"),
            basic("ann", ""),
            basic("", ""),
            basic("eve", "one"),
            "Authorization: Bearer one\n".into(),
            basic("ann", "one").repeat(2),
            "Authorization: Basic !!!\n".into(),
        ] {
            assert_eq!(guarded.get(way, &wrong).status, 401, "{way:?} {wrong}");
        }
        assert!(guarded.seen.lock().unwrap().is_empty());
        let forged = "X-Hob-Caller: root\nX_Hob_Caller: root\nx-hob-scope: all\nX-Hob-Auth: jwt\n";
        let login = basic("bob", "t:wo");
        assert_eq!(guarded.get(way, &format!("{forged}{login}")).status, 200);
        let passed = login.trim().trim_start_matches("Authorization: ");
        let expected = [
            ("authorization", passed),
            ("x-hob-auth", "basic"),
            ("x-hob-caller", "bob"),
        ];
        assert_eq!(guarded.told(), told(&expected), "{way:?}");
    }
}

#[test]
fn a_token_of_this_server_opens_its_function_and_is_not_passed_on() {
    let guarded = Guarded::new(auth(r#"auth = "token""#))
        .token("hob_right", &["invoke:hello", "functions:read"])
        .token("hob_wrong", &["invoke:other"])
        .token("hob_admin", &["admin"]);
    for way in Way::BOTH {
        let reply = guarded.get(way, "");
        reply.assert_error(401, None, "send a token of this server");
        assert_eq!(
            reply.field("www-authenticate"),
            Some("Bearer realm=\"hello\"")
        );
        let reply = guarded.get(way, "Authorization: Bearer hob_made_up\n");
        reply.assert_error(401, None, "unknown or has ended");
        let challenge = "Bearer realm=\"hello\", error=\"invalid_token\"";
        assert_eq!(reply.field("www-authenticate"), Some(challenge));
        let reply = guarded.get(way, "Authorization: Bearer hob_wrong\n");
        reply.assert_error(403, None, "no scope `invoke:hello`");
        let challenge = reply.field("www-authenticate").unwrap();
        assert!(challenge.contains("error=\"insufficient_scope\", scope=\"invoke:hello\""));

        for login in [
            "Authorization: bearer hob_right\n".to_owned(),
            basic("anybody", "hob_right"),
        ] {
            assert_eq!(guarded.get(way, &login).status, 200, "{login}");
            let expected = [
                ("x-hob-auth", "token"),
                ("x-hob-caller", "laptop"),
                ("x-hob-scope", "invoke:hello functions:read"),
            ];
            assert_eq!(guarded.told(), told(&expected), "{way:?}");
        }
        assert_eq!(guarded.get(way, &basic("", "hob_admin")).status, 200);
    }
}

#[test]
fn rules_open_some_paths_and_close_what_none_fits() {
    let rules = r#"
        [auth]
        type = "token"
        rules = [{ methods = ["GET"], path = "/public/*", open = true }, { methods = ["GET", "POST"] }]
    "#;
    let guarded = Guarded::new(auth(rules)).token("hob_right", &["invoke:hello"]);
    let login = "Authorization: Bearer hob_right\n";
    for way in Way::BOTH {
        for (method, path, lines, status) in [
            ("GET", "/public/a?q=/../", "", 200),
            ("HEAD", "/public/", "", 200),
            ("POST", "/public/a", "", 401),
            ("GET", "", "", 401),
            ("GET", "/public", "", 401),
            ("GET", "/PUBLIC/a", "", 401),
            ("GET", "/x", login, 200),
            ("DELETE", "/x", login, 403),
            ("GET", "/public/../x", login, 403),
            ("GET", "/public/%2e%2e/x", "", 403),
            ("GET", "/public/%2E./x", "", 403),
            ("GET", "/public/..%2fx", "", 403),
            ("GET", "/public//x", "", 403),
            ("GET", "/public/a;/../x", "", 403),
        ] {
            let reply = guarded.call(way, method, path, lines, "");
            assert_eq!(reply.status, status, "{way:?} {method} {path}");
        }
        // Nobody is told where nobody was asked, and what could be a token does not go on.
        guarded.call(
            way,
            "GET",
            "/public/a",
            &format!("{login}X-Hob-Caller: x\n"),
            "",
        );
        assert_eq!(guarded.told(), told(&[]), "{way:?}");
    }
    let rule = Rule {
        open: true,
        ..Rule::default()
    };
    let open = Guarded::new(Auth::Token(hob_model::TokenAuth { rules: vec![rule] }));
    assert_eq!(open.call(Way::Lane, "FROB", "//..", "", "").status, 200);
}

#[test]
fn a_secret_that_cannot_be_read_lets_nobody_in() {
    let guarded = Guarded::new(auth(r#"auth = { type = "basic", secret = "users" }"#));
    for way in Way::BOTH {
        let reply = guarded.get(way, &basic("ann", "one"));
        reply.assert_error(503, None, "cannot find out who calls");
        assert_eq!(guarded.get(way, "").status, 401);
    }
    // And once it is there, somebody is.
    guarded.set("users", "ann:one");
    eventually!(guarded.get(Way::Hyper, &basic("ann", "one")).status == 200);
    // A changed one is heeded soon, also by who never waits.
    guarded.set("users", "ann:two");
    eventually!(guarded.get(Way::Lane, &basic("ann", "one")).status == 401);
    eventually!(guarded.get(Way::Lane, &basic("ann", "two")).status == 200);
}

#[test]
fn calls_for_later_are_checked_when_they_are_taken() {
    let guarded = Guarded::new(auth(r#"auth = "token""#)).token("hob_right", &["invoke:hello"]);
    let later = |lines: &str| {
        guarded.world.call(&format!(
            "POST /async-function/hello/x HTTP/1.1\nHost: h\n{lines}Content-Length: 2\n\nhi"
        ))
    };
    let reply = later("");
    reply.assert_error(401, None, "asks who calls");
    assert!(reply.field("x-call-id").is_some() && reply.field("www-authenticate").is_some());
    let reply = later("Authorization: Bearer hob_right\n");
    assert!(reply.text().starts_with("fallback /async-function/hello/x"));
    // Whose guards nobody knows is taken for closed.
    let reply = guarded
        .world
        .call("POST /async-function/nobody HTTP/1.1\nHost: h\nContent-Length: 2\n\nhi");
    reply.assert_error(404, None, "`nobody` does not exist");
}

#[test]
fn a_refused_body_does_not_cost_its_caller_the_answer() {
    let guarded = Guarded::new(auth(r#"auth = "token""#));
    let body = "x".repeat(4 << 20);
    for door in ["function", "async-function"] {
        let mut client = guarded.world.connect();
        let mut stream = client.stream.get_ref().try_clone().unwrap();
        let text = format!(
            "POST /{door}/hello HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        // It may be cut off, since nobody reads all of it.
        let sending = std::thread::spawn(move || {
            let _ = std::io::Write::write_all(&mut stream, text.as_bytes());
        });
        let reply = client.reply("POST").expect("an answer");
        assert_eq!(reply.status, 401, "{door}");
        drop(client);
        sending.join().unwrap();
    }
}

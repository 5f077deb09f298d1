//! Every endpoint there is, asked without credentials, with wrong ones, with a token that does not
//! go so far, and with one that does.

use std::collections::BTreeSet;

use axum::body::Body;
use hob_control::Access;
use http::{Request, StatusCode, header};
use serde_json::Value;

use crate::{Plane, document::document, request, text};

/// What the document does not have: method, path, and what it takes, as in the document.
const BESIDE: &[(&str, &str, &str)] = &[
    ("POST", "/async-function/{name}/", OPEN),
    ("POST", "/async-function/{name}/{*rest}", OPEN),
    ("POST", "/api/v2/piston/execute", OPEN),
    ("GET", "/api/v2/piston/runtimes", OPEN),
    // Signed instead, which its handler looks for.
    ("POST", "/build", OPEN),
    ("GET", "/publickey", OPEN),
    ("POST", "/system/namespace", "functions:write"),
    ("POST", "/system/namespace/", "functions:write"),
    ("GET", "/system/namespaces/", "functions:read"),
    ("POST", "/system/namespaces/", "functions:write"),
    ("GET", "/system/namespaces/{name}", "functions:read"),
    ("PUT", "/system/namespaces/{name}", "functions:write"),
    ("DELETE", "/system/namespaces/{name}", "functions:write"),
    ("GET", "/v2", "functions:read"),
    ("GET", "/v2/", "functions:read"),
    ("POST", "/v2/", "functions:write"),
    ("GET", "/v2/{*path}", "functions:read"),
    ("HEAD", "/v2/{*path}", "functions:read"),
    ("PUT", "/v2/{*path}", "functions:write"),
    ("PATCH", "/v2/{*path}", "functions:write"),
    ("POST", "/v2/{*path}", "functions:write"),
    ("DELETE", "/v2/{*path}", "functions:write"),
];
/// Takes nothing.
const OPEN: &str = "open";
/// Takes any login.
const LOGIN: &str = "login";
/// Takes the password.
const PASSWORD: &str = "password";

/// A way into hob.
struct Endpoint {
    method: String,
    path: String,
    takes: String,
}

impl Endpoint {
    fn new(method: &str, path: &str, takes: &str) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            takes: takes.to_owned(),
        }
    }

    fn line(&self) -> String {
        let parts = self.path.split('/').map(|part| match part {
            "{*path}" => "_catalog",
            part if part.starts_with('{') => "nobody",
            part => part,
        });
        let path = parts.collect::<Vec<_>>().join("/");
        // With the key to the secrets it is refused to everybody.
        let query = if path.ends_with("/backup") {
            "?identity=false"
        } else {
            ""
        };
        format!("{} {path}{query}", self.method)
    }

    /// Scopes that all together are not enough.
    fn too_narrow(&self) -> &'static [&'static str] {
        match self.takes.as_str() {
            "functions:read" => &["secrets:write", "invoke:*"],
            "functions:write" => &["functions:read", "secrets:write", "invoke:*"],
            "secrets:write" => &["functions:write", "invoke:*"],
            "admin" => &["functions:write", "secrets:write", "invoke:*"],
            PASSWORD => &["admin"],
            other => panic!("what is `{other}`?"),
        }
    }

    async fn ask(&self, plane: &Plane, authorization: Option<&str>) -> http::Response<Body> {
        plane
            .send(with(&self.line(), authorization), Access::Remote)
            .await
    }
}

fn with(line: &str, authorization: Option<&str>) -> Request<Body> {
    let mut request = request(line, "");
    if let Some(value) = authorization {
        let value = value.parse().expect("header");
        request.headers_mut().insert(header::AUTHORIZATION, value);
    }
    request
}

/// What the document says of an operation.
fn taken(operation: &Value) -> String {
    let Some(security) = operation["security"].as_array() else {
        return OPEN.into();
    };
    let mut tokens = security.iter().filter_map(|way| way.get("token"));
    match tokens.next().map(|scopes| scopes[0].as_str()) {
        None => PASSWORD.into(),
        Some(None) => LOGIN.into(),
        Some(Some(scope)) => scope.to_owned(),
    }
}

async fn endpoints(plane: &Plane) -> Vec<Endpoint> {
    let document = document(plane).await;
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("an item") {
            let method = method.to_uppercase();
            all.push(Endpoint::new(&method, path, &taken(operation)));
        }
    }
    let beside = BESIDE.iter();
    all.extend(beside.map(|(method, path, takes)| Endpoint::new(method, path, takes)));
    all
}

/// Tokens by their scopes.
async fn token(plane: &Plane, scopes: &[&str]) -> String {
    let name = scopes.join("-").replace([':', '*'], "-");
    let name = name.trim_end_matches('-');
    let asked = serde_json::json!({"name": name, "scopes": scopes}).to_string();
    let _ = plane
        .call(&format!("DELETE /hob/v1/tokens/{name}"), "")
        .await;
    let (status, made) = plane.call("POST /hob/v1/tokens", asked).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    let made: Value = serde_json::from_str(&made).expect("JSON");
    made["token"].as_str().expect("a text").to_owned()
}

#[tokio::test]
async fn the_walk_meets_every_path_of_the_router() {
    let plane = Plane::new();
    let walked = endpoints(&plane).await;
    let walked: BTreeSet<_> = walked.iter().map(|one| one.path.as_str()).collect();
    // A router does not tell its routes, but for this.
    let router = format!("{:?}", plane.control.router(Access::Remote));
    let routes: BTreeSet<_> = router
        .split('"')
        .filter(|text| text.starts_with('/') && text.len() > 1 && !text.contains("__private"))
        .collect();
    assert!(routes.contains("/v2/{*path}"), "{router}");
    assert_eq!(
        routes, walked,
        "name its method and what it takes in BESIDE"
    );
}

#[tokio::test]
async fn nobody_comes_in_without_credentials_or_with_wrong_ones() {
    let plane = Plane::new();
    plane.store.ensure_admin_password().expect("store");
    for endpoint in endpoints(&plane).await {
        let (line, open) = (endpoint.line(), endpoint.takes == OPEN);
        for wrong in [
            None,
            Some("Bearer hob_0123456789012345678901234567890123456789012"),
            // `admin:hob_…`, `:` and nothing.
            Some("Basic YWRtaW46aG9iX3dyb25n"),
            Some("Basic Og=="),
            Some("Bearer"),
            Some("Negotiate x"),
        ] {
            let answer = endpoint.ask(&plane, wrong).await;
            let refused = answer.status() == StatusCode::UNAUTHORIZED;
            let asks = answer.headers().get(header::WWW_AUTHENTICATE);
            let asks = asks.is_some_and(|asks| asks.as_bytes().starts_with(b"Basic realm=\"hob\""));
            assert_eq!(refused && asks, !open, "{line} with {wrong:?}: {answer:?}");
        }
        if open {
            continue;
        }
        // A password is hashed: once for each endpoint is slow enough.
        let answer = endpoint.ask(&plane, Some("Basic YWRtaW46d3Jvbmc=")).await;
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{line}");
    }
}

#[tokio::test]
async fn a_token_goes_as_far_as_its_scopes_and_no_further() {
    let plane = Plane::new();
    plane.store.ensure_admin_password().expect("store");
    for endpoint in endpoints(&plane).await {
        let line = endpoint.line();
        if [OPEN, LOGIN].contains(&endpoint.takes.as_str()) {
            continue;
        }
        let narrow = token(&plane, endpoint.too_narrow()).await;
        let answer = endpoint
            .ask(&plane, Some(&format!("Bearer {narrow}")))
            .await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{line}");
        let said = text(answer).await;
        let cured = said.contains(&endpoint.takes) || endpoint.method == "HEAD";
        assert!(cured && !said.contains(&narrow), "{line}: {said}");
    }
}

#[tokio::test]
async fn whoever_may_gets_to_the_handler() {
    let plane = Plane::new();
    let admin = plane.store.ensure_admin_password().expect("store");
    let admin = admin.expect("new").reveal().to_owned();
    for endpoint in endpoints(&plane).await {
        let line = endpoint.line();
        let authorization = match endpoint.takes.as_str() {
            OPEN => None,
            PASSWORD => Some(basic("admin", &admin)),
            LOGIN => Some(basic("x", &token(&plane, &["invoke:hello"]).await)),
            scope => Some(format!("Bearer {}", token(&plane, &[scope]).await)),
        };
        let answer = endpoint.ask(&plane, authorization.as_deref()).await;
        let status = answer.status();
        // The builder is off, and says so to those who may know.
        let stranger = status == StatusCode::UNAUTHORIZED && BUILDER.contains(&&*endpoint.path);
        let refused = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&status);
        assert_eq!(refused, stranger, "{line}: {status}");
        assert_ne!(status, StatusCode::METHOD_NOT_ALLOWED, "{line}");
    }
}

/// Without a payload secret it asks strangers for a signature, and tells them nothing.
const BUILDER: [&str; 2] = ["/build", "/publickey"];

fn basic(user: &str, password: &str) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};

    let credentials = STANDARD.encode(format!("{user}:{password}"));
    format!("Basic {credentials}")
}

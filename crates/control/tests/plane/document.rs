//! The OpenAPI document: the routes that there are, no more and no less, and its golden copy.

use std::{collections::BTreeSet, env, fs, path::Path};

use hob_control::Access;
use http::StatusCode;
use serde_json::Value;

use crate::{Plane, request, text};

/// Set it to write the golden copy anew: `HOB_RENEW=1 cargo test -p hob-control document`.
const RENEW: &str = "HOB_RENEW";
/// The golden copy.
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
/// Specified elsewhere: OpenFaaS's builder and the registry.
const ELSEWHERE: [&str; 3] = ["/build", "/publickey", "/v2"];
/// Other spellings of routes that the document has: whoever reads it needs none of them.
const ALIASES: [&str; 8] = [
    "/api/v2/piston/execute",
    "/api/v2/piston/runtimes",
    "/async-function/{name}/",
    "/async-function/{name}/{*rest}",
    "/system/namespace",
    "/system/namespace/",
    "/system/namespaces/",
    "/system/namespaces/{name}",
];

pub(crate) async fn document(plane: &Plane) -> Value {
    let response = plane
        .send(request("GET /openapi.json", ""), Access::Remote)
        .await;
    assert_eq!(response.status(), StatusCode::OK);
    serde_json::from_str(&text(response).await).expect("JSON")
}

/// `/hob/v1/functions/{name}` and its methods in the document.
fn paths(document: &Value) -> Vec<(&str, BTreeSet<String>)> {
    let paths = document["paths"].as_object().expect("paths");
    let methods = |item: &Value| {
        let methods = item.as_object().expect("an item").keys();
        methods.map(|name| name.to_uppercase()).collect()
    };
    let paths = paths.iter();
    paths
        .map(|(path, item)| (path.as_str(), methods(item)))
        .collect()
}

#[tokio::test]
async fn the_golden_copy_is_what_is_served() {
    let document = document(&Plane::new()).await;
    let served = format!("{document:#}\n");
    if env::var_os(RENEW).is_some() {
        fs::write(GOLDEN, &served).expect("written");
    }
    let golden = fs::read_to_string(Path::new(GOLDEN)).unwrap_or_default();
    let differ = golden.lines().zip(served.lines()).find(|(a, b)| a != b);
    assert!(
        golden == served,
        "docs/openapi.json is out of date, first at {differ:?}: renew it with `{RENEW}=1 cargo test -p hob-control document`, and look at what changed"
    );
}

#[tokio::test]
async fn whatever_is_referred_to_is_there() {
    let document = document(&Plane::new()).await;
    let text = document.to_string();
    let references = text.split("\"$ref\":\"#").skip(1);
    let mut references = references.filter_map(|rest| rest.split('"').next());
    let missing = references.find(|path| document.pointer(path).is_none());
    assert_eq!(
        missing, None,
        "name it in `Head` in control/src/api/document.rs"
    );
}

#[tokio::test]
async fn every_route_is_in_the_document() {
    let plane = Plane::new();
    let document = document(&plane).await;
    let documented: BTreeSet<_> = paths(&document).into_iter().map(|(path, _)| path).collect();
    // A router does not tell its routes, but for this.
    let router = format!("{:?}", plane.control.router(Access::Local));
    let routes: BTreeSet<_> = router
        .split('"')
        .filter(|text| text.starts_with('/') && text.len() > 1 && !text.contains("__private"))
        .filter(|path| !ELSEWHERE.iter().any(|other| path.starts_with(other)))
        .collect();
    let unknown: Vec<_> = ALIASES
        .iter()
        .filter(|path| !routes.contains(*path))
        .collect();
    assert!(unknown.is_empty(), "no routes: {unknown:?}");
    let routes: BTreeSet<_> = routes
        .into_iter()
        .filter(|path| !ALIASES.contains(path))
        .collect();
    assert!(routes.contains("/hob/v1/functions/{name}"), "{router}");
    assert_eq!(
        routes, documented,
        "write #[utoipa::path] at the handler and name it in `documented()` in control/src/api.rs"
    );
}

#[tokio::test]
async fn every_method_is_in_the_document() {
    let plane = Plane::new();
    let document = document(&plane).await;
    for (path, methods) in paths(&document) {
        let parts = path.split('/').map(|part| match part.starts_with('{') {
            true => "nobody",
            false => part,
        });
        let asked = parts.collect::<Vec<_>>().join("/");
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH"] {
            let line = format!("{method} {asked}");
            let status = plane.send(request(&line, ""), Access::Local).await.status();
            let taken = status != StatusCode::METHOD_NOT_ALLOWED;
            assert_eq!(taken, methods.contains(method), "{line}: {status}");
        }
    }
}

#[tokio::test]
async fn every_operation_has_a_name_and_a_summary() {
    let document = document(&Plane::new()).await;
    let mut names = BTreeSet::new();
    for (path, methods) in paths(&document) {
        for method in methods {
            let operation = &document["paths"][path][method.to_lowercase()];
            let name = operation["operationId"].as_str();
            let name = name.unwrap_or_else(|| panic!("{method} {path} has no tag"));
            assert!(names.insert(name), "{name} is there twice");
            let summary = operation["summary"].as_str().unwrap_or_default();
            assert!(
                summary.ends_with('.'),
                "{name}: `{summary}` is no sentence on a line of its own"
            );
        }
    }
}

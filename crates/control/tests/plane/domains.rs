//! No two functions have the same domain, however they would come to it.

use hob_model::{
    Function,
    wire::{DeployEvent, Fault},
};
use http::StatusCode;

use crate::{Plane, events, eventually};

/// That a deploy came to nothing since `owner` has `domain`.
#[track_caller]
fn assert_taken(events: &[DeployEvent], domain: &str, owner: &str) {
    let Some(DeployEvent::Failed { message, fault }) = events.last() else {
        panic!("not failed: {events:?}");
    };
    let expected = format!("domain `{domain}` is function `{owner}`'s: ");
    assert!(message.starts_with(&expected), "{message}");
    assert_eq!(*fault, Fault::Caller);
}

impl Plane {
    async fn change(&self, line: &str, body: &str) -> Vec<DeployEvent> {
        let (status, text) = self
            .call(&format!("POST /hob/v1/functions/{line}"), body.to_owned())
            .await;
        assert_eq!(status, StatusCode::OK, "{text}");
        events(&text)
    }

    fn leads_to(&self, host: &str) -> Option<String> {
        let found = self.engine.routes.by_domain(host.as_bytes(), "/");
        found.map(|(route, _)| route.function.to_string())
    }
}

#[tokio::test]
async fn a_domain_is_one_functions_until_it_is_gone() {
    let plane = Plane::new();
    plane
        .deployed("a", "v1 domain=example.net domain=example.net/a")
        .await;
    let events = plane
        .deploy("b", "v1 domain=b.example.net domain=Example.net")
        .await;
    assert_taken(&events, "example.net", "a");
    assert!(
        plane
            .engine
            .calls()
            .iter()
            .all(|call| !call.contains(" b "))
    );
    // Another path of the host is another domain, and what is refused takes nothing.
    plane.deployed("b", "v2 domain=example.net/b").await;
    plane.deployed("c", "v1 domain=b.example.net").await;
    // Its own are no hindrance to the next deploy.
    plane.deployed("a", "v2 domain=example.net").await;
    plane.deployed("b", "v3 domain=example.net/a").await;
    let (status, text) = plane.call("GET /hob/v1/functions/b", "").await;
    assert_eq!(status, StatusCode::OK);
    assert!(text.contains(r#""domains":["example.net/a"]"#), "{text}");
    plane.call("DELETE /hob/v1/functions/a", "").await;
    plane.deployed("c", "v2 domain=example.net").await;
    assert_eq!(plane.leads_to("example.net").as_deref(), Some("c"));
    assert_eq!(plane.leads_to("b.example.net"), None);
}

/// What is at such a host gets every login that is meant for the server.
#[tokio::test]
async fn the_servers_own_hosts_are_no_functions() {
    let plane = Plane::new();
    plane.deployed("early", "v1 domain=box.example.net").await;
    assert_eq!(plane.leads_to("box.example.net").as_deref(), Some("early"));
    plane.deployed("early", "v2").await;

    let plane = plane.again();
    let own = ["box.example.net", "box.staging"];
    plane.engine.routes.keep_back(own);
    plane.control.restore().await.expect("restores");
    let refused = |events: &[DeployEvent], what: &str| {
        let Some(DeployEvent::Failed { message, fault }) = events.last() else {
            panic!("not failed: {events:?}");
        };
        let expected = format!("`{what}` is this server's own name");
        assert!(message.starts_with(&expected), "{message}");
        assert_eq!(*fault, Fault::Caller);
    };
    for domain in [
        "box.example.net",
        "box.example.net/system",
        "gateway.openfaas",
        "gateway.openfaas.svc.cluster.local",
        "a.openfaas-fn.svc.cluster.local/x",
    ] {
        refused(
            &plane.deploy("a", &format!("v1 domain={domain}")).await,
            domain,
        );
        assert_eq!(plane.leads_to("box.example.net"), None);
    }
    // Other functions would find it by that name.
    let (status, text) = plane
        .call(
            "POST /system/namespace/",
            r#"{"name":"staging","annotations":{"openfaas":"1"}}"#,
        )
        .await;
    assert!(status.is_success(), "{text}");
    refused(&plane.deploy("box.staging", "v1").await, "box.staging");
    let events = plane.change("early/rollback", r#"{"revision":1}"#).await;
    refused(&events, "box.example.net");
    plane.deployed("a", "v1 domain=mybox.example.net").await;
    assert_eq!(plane.leads_to("mybox.example.net").as_deref(), Some("a"));
}

#[tokio::test]
async fn what_has_become_the_servers_own_is_not_served_and_warned_of() {
    let plane = Plane::new();
    plane
        .deployed("a", "v1 domain=box.example.net/hook domain=a.example.net")
        .await;
    let plane = plane.again();
    plane.engine.routes.keep_back(["box.example.net"]);
    let restored = plane.control.restore().await.expect("restores");
    assert_eq!((restored.functions, restored.failed), (1, 0));
    assert_eq!(plane.leads_to("box.example.net"), None);
    let found = |path| plane.engine.routes.by_domain(b"box.example.net", path);
    assert!(found("/hook/x").is_none());
    assert_eq!(plane.leads_to("a.example.net").as_deref(), Some("a"));
    let (_, text) = plane.call("GET /hob/v1/status", "").await;
    assert!(
        text.contains("`a` is not served at `box.example.net/hook`"),
        "{text}"
    );
}

#[tokio::test]
async fn neither_a_rollback_nor_a_promotion_takes_what_another_has_by_now() {
    let plane = Plane::new();
    plane.deployed("a", "v1 domain=example.net").await;
    plane.deployed("a", "v2").await;
    plane.deployed("b", "v1 domain=example.net").await;
    let events = plane.change("a/rollback", r#"{"revision":1}"#).await;
    assert_taken(&events, "example.net", "b");
    assert_eq!(plane.leads_to("example.net").as_deref(), Some("b"));

    // A canary's domains count once it answers all calls.
    let canary = crate::archive("v3 domain=c.example.net");
    let (_, text) = plane
        .call("PUT /hob/v1/functions/a?canary=10%25", canary)
        .await;
    assert!(text.contains(r#""event":"done""#), "{text}");
    assert_eq!(plane.leads_to("c.example.net"), None);
    plane.deployed("c", "v1 domain=c.example.net").await;
    let events = plane.change("a/promote", "").await;
    assert_taken(&events, "c.example.net", "c");
    plane.deployed("c", "v2").await;
    let events = plane.change("a/promote", "").await;
    assert!(
        matches!(events.last(), Some(DeployEvent::Done { .. })),
        "{events:?}"
    );
    assert_eq!(plane.leads_to("c.example.net").as_deref(), Some("a"));
}

#[tokio::test]
async fn of_two_deploys_at_once_one_gets_it() {
    let plane = Plane::new();
    let turn = plane.engine.starts.acquire().await.expect("open");
    let first = plane.deploy("a", "v1 domain=example.net");
    let second = async {
        // Its start is under way, and nothing of it is written down.
        eventually("the first one starts", || {
            plane.engine.count("apply a v1 domain=example.net 1") == 1
        })
        .await;
        let events = plane.deploy("b", "v1 domain=example.net").await;
        drop(turn);
        events
    };
    let (first, second) = tokio::join!(first, second);
    assert!(
        matches!(first.last(), Some(DeployEvent::Done { .. })),
        "{first:?}"
    );
    assert_taken(&second, "example.net", "a");
}

#[tokio::test]
async fn a_deploy_that_comes_to_nothing_keeps_and_takes_no_domain() {
    use std::sync::atomic::Ordering;
    let plane = Plane::new();
    plane.deployed("a", "v1 domain=example.net").await;
    plane.engine.broken.store(true, Ordering::SeqCst);
    let events = plane.deploy("a", "v2 domain=new.example.net").await;
    assert!(
        matches!(events.last(), Some(DeployEvent::Failed { .. })),
        "{events:?}"
    );
    plane.engine.broken.store(false, Ordering::SeqCst);
    let events = plane.deploy("b", "v1 domain=example.net").await;
    assert_taken(&events, "example.net", "a");
    plane.deployed("b", "v2 domain=new.example.net").await;
}

#[tokio::test]
async fn clients_of_openfaas_are_told_so_by_a_conflict_and_keep_what_they_cannot_say() {
    let plane = Plane::new();
    plane.deployed("a", "0123456789ab domain=example.net").await;
    let (_, text) = plane.call("GET /system/function/a", "").await;
    let status: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let image = status["image"].as_str().expect("an image");
    let deployment = |name: &str| format!(r#"{{"service":"{name}","image":"{image}"}}"#);
    // The same bundle under another name would have the same domain.
    let (status, text) = plane.call("POST /system/functions", deployment("b")).await;
    assert_eq!(status, StatusCode::CONFLICT, "{text}");
    assert!(text.contains("`example.net` is function `a`'s"), "{text}");
    let (status, text) = plane.call("PUT /system/functions", deployment("a")).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{text}");
    assert_eq!(plane.leads_to("example.net").as_deref(), Some("a"));
}

#[tokio::test]
async fn of_two_in_a_changed_database_the_first_keeps_it() {
    let plane = Plane::new();
    let name = plane.deployed("a", "v1 domain=example.net").await;
    let kept = plane.store.function(&name).expect("reads").expect("kept");
    let other = Function {
        name: "b".parse().expect("valid"),
        ..kept
    };
    plane.store.add_revision(&other, 3).expect("written");
    let plane = plane.again();
    let restored = plane.control.restore().await.expect("restores");
    assert_eq!((restored.functions, restored.failed), (2, 0));
    assert_eq!(plane.leads_to("example.net").as_deref(), Some("a"));
}

#[tokio::test]
async fn domains_are_there_after_a_restart() {
    let plane = Plane::new();
    plane.deployed("a", "v1 domain=example.net").await;
    let plane = plane.again();
    plane.control.restore().await.expect("restores");
    assert_eq!(plane.leads_to("example.net").as_deref(), Some("a"));
    let events = plane.deploy("b", "v1 domain=example.net").await;
    assert_taken(&events, "example.net", "a");
}

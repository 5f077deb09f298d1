//! Every change is written down, whichever route it came by.

use std::sync::Arc;

use hob_control::Access;
use hob_model::{CallerAddress, sandbox::asks_for_run, wire::AuditRecord};
use hob_store::{AuditFilter, AuditRow};
use http::StatusCode;
use http_body_util::BodyExt;

use crate::{Plane, archive, calls::NoDoor, document::document, events, request, text};

fn changes(plane: &Plane) -> Vec<AuditRow> {
    let filter = AuditFilter {
        limit: 1_000,
        ..AuditFilter::default()
    };
    plane.store.changes(&filter).expect("reads")
}

#[tokio::test]
async fn each_operation_that_changes_something_has_a_word() {
    let plane = Plane::new();
    let document = document(&plane).await;
    for (path, item) in document["paths"].as_object().expect("paths") {
        for method in item.as_object().expect("an item").keys() {
            let method = method.to_uppercase();
            let asked = path.split('/').map(|part| match part.starts_with('{') {
                true => "nobody",
                false => part,
            });
            let line = format!("{method} {}", asked.collect::<Vec<_>>().join("/"));
            let before = changes(&plane).len();
            let answer = plane.send(request(&line, ""), Access::Local).await;
            // Some of it is no text.
            answer.into_body().collect().await.expect("whole");
            let noted = changes(&plane).split_off(before);
            // Calls and runs change nothing, and a backup takes everything out.
            let calls = line == "POST /async-function/nobody" || asks_for_run(path);
            let changes_something = method != "GET" && !calls || path == "/hob/v1/backup";
            assert_eq!(noted.len(), usize::from(changes_something), "{line}");
            for row in noted {
                assert!(
                    row.action.contains('.') && !row.action.contains(' '),
                    "{line} has no word: give it one in control/src/api/audit/action.rs"
                );
                assert!(
                    path.contains('{') <= (row.target == "nobody"),
                    "{line}: {row:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn it_says_who_it_was_and_from_where() {
    let plane = Plane::new();
    plane.deployed("hello", "v1").await;
    let line = "POST /hob/v1/functions/hello/scale";
    let admin = crate::auth::password(&plane);
    let mut remote = crate::auth::login(line, &admin);
    *remote.body_mut() = r#"{"replicas": 2}"#.into();
    remote.extensions_mut().insert(CallerAddress {
        ip: "203.0.113.9".parse().expect("an address"),
        encrypted: true,
    });
    let answer = plane.send(remote, Access::Remote).await;
    assert_eq!(answer.status(), StatusCode::OK);
    // Nobody.
    plane.send(request(line, ""), Access::Remote).await;
    // A page that uses a password which a browser remembers.
    let mut page = crate::auth::login("DELETE /hob/v1/functions/hello", &admin);
    let origin = "https://evil.example".parse().expect("a header");
    page.headers_mut().insert("origin", origin);
    plane.send(page, Access::Remote).await;

    let (status, said) = plane.call("GET /hob/v1/audit", "").await;
    assert_eq!(status, StatusCode::OK);
    let records: Vec<AuditRecord> = serde_json::from_str(&said).expect("records");
    let lines = records.iter().map(|record| {
        let AuditRecord {
            who,
            from,
            action,
            target,
            status,
            ..
        } = record;
        format!("{who} {from} {action} {target} {status}")
    });
    assert_eq!(
        lines.collect::<Vec<_>>(),
        [
            "local local function.deploy hello 200",
            "admin 203.0.113.9 function.scale hello 200",
            "admin - function.remove hello 403",
        ]
    );
}

#[tokio::test]
async fn a_deploy_is_written_down_before_its_last_line_can_be_read() {
    let plane = Plane::new();
    for (script, status) in [("v1", 200), ("refuse no such language", 400)] {
        let put = request("PUT /hob/v1/functions/hello", archive(script));
        let answer = plane.send(put, Access::Local).await;
        let said = text(answer).await;
        let last = changes(&plane).pop().expect("it is there by now");
        assert_eq!(last.status, status, "{:?}", events(&said));
    }
}

#[tokio::test]
async fn a_deploy_whose_client_left_is_written_down_too() {
    let plane = Plane::new();
    let put = request("PUT /hob/v1/functions/hello", archive("v1"));
    drop(plane.send(put, Access::Local).await);
    crate::eventually("a record", || changes(&plane).len() == 1).await;
    assert_eq!(changes(&plane)[0].status, 200);
}

#[tokio::test]
async fn a_change_that_cannot_be_written_down_is_made_all_the_same() {
    let plane = Plane::new();
    plane.break_table("audit", "INSERT");
    plane.deployed("hello", "v1").await;
    let (status, _) = plane.call("DELETE /hob/v1/functions/hello", "").await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert!(changes(&plane).is_empty());
}

#[tokio::test]
async fn what_is_long_past_is_forgotten_in_the_background() {
    let plane = Plane::new();
    plane.deployed("hello", "v1").await;
    let ancient = AuditRow {
        at: 0,
        ..changes(&plane).remove(0)
    };
    plane.store.note_change(&ancient).expect("noted");
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let run = Arc::clone(&plane.control).run(Arc::new(NoDoor), async { drop(stopped.await) });
    let run = tokio::spawn(run);
    crate::eventually("one left", || changes(&plane).len() == 1).await;
    assert_ne!(changes(&plane)[0].at, 0);
    drop(stop);
    run.await.expect("ended");
}

//! The bytes of the answer.

use std::time::Duration;

use futures_util::StreamExt;
use hob_model::{EndReason, port::RunError, sandbox::RunEvent};
use http::{StatusCode, header};
use http_body_util::BodyExt;

use super::{Bench, Plan, TIME, ask, done, end, overdue, stderr, stdout, with};
use crate::text;

#[tokio::test]
async fn events_are_byte_for_byte_those_that_clients_know() {
    let bench = Bench::new();
    bench.plan(Plan::Say(vec![
        stdout("a<b> & \"c\"\n"),
        stderr("no\t\u{1b}[0m"),
        done(3),
    ]));
    let answer = bench.run("", "whatever").await;
    assert_eq!(answer.status(), StatusCode::OK);
    let fields = answer.headers();
    assert_eq!(fields[header::CONTENT_TYPE], "text/event-stream");
    assert_eq!(fields[header::CACHE_CONTROL], "no-store");
    assert_eq!(
        (&fields["worker"], &fields["coord"]),
        (
            &"w7".parse().expect("a value"),
            &"c1".parse().expect("a value")
        )
    );
    assert!(!fields.contains_key(header::CONTENT_LENGTH));
    assert_eq!(
        text(answer).await,
        "event: stdout\ndata: \"a\\u003cb\\u003e \\u0026 \\\"c\\\"\\n\"\n\n\
         event: stderr\ndata: \"no\\t\\u001b[0m\"\n\n\
         event: exit\ndata: {\"code\":3}\n\n"
    );
    // Nothing but an end.
    bench.plan(Plan::Say(vec![done(0)]));
    let silent = text(bench.run("?raw=", "").await).await;
    assert_eq!(silent, "event: exit\ndata: {\"code\":0}\n\n");
    let killed = vec![RunEvent::End(end(
        -1,
        EndReason::Exit,
        "killed by signal 15",
    ))];
    bench.plan(Plan::Say(killed));
    let killed = text(bench.run("", "kill $$").await).await;
    assert_eq!(killed, "event: exit\ndata: {\"code\":-1}\n\n");
}

#[tokio::test]
async fn a_character_cut_between_two_reads_is_whole_and_what_is_none_is_marked() {
    let bench = Bench::new();
    bench.plan(Plan::Say(vec![
        stdout(b"a\xe2\x82"),
        stderr(b"\xac"),
        stdout(b"\xacb\xff"),
        stdout(b"\xf0\x9f"),
        done(0),
    ]));
    assert_eq!(
        text(bench.run("", "x").await).await,
        "event: stdout\ndata: \"a\"\n\n\
         event: stderr\ndata: \"\\ufffd\"\n\n\
         event: stdout\ndata: \"€b\\ufffd\"\n\n\
         event: stdout\ndata: \"\\ufffd\\ufffd\"\n\n\
         event: exit\ndata: {\"code\":0}\n\n"
    );
}

/// Of clients that read lines of 64 KiB at most.
const LINE_MAX: usize = 64 << 10;

#[tokio::test]
async fn no_line_is_longer_than_clients_take_and_no_character_is_cut_for_it() {
    let bench = Bench::new();
    let much = 1_000_000;
    let chunks = vec![0; much];
    let chunks = chunks.chunks(32 << 10).map(stdout);
    bench.plan(Plan::Say(chunks.chain([done(0)]).collect()));
    let answer = text(bench.run("", "x").await).await;
    let longest = answer.lines().map(str::len).max();
    assert!(
        longest.is_some_and(|longest| longest < LINE_MAX),
        "{longest:?}"
    );
    assert_eq!(answer.matches("\\u0000").count(), much);
    // Three bytes each, which do not go into the size of an event.
    let euros = "€".repeat(20_000);
    bench.plan(Plan::Say(vec![stdout(&euros), done(0)]));
    let answer = text(bench.run("", "x").await).await;
    assert_eq!(answer.matches('€').count(), 20_000);
    assert!(!answer.contains("\\ufffd"));
    assert_eq!(answer.matches("event: stdout").count(), 15);
    // As it is, it is no event.
    bench.plan(Plan::Say(vec![stdout(&euros), done(0)]));
    let raw = text(bench.run("?raw=1", "x").await).await;
    assert_eq!(raw, format!("{euros}\nexit: 0\n"));
}

#[tokio::test]
async fn raw_is_the_output_as_it_is_and_a_last_line() {
    let bench = Bench::new();
    bench.plan(Plan::Say(vec![stdout(b"a\xff"), stderr("b<"), done(127)]));
    let answer = bench.run("?raw=0", "x").await;
    let fields = answer.headers();
    assert_eq!(fields[header::CONTENT_TYPE], "text/plain; charset=utf-8");
    assert_eq!(fields[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    let bytes = answer.into_body().collect().await.expect("whole");
    assert_eq!(&bytes.to_bytes()[..], b"a\xffb<\nexit: 127\n");
}

#[tokio::test]
async fn a_run_that_passes_its_deadline_is_seen_by_what_is_missing() {
    let bench = Bench::new();
    bench.plan(Plan::Say(vec![overdue()]));
    for query in ["", "?raw=1"] {
        let answer = bench.run(query, "sleep 9").await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(!answer.headers().contains_key("worker"));
        assert!(!answer.headers().contains_key(header::CONTENT_TYPE));
        assert_eq!(answer.headers()["coord"], "c1");
        assert_eq!(text(answer).await, "");
    }
    bench.plan(Plan::Say(vec![stdout("x\n"), overdue()]));
    let answer = text(bench.run("", "echo x; sleep 9").await).await;
    assert_eq!(answer, "event: stdout\ndata: \"x\\n\"\n\n");
    assert_eq!(text(bench.run("?raw=1", "").await).await, "x\n");
    // Whose processor time is used up has an end, though it were just at the deadline.
    let mut busy = end(-1, EndReason::Timeout, "used up its 2s of processor time");
    (busy.cpu, busy.times.run) = (Some(TIME), TIME);
    bench.plan(Plan::Say(vec![RunEvent::End(busy)]));
    let answer = text(bench.run("", "x").await).await;
    assert_eq!(answer, "event: exit\ndata: {\"code\":-1}\n\n");
}

#[tokio::test]
async fn whoever_asks_for_the_end_is_told_all_of_it() {
    let bench = Bench::new();
    let told = r#"{"code":-1,"end":"timeout","message":"ran into its time limit of 2s","signal":9,"deadline":true,"queue_ms":0.12,"start_ms":1.3,"run_ms":2000,"cpu_ms":3,"memory":1234567}"#;
    bench.plan(Plan::Say(vec![stdout("x"), overdue()]));
    let answer = text(bench.run("?end=1", "x").await).await;
    let expected = format!("event: stdout\ndata: \"x\"\n\nevent: exit\ndata: {told}\n\n");
    assert_eq!(answer, expected);
    let answer = bench
        .send(with(ask("?raw=1", "x"), "x-hob-run-end", "1"))
        .await;
    assert_eq!(text(answer).await, format!("x\nexit: -1\n{told}\n"));
    // The head does not wait for anything.
    bench.plan(Plan::Hang(Vec::new()));
    let answer = bench.run("?end=1", "sleep 9").await;
    assert_eq!(answer.headers()["worker"], "w7");
    assert_eq!(bench.pool.present(), 1);
    drop(answer);
    assert_eq!(bench.pool.present(), 0);
}

#[tokio::test]
async fn an_event_is_there_as_soon_as_it_has_happened() {
    let bench = Bench::new();
    bench.plan(Plan::Hang(vec![stdout("x")]));
    let answer = bench.run("", "echo x; sleep 9").await;
    let mut parts = answer.into_body().into_data_stream();
    let first = parts.next().await.expect("an event").expect("whole");
    assert_eq!(first, "event: stdout\ndata: \"x\"\n\n");
    drop(parts);
    assert_eq!(bench.pool.present(), 0);
}

#[tokio::test]
async fn whoever_leaves_takes_his_run_or_his_place_in_line_with_him() {
    let bench = Bench::new();
    let execute = r#"{"language":"py","version":"*","files":[{"content":""}]}"#;
    let waits = [Plan::Wait, Plan::Hang(Vec::new())];
    for plan in waits {
        bench.plan(plan);
        let piston = crate::request("POST /api/v2/execute", execute);
        let piston = with(piston, "content-type", "application/json");
        for request in [ask("", "x"), piston] {
            let before = bench.pool.orders();
            {
                let sent = bench.send(request);
                tokio::pin!(sent);
                while bench.pool.orders() == before {
                    assert!(futures_util::poll!(sent.as_mut()).is_pending());
                    tokio::task::yield_now().await;
                }
                assert_eq!(bench.pool.present(), 1);
            }
            // The task ends when the runtime comes to it.
            while bench.pool.present() > 0 {
                tokio::task::yield_now().await;
            }
        }
    }
}

#[tokio::test]
async fn errors_have_the_status_that_clients_know_and_say_who_answered() {
    let bench = Bench::new();
    let full = RunError::Full {
        size: 4,
        waiting: 100,
        retry_after: Duration::from_millis(1_500),
    };
    for (error, status, line) in [
        (full, 503, "all 4 sandboxes are busy and 100 callers wait"),
        (
            RunError::Refused("no such thing".into()),
            400,
            "no such thing\n",
        ),
        (RunError::Unavailable("broken".into()), 500, "broken\n"),
    ] {
        bench.plan(Plan::Fail(error));
        let answer = bench.run("", "x").await;
        assert_eq!(answer.status(), status);
        assert_eq!(answer.headers()["coord"], "c1");
        assert!(!answer.headers().contains_key("worker"));
        let retry = answer.headers().get(header::RETRY_AFTER).cloned();
        assert_eq!(retry.is_some_and(|after| after == "2"), status == 503);
        let said = text(answer).await;
        assert!(said.starts_with(line), "{said}");
    }
    let host = RunEvent::End(end(-1, EndReason::Host, "the disk is gone"));
    bench.plan(Plan::Say(vec![host]));
    let answer = bench.run("", "x").await;
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(
        text(answer).await,
        "the run could not be made: the disk is gone\n"
    );
    for method in ["GET", "HEAD", "PUT"] {
        let answer = bench
            .send(crate::request(&format!("{method} /run"), ""))
            .await;
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.headers()[header::ALLOW], "POST");
        assert_eq!(answer.headers()["coord"], "c1");
        if method == "GET" {
            assert_eq!(text(answer).await, "Method Not Allowed\n");
        }
    }
}

#[tokio::test]
async fn a_pool_that_loses_a_run_is_no_endless_answer() {
    let bench = Bench::new();
    bench.plan(Plan::Say(vec![stdout("x")]));
    let answer = text(bench.run("?end=1", "x").await).await;
    assert!(answer.contains("\"end\":\"host\""), "{answer}");
}

#[tokio::test]
async fn a_worker_has_the_one_path_and_gos_words_for_all_others() {
    use hob_control::{Runs, RunsConfig};
    use tower::ServiceExt;

    let pool = std::sync::Arc::new(super::FakeSandboxes::default());
    pool.plan(Plan::Say(vec![done(0)]));
    let config = RunsConfig {
        body: 10,
        ..RunsConfig::default()
    };
    let router = Runs::new(Some(pool), config).router();
    let send = async |line: &str| {
        let sent = router.clone().oneshot(crate::request(line, "true"));
        sent.await.expect("infallible")
    };
    let answer = send("POST /run").await;
    assert_eq!(answer.headers()["worker"], "w7");
    assert!(!answer.headers().contains_key("coord"));
    assert_eq!(text(answer).await, "event: exit\ndata: {\"code\":0}\n\n");
    let answer = send("GET /run").await;
    assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
    let answer = send("POST /").await;
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    assert_eq!(text(answer).await, "404 page not found\n");
}

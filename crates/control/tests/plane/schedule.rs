use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use hob_model::{
    FunctionName, Missed,
    wire::{DeployEvent, Fault, ScheduleRun, ScheduleSummary},
};
use http::StatusCode;
use rusqlite::Connection;
use tokio::{sync::oneshot, task::JoinHandle};

use crate::{PATIENCE, Plane, calls::NoDoor, eventually};

/// In milliseconds.
const HOUR: i64 = 3_600_000;

/// A call of the queue: its id and its head.
type Call = (String, Vec<(String, String)>);

/// The background work of a server.
struct Ticking(oneshot::Sender<()>, JoinHandle<()>);

impl Ticking {
    async fn stop(self) {
        self.0.send(()).expect("it runs");
        self.1.await.expect("it ends");
    }
}

fn clock(schedule: &str) -> String {
    format!(r#"clock [{{"cron": "{schedule}"}}]"#)
}

fn hourly(missed: Missed) -> String {
    let missed = missed.as_str();
    format!(r#"clock [{{"cron": "@every 1h", "missed": "{missed}"}}]"#)
}

impl Plane {
    fn database(&self) -> Connection {
        Connection::open(self.data.path().join("hob.db")).expect("opens")
    }

    fn calls(&self, function: &str) -> Vec<Call> {
        let database = self.database();
        let mut rows = database
            .prepare("SELECT id, headers FROM calls WHERE function = ?1 ORDER BY seq")
            .expect("prepared");
        let rows = rows.query_map([function], |row| {
            let headers: Vec<u8> = row.get(1)?;
            Ok((row.get(0)?, serde_json::from_slice(&headers).expect("json")))
        });
        rows.expect("read").map(|row| row.expect("row")).collect()
    }

    /// Makes all schedules as old as if hob had been down for so long; returns since when.
    fn age(&self, hours: f64) -> i64 {
        let since = millis(SystemTime::now()) - (hours * HOUR as f64) as i64;
        let update = "UPDATE schedules SET since = ?1";
        self.database().execute(update, [since]).expect("aged");
        since
    }

    async fn schedules(&self) -> Vec<ScheduleSummary> {
        let (status, text) = self.call("GET /hob/v1/schedules", "").await;
        assert_eq!(status, StatusCode::OK, "{text}");
        serde_json::from_str(&text).expect("schedules")
    }

    /// Starts the server's background work, the clock of the schedules with it.
    fn start_clock(&self) -> Ticking {
        let (stop, stopped) = oneshot::channel::<()>();
        let work = Arc::clone(&self.control).run(Arc::new(NoDoor), async { drop(stopped.await) });
        Ticking(stop, tokio::spawn(work))
    }

    fn since(&self, function: &str) -> Option<i64> {
        let since = "SELECT since FROM schedules WHERE function = ?1";
        let since = self
            .database()
            .query_row(since, [function], |row| row.get(0));
        since.ok()
    }
}

fn field<'a>(call: &'a Call, name: &str) -> &'a str {
    let found = call.1.iter().find(|(key, _)| key == name);
    found.map_or("", |(_, value)| value)
}

fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_millis()).expect("fits")
}

#[tokio::test]
async fn what_was_missed_is_made_up_for_as_the_schedule_says() {
    let plane = Plane::new();
    for missed in [Missed::Skip, Missed::Once, Missed::All] {
        plane.deployed(missed.as_str(), &hourly(missed)).await;
    }
    let since = plane.age(3.5);
    let plane = plane.again();
    plane.control.restore().await.expect("restored");
    let clock = plane.start_clock();
    let settled = |name| plane.since(name) == Some(since + 3 * HOUR);
    eventually("the runs are settled", || {
        ["skip", "once", "all"].into_iter().all(settled)
    })
    .await;
    clock.stop().await;

    assert!(plane.calls("skip").is_empty());
    assert_eq!(plane.calls("once").len(), 1);
    let all = plane.calls("all");
    let times: Vec<_> = all
        .iter()
        .map(|call| field(call, "X-Hob-Scheduled-For"))
        .collect();
    assert_eq!(times.len(), 3, "{times:?}");
    assert!(times.is_sorted(), "{times:?}");
    let newest = all.last().expect("three");
    assert_eq!(
        field(&plane.calls("once")[0], "X-Hob-Scheduled-For"),
        field(newest, "X-Hob-Scheduled-For")
    );
    assert_eq!(field(newest, "X-Topic"), "cron-function");
    assert_eq!(field(newest, "X-Connector"), "cron-connector");
    assert_eq!(field(newest, "X-Hob-Schedule"), "@every 1h");
    for schedule in plane.schedules().await {
        let next = millis(schedule.next.expect("it goes on"));
        assert_eq!(next, since + 4 * HOUR, "{schedule:?}");
        let ran = schedule.missed != Missed::Skip;
        assert_eq!(schedule.last.map(millis), ran.then(|| next - HOUR));
        assert_eq!(schedule.last_call.is_some(), ran);
    }
    // The next start has nothing to make up for.
    let plane = plane.again();
    plane.control.restore().await.expect("restored");
    plane.start_clock().stop().await;
    assert_eq!(plane.calls("all").len(), 3);
}

#[tokio::test]
async fn of_very_many_missed_runs_the_newest_hundred_are_made() {
    let plane = Plane::new();
    plane.deployed("hello", &hourly(Missed::All)).await;
    plane.age(500.5);
    let plane = plane.again();
    plane.control.restore().await.expect("restored");
    let clock = plane.start_clock();
    eventually("the runs are made", || plane.calls("hello").len() >= 100).await;
    clock.stop().await;
    let calls = plane.calls("hello");
    assert_eq!(calls.len(), 100);
    let newest: jiff::Timestamp = field(&calls[99], "X-Hob-Scheduled-For")
        .parse()
        .expect("a time");
    let last = plane.schedules().await[0].last.expect("ran");
    assert_eq!(newest.as_millisecond(), millis(last));
}

#[tokio::test]
async fn a_clock_that_is_behind_at_the_start_is_gone_by() {
    let plane = Plane::new();
    plane.deployed("hello", &hourly(Missed::Once)).await;
    let since = Some(plane.age(-48.0));
    let plane = plane.again();
    plane.control.restore().await.expect("restored");
    let soon = millis(SystemTime::now()) + HOUR;
    let next = plane.schedules().await[0].next.map(millis);
    assert!(next.is_some_and(|next| next <= soon), "{next:?}");
    // For when the clock turns out to have lagged.
    assert_eq!(plane.since("hello"), since);
}

#[tokio::test]
async fn a_schedule_is_kept_as_long_as_its_function_has_it() {
    let plane = Plane::new();
    let function = plane.deployed("hello", &clock("0 9 * * *")).await;
    let since = Some(plane.age(1.0));
    // Another revision with the same schedule goes on where it was.
    plane
        .deployed("hello", &format!("v2 {}", clock("0 9 * * *")))
        .await;
    assert_eq!(plane.since("hello"), since);
    // A new schedule starts from now.
    plane.deployed("hello", &clock("0 10 * * *")).await;
    assert!(plane.since("hello") > since);
    let schedules = plane.schedules().await;
    assert_eq!(schedules.len(), 1);
    assert_eq!(
        (&schedules[0].function, schedules[0].schedule.as_str()),
        (&function, "0 10 * * *")
    );
    let (_, detail) = plane.call("GET /hob/v1/functions/hello", "").await;
    assert!(
        detail.contains(r#""zone":"UTC","missed":"once","next":""#),
        "{detail}"
    );

    plane.deployed("other", &clock("0 10 * * *")).await;
    plane.call("DELETE /hob/v1/functions/other", "").await;
    assert_eq!(plane.since("other"), None);
    plane.deployed("hello", "v3").await;
    assert_eq!(plane.since("hello"), None);
    assert!(plane.schedules().await.is_empty());
}

#[tokio::test]
async fn a_death_between_two_writes_is_mended_at_the_next_start() {
    let plane = Plane::new();
    plane.deployed("hello", &clock("0 9 * * *")).await;
    plane
        .database()
        .execute_batch(
            "DELETE FROM schedules;
             INSERT INTO schedules VALUES ('openfaas-fn', 'gone', '0 9 * * *', 0, NULL, NULL)",
        )
        .expect("written");
    let plane = plane.again();
    plane.control.restore().await.expect("restored");
    assert_eq!(
        (plane.since("gone"), plane.since("hello").is_some()),
        (None, true)
    );
    assert_eq!(plane.schedules().await.len(), 1);
}

#[tokio::test]
async fn schedules_that_cannot_run_are_refused_before_anything_starts() {
    let plane = Plane::new();
    for (script, expected) in [
        (clock("* * * *"), "schedule `* * * *`: is no schedule"),
        (
            clock("TZ=Mars/Olympus 0 9 * * *"),
            "there is no time zone `Mars/Olympus`",
        ),
        (clock("0 0 30 2 *"), "schedule `0 0 30 2 *` never comes"),
        (
            r#"clock ["@daily", "@daily"]"#.to_owned(),
            "`@daily` is there twice",
        ),
        (
            format!("static {}", clock("@daily")),
            "a folder of files runs nothing",
        ),
    ] {
        let events = plane.deploy("hello", &script).await;
        let Some(DeployEvent::Failed { message, fault }) = events.last() else {
            panic!("{script}: {events:?}");
        };
        assert!(message.contains(expected), "{script}: {message}");
        assert_eq!(*fault, Fault::Caller);
    }
    assert!(plane.engine.calls().is_empty());
}

#[tokio::test]
async fn a_run_can_be_had_at_once() {
    let plane = Plane::new();
    let name: FunctionName = plane.deployed("hello", &clock("0 9 * * *")).await;
    plane
        .deployed("two", r#"clock ["@daily", "CRON_TZ=Asia/Tokyo 0 9 * * *"]"#)
        .await;
    plane.deployed("none", "v1").await;
    let run = |query: &str| {
        let line = format!("POST /hob/v1/schedules/run?function={query}");
        let plane = &plane;
        async move { plane.call(&line, "").await }
    };
    let (status, text) = run("hello").await;
    assert_eq!(status, StatusCode::ACCEPTED, "{text}");
    let made: ScheduleRun = serde_json::from_str(&text).expect("a run");
    let calls = plane.calls(name.name());
    assert_eq!((calls.len(), &calls[0].0), (1, &made.call));

    let (status, text) = run("two").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(
        text.contains("`@daily`, `CRON_TZ=Asia/Tokyo 0 9 * * *`"),
        "{text}"
    );
    let (status, _) = run("two&schedule=0%209%20*%20*%20*").await;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert_eq!(
        field(&plane.calls("two")[0], "X-Hob-Schedule"),
        "CRON_TZ=Asia/Tokyo 0 9 * * *"
    );
    assert_eq!(run("none").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(run("missing").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_disk_that_fails_loses_no_run() {
    let plane = Plane::new();
    plane.deployed("hello", &hourly(Missed::Once)).await;
    let since = Some(plane.age(2.0));
    let plane = plane.again();
    plane.control.restore().await.expect("restored");
    plane
        .database()
        .execute_batch(
            "CREATE TRIGGER broken BEFORE INSERT ON calls
             BEGIN SELECT RAISE(ABORT, 'no disk'); END",
        )
        .expect("trigger");
    let clock = plane.start_clock();
    let deadline = SystemTime::now() + PATIENCE;
    while plane.schedules().await[0].next < Some(SystemTime::now()) {
        assert!(SystemTime::now() < deadline, "it is never put off");
        tokio::task::yield_now().await;
    }
    clock.stop().await;
    assert_eq!(plane.since("hello"), since);
    plane
        .database()
        .execute_batch("DROP TRIGGER broken")
        .expect("dropped");
    let plane = plane.again();
    plane.control.restore().await.expect("restored");
    let clock = plane.start_clock();
    eventually("the run is made", || !plane.calls("hello").is_empty()).await;
    clock.stop().await;
    assert_eq!(plane.calls("hello").len(), 1);
}

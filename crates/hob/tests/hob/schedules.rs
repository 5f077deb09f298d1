//! Functions that the clock calls.

use hob_testkit::{assert_eventually, has_programs};

use crate::bench::{Bench, write};

/// A Python function that says in its log what it was called with, and its schedule.
fn scheduled(bench: &Bench, name: &str, manifest: &str) -> std::path::PathBuf {
    let said = "x-hob-schedule x-hob-scheduled-for x-topic x-connector content-type";
    let folder = bench.folder.path().join(name);
    write(
        &folder.join("handler.py"),
        &format!(
            "import sys\ndef handle(event, context):\n    \
             said = [event.headers.get(name) for name in '{said}'.split()]\n    \
             print(event.method, said, event.body, file=sys.stderr, flush=True)\n    return 'ok'\n"
        ),
    );
    write(&folder.join("hob.toml"), manifest);
    folder
}

/// What `hob schedule list` has of each schedule that does not change with time.
fn shown(bench: &Bench) -> Vec<[String; 4]> {
    let list = bench.hob.cli(["schedule", "list", "-o", "json"]).json();
    let schedules = list.as_array().unwrap().iter();
    let keys = ["function", "schedule", "zone", "missed"];
    let shown = schedules.map(|one| keys.map(|key| one[key].as_str().unwrap().to_owned()));
    shown.collect()
}

#[test]
fn the_clock_calls_a_function_and_wakes_it() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    let hob = &bench.hob;
    bench.deploy(&scheduled(&bench, "tick", "schedule = \"@every 1s\""));
    hob.cli(["scale", "tick", "0"]).ok();
    assert_eventually!(
        hob.cli(["logs", "tick"]).ok().contains("cron-connector"),
        "the clock calls"
    );
    let log = hob.cli(["logs", "tick"]).ok();
    assert!(log.contains("POST ['@every 1s', '20"), "{log}");
    assert!(
        log.contains("'cron-function', 'cron-connector', 'text/plain'] b''"),
        "{log}"
    );
    let listed = hob.cli(["schedule", "list", "-o", "json"]).json();
    assert!(
        listed[0]["last"].is_string() && listed[0]["last_call"].is_string(),
        "{listed}"
    );
}

#[test]
fn schedules_are_listed_described_and_run_by_hand() {
    if !has_programs(&["python3"]) {
        return;
    }
    let mut bench = Bench::new();
    let none = bench.hob.cli(["schedule", "list"]);
    assert!(none.stderr.contains("no schedules yet"), "{none:?}");
    let manifest = "schedule = [\"0 7 * * *\", {cron = \"@monthly\", zone = \"Europe/Berlin\", missed = \"all\"}]";
    bench.deploy(&scheduled(&bench, "report", manifest));
    let manifest =
        "[annotations]\ntopic = \"cron-function,other\"\nschedule = \"CRON_TZ=UTC */5 * * * *\"";
    bench.deploy(&scheduled(&bench, "noted", manifest));
    let shown = shown(&bench);
    assert_eq!(
        shown,
        [
            ["noted", "*/5 * * * *", "UTC", "once"],
            ["report", "0 7 * * *", "UTC", "once"],
            ["report", "@monthly", "Europe/Berlin", "all"],
        ]
        .map(|row| row.map(str::to_owned))
    );
    let text = bench.hob.cli(["schedule", "list"]).ok();
    assert!(
        text.starts_with("FUNCTION  SCHEDULE") && text.contains("07:00:00Z)"),
        "{text}"
    );
    let described = bench.hob.cli(["describe", "report"]).ok();
    assert!(described.contains("0 7 * * * (UTC), in "), "{described}");

    let error = bench.hob.cli(["schedule", "run", "report"]).fails(1);
    assert!(error.contains("`0 7 * * *`"), "{error}");
    let ran = bench
        .hob
        .cli(["schedule", "run", "report", "0 7 * * *"])
        .ok();
    assert!(ran.starts_with("report is called, as call "), "{ran}");
    let error = bench.hob.cli(["schedule", "run", "reprot"]).fails(3);
    assert!(error.contains("did you mean `report`?"), "{error}");

    bench.hob.stop();
    bench.hob.restart();
    assert_eq!(self::shown(&bench), shown);
    bench.hob.cli(["remove", "report"]).ok();
    assert_eq!(self::shown(&bench), [shown[0].clone()]);
}

#[test]
fn a_schedule_that_cannot_be_read_fails_the_deploy() {
    let bench = Bench::new();
    let folder = scheduled(&bench, "wrong", "schedule = \"*/5 * * * * *\"");
    let error = bench
        .hob
        .cli(["deploy".as_ref(), folder.as_os_str()])
        .fails(1);
    assert!(error.contains("has six fields"), "{error}");
    assert_eq!(bench.hob.cli(["list", "-o", "json"]).ok().trim(), "[]");
}

//! The machine's clock jumps while hob runs or between two starts: runs of schedules follow their
//! policy, calls that wait do not wait for a day, and replicas live on.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    time::{Duration, SystemTime},
};

use hob_testkit::{Hob, has_programs, wait_until};
use serde_json::Value;
use tempfile::TempDir;

use crate::bench::{Bench, HOB, write};

/// Longest wait for what hob does by the clock: it looks at it every 30 s.
const PATIENCE: Duration = Duration::from_secs(45);
const DAY: i64 = 86_400;

/// The clock of a server. That of the test, and all that measures spans, stays right.
struct Clock(TempDir);

impl Clock {
    fn new() -> Self {
        let clock = Self(tempfile::tempdir().unwrap());
        clock.set(0);
        clock
    }

    /// So many seconds ahead of the right time.
    fn set(&self, seconds: i64) {
        let draft = self.0.path().join("draft");
        fs::write(&draft, format!("{seconds:+}")).unwrap();
        fs::rename(draft, self.file()).unwrap();
    }

    /// To this time.
    fn set_to(&self, time: &str) {
        let time = humantime::parse_rfc3339(time).unwrap();
        let seconds = |time: SystemTime| {
            let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
            i64::try_from(since.as_secs()).unwrap()
        };
        self.set(seconds(time) - seconds(SystemTime::now()));
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("clock")
    }

    /// A server with this clock.
    fn bench(&self) -> Bench {
        let mut command = Command::new("faketime");
        let said = command.args(["-m", "-f", "+0", "env"]).output().unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        let library = said
            .lines()
            .find_map(|line| line.strip_prefix("LD_PRELOAD="));
        let hob = Hob::builder(HOB)
            .env("LD_PRELOAD", library.unwrap())
            .env("FAKETIME_TIMESTAMP_FILE", self.file())
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("DONT_FAKE_MONOTONIC", "1")
            .env("FAKETIME_DISABLE_SHM", "1")
            .env("NO_FAKE_STAT", "1");
        Bench {
            hob: hob.start(),
            folder: tempfile::tempdir().unwrap(),
        }
    }
}

fn can_run() -> bool {
    has_programs(&["python3", "faketime"])
}

/// Deploys a function that writes down what each of its calls was for.
fn deploy(bench: &Bench, name: &str, body: &str, manifest: &str) {
    let folder = bench.python(name, body);
    write(&folder.join("hob.toml"), manifest);
    bench.deploy(&folder);
}

/// What the calls of a function have left in its log, sorted: they may overtake each other.
fn logged(hob: &Hob, name: &str) -> Vec<String> {
    let log = hob.cli(["logs", name]).ok();
    let mut lines: Vec<_> = log.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// When each schedule runs next.
fn next(hob: &Hob) -> Vec<String> {
    let list = hob.cli(["schedule", "list", "-o", "json"]).json();
    let schedules = list.as_array().unwrap().iter();
    let next = schedules.map(|one| one["next"].as_str().unwrap().to_owned());
    next.collect()
}

fn state(hob: &Hob, id: &str) -> Value {
    hob.cli(["queue", "show", id, "-o", "json"]).json()
}

#[test]
fn schedules_follow_their_policy_when_the_clock_jumps() {
    if !can_run() {
        return;
    }
    let clock = Clock::new();
    clock.set_to("2027-03-02T12:30:00Z");
    let mut bench = clock.bench();
    // In one piece: print writes the end of a line by itself, and several calls write at a time.
    let said = "print(req.headers['x-hob-scheduled-for'][11:16] + '\\n', end='', flush=True)";
    for missed in ["once", "skip", "all"] {
        let manifest = format!("schedule = {{cron = \"0 * * * *\", missed = \"{missed}\"}}");
        deploy(&bench, missed, said, &manifest);
    }
    let at_one = |time: &str| vec![time.to_owned(); 3];
    assert_eq!(next(&bench.hob), at_one("2027-03-02T13:00:00Z"));

    // Ahead by hours: what came meanwhile was missed.
    clock.set_to("2027-03-02T17:30:00Z");
    let settled = || next(&bench.hob) == at_one("2027-03-02T18:00:00Z");
    assert!(wait_until(PATIENCE, settled), "{:?}", next(&bench.hob));
    let made = ["13:00", "14:00", "15:00", "16:00", "17:00"];
    // Several are made at a time.
    let all = || {
        let mut runs = logged(&bench.hob, "all");
        runs.sort();
        runs == made
    };
    assert!(wait_until(PATIENCE, all), "{:?}", logged(&bench.hob, "all"));
    assert!(wait_until(PATIENCE, || logged(&bench.hob, "once") == made[4..]));
    assert_eq!(logged(&bench.hob, "skip"), [""; 0]);
    // From here on hob does not come to look at the clock by itself, which would take its time.
    let set_to = |time: &str| {
        clock.set_to(time);
        bench.deploy(&bench.site("nudge", time));
    };

    // Set back: runs come by the new time, and none waits for the old one.
    set_to("2027-03-02T13:45:00Z");
    let settled = || next(&bench.hob) == at_one("2027-03-02T14:00:00Z");
    assert!(wait_until(PATIENCE, settled), "{:?}", next(&bench.hob));
    set_to("2027-03-02T14:00:05Z");
    for (missed, times) in [("once", 1), ("skip", 1), ("all", 2)] {
        let made = || {
            let runs = logged(&bench.hob, missed);
            runs.iter().filter(|run| *run == "14:00").count() == times
        };
        assert!(wait_until(PATIENCE, made), "{missed}");
    }

    // Another time at the next start.
    bench.hob.kill();
    clock.set_to("2027-03-02T03:30:00Z");
    bench.hob.restart();
    assert_eq!(next(&bench.hob), at_one("2027-03-02T04:00:00Z"));
    assert_eq!(logged(&bench.hob, "all").len(), 6);
}

#[test]
fn calls_that_wait_do_not_wait_for_the_old_time() {
    if !can_run() {
        return;
    }
    let clock = Clock::new();
    let mut bench = clock.bench();
    // Fails until it is told otherwise.
    let body = "import os\nif str(req) == 'mend':\n    handle.fine = True\nif str(req) == 'preload':\n    return os.environ.get('LD_PRELOAD', 'none')\nprint(req.headers['x-call-id'], flush=True)\nreturn 'x', 200 if getattr(handle, 'fine', False) else 503";
    let manifest = "[async]\nattempts = 100\nmin_wait = \"1s\"\nmax_wait = \"2s\"\n";
    deploy(&bench, "note", body, manifest);
    let preload = bench.hob.post("/function/note", "preload").expect(200);
    assert_eq!(preload.text(), "none", "the clock is hob's alone");
    let later = |hob: &Hob| {
        let answer = hob.post("/async-function/note", "x").expect(202);
        answer.header("x-call-id").to_owned()
    };
    let tried = |hob: &Hob, id: &str, times: u64| {
        let tries = || state(hob, id)["attempts"].as_u64().unwrap() >= times;
        assert!(wait_until(PATIENCE, tries), "{:?}", state(hob, id));
    };
    let id = later(&bench.hob);
    for (jump, times) in [(DAY, 3), (-DAY, 5), (-3 * DAY, 7)] {
        clock.set(jump);
        tried(&bench.hob, &id, times);
    }
    // And at a start.
    clock.set(0);
    tried(&bench.hob, &id, 9);
    let young = later(&bench.hob);
    tried(&bench.hob, &young, 1);
    bench.hob.kill();
    clock.set(-2 * DAY);
    bench.hob.restart();
    bench.hob.post("/function/note", "mend").expect(200);
    for id in [&id, &young] {
        let done = || state(&bench.hob, id)["state"] == "done";
        assert!(wait_until(PATIENCE, done), "{:?}", state(&bench.hob, id));
    }
}

#[test]
fn replicas_are_taken_over_whatever_the_clock_says() {
    if !can_run() {
        return;
    }
    let clock = Clock::new();
    let mut bench = clock.bench();
    let count = "handle.calls = getattr(handle, 'calls', 0) + 1\nreturn str(handle.calls)";
    bench.deploy(&bench.python("count", count));
    let call = |hob: &Hob| {
        hob.post("/function/count", "")
            .expect(200)
            .text()
            .to_owned()
    };
    assert_eq!(call(&bench.hob), "1");
    for (jump, calls) in [(-DAY, "2"), (DAY, "3")] {
        bench.hob.kill();
        clock.set(jump);
        bench.hob.restart();
        assert_eq!(call(&bench.hob), calls, "the same process");
        bench.hob.cli(["describe", "count"]).ok();
        bench.hob.cli(["list"]).ok();
    }
}

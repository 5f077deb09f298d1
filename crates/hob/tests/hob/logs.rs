//! Logs: which lines come, when they were written, and that a follower misses none.

mod follow;
mod system;

use std::time::{Duration, SystemTime};

use hob_testkit::{assert_eventually, has_programs};
use serde_json::Value;

use crate::bench::Bench;

/// How late the clock of a filesystem may be.
const CLOCK: Duration = Duration::from_millis(20);

/// A function that writes to its log what it is told.
fn talker(bench: &Bench) {
    let body = "import os, sys\nsys.stdout.buffer.write(req.encode('latin-1') + b'\\n')\nsys.stdout.flush()\nreturn os.environ['HOB_REVISION']";
    bench.deploy(&bench.python("talker", body));
}

fn say(bench: &Bench, words: &str) {
    bench
        .hob
        .post("/function/talker", words.to_owned())
        .expect(200);
}

/// The lines as JSON.
fn lines(bench: &Bench, args: &[&str]) -> Vec<Value> {
    let logs = bench.hob.command().args(["logs", "talker", "-o", "json"]);
    let text = logs.args(args).run().ok();
    let lines = text.lines().map(serde_json::from_str);
    lines.map(Result::unwrap).collect()
}

fn texts(lines: &[Value]) -> Vec<&str> {
    lines
        .iter()
        .map(|line| line["text"].as_str().unwrap())
        .collect()
}

fn time_of(line: &Value) -> SystemTime {
    humantime::parse_rfc3339(line["timestamp"].as_str().unwrap()).unwrap()
}

/// Waits until a line written now is later than one written a moment ago, by any clock, and until
/// hob has noted the time of that one, which a busy machine may put off.
fn let_time_pass(bench: &Bench) {
    let start = SystemTime::now();
    assert_eventually!(start.elapsed().is_ok_and(|elapsed| elapsed > 2 * CLOCK));
    assert_eventually!(is_all_timed(bench), "a line has no time");
}

/// Whether the last mark beside each log says the log's length.
fn is_all_timed(bench: &Bench) -> bool {
    let folder = bench.hob.data().join("logs/openfaas-fn/talker");
    let files = std::fs::read_dir(folder).unwrap();
    let mut logs = files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "log"));
    logs.all(|log| {
        let length = log.metadata().map_or(0, |about| about.len());
        let marks = std::fs::read_to_string(log.with_extension("times")).unwrap_or_default();
        let last = marks.split_whitespace().last().unwrap_or("0");
        last.parse() == Ok(length)
    })
}

#[test]
fn lines_have_the_times_of_their_calls() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    talker(&bench);
    let mut spans = Vec::new();
    for word in ["one", "two", "three"] {
        let_time_pass(&bench);
        let start = SystemTime::now();
        say(&bench, word);
        spans.push((start, SystemTime::now()));
    }
    let lines = lines(&bench, &[]);
    assert_eq!(texts(&lines), ["one", "two", "three"]);
    for (line, (start, end)) in lines.iter().zip(&spans) {
        let time = time_of(line);
        assert!(time + CLOCK >= *start && time <= *end, "{line} {spans:?}");
    }
    let text = bench.hob.cli(["logs", "talker", "--timestamps"]).ok();
    let expected = format!("{} two", lines[1]["timestamp"].as_str().unwrap());
    assert_eq!(text.lines().nth(1), Some(expected.as_str()));

    let since = lines[1]["timestamp"].as_str().unwrap();
    let later = self::lines(&bench, &["--since", since]);
    assert_eq!(texts(&later), ["two", "three"]);
    let later = self::lines(&bench, &["--since", since, "--tail", "1"]);
    assert_eq!(texts(&later), ["three"]);
    assert_eq!(self::lines(&bench, &["--since", "1h"]).len(), 3);
    let_time_pass(&bench);
    let now = humantime::format_rfc3339(SystemTime::now()).to_string();
    assert!(self::lines(&bench, &["--since", &now]).is_empty());
}

#[test]
fn lines_of_several_replicas_are_merged_cut_and_told_apart() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    talker(&bench);
    say(&bench, "first");
    // Two more than there were, and the log of the one before stays.
    bench.hob.cli(["scale", "talker", "0"]).ok();
    bench.hob.cli(["scale", "talker", "2"]).ok();
    let mut said = vec!["first".to_owned()];
    let both = || {
        let lines = lines(&bench, &[]);
        let mut instances: Vec<_> = lines
            .iter()
            .map(|line| line["instance"].to_string())
            .collect();
        instances.sort();
        instances.dedup();
        instances.len() == 3
    };
    for number in 0..200 {
        let_time_pass(&bench);
        let words = format!("word {number}");
        say(&bench, &words);
        said.push(words);
        if number > 4 && both() {
            break;
        }
    }
    assert!(both(), "each replica was called");
    let all = lines(&bench, &[]);
    assert_eq!(texts(&all), said);
    for count in [0, 1, 3, said.len(), said.len() + 9] {
        let last = lines(&bench, &["--tail", &count.to_string()]);
        assert_eq!(texts(&last), said[said.len().saturating_sub(count)..]);
    }
    let instance = all.last().unwrap()["instance"].as_str().unwrap();
    let own: Vec<_> = all
        .iter()
        .filter(|line| line["instance"] == *instance)
        .collect();
    assert!(own.len() < all.len());
    let only = lines(&bench, &["--instance", instance]);
    assert_eq!(only.iter().collect::<Vec<_>>(), own);
    let error = bench
        .hob
        .cli(["logs", "talker", "--instance", "talker-0"])
        .fails(1);
    assert!(error.contains("`talker-0`"), "{error}");
}

#[test]
fn odd_bytes_and_endless_lines_do_no_harm() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    talker(&bench);
    say(&bench, "a\u{ff}b\0c\r");
    say(&bench, "");
    let endless = "x".repeat(300_000);
    say(&bench, &endless);
    say(&bench, "\"}{\\");
    let lines = lines(&bench, &[]);
    let texts = texts(&lines);
    assert_eq!(texts[..2], ["a\u{fffd}b\0c", ""]);
    assert_eq!((texts[2].len(), texts[3]), (65_536, "\"}{\\"));
}

#[test]
fn a_flood_is_bounded_and_what_comes_after_it_is_found() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    let body = "import os\nos.system('yes flood 2>/dev/null | head -c 200000004' if req == 'flood' else 'echo ' + req)\nreturn 'ok'";
    bench.deploy(&bench.python("talker", body));
    say(&bench, "before");
    say(&bench, "flood");
    let folder = bench.hob.data().join("logs/openfaas-fn/talker");
    let bytes = |ending: &str| -> u64 {
        let files = std::fs::read_dir(&folder).unwrap().map(Result::unwrap);
        files
            .filter(|file| file.file_name().to_string_lossy().ends_with(ending))
            .map(|file| file.metadata().map_or(0, |about| about.len()))
            .sum()
    };
    // Over this, a log is going to be put aside, and what is said until then may be lost.
    let part = 16 << 20;
    assert_eventually!(
        bytes(".log") <= part && bytes(".draft") == 0,
        "{} bytes of flood are left",
        bytes(".log")
    );
    // A log, its former part, and the times of both.
    let all = bytes("");
    assert!(all < part + ((2 * 64 + 2) << 20), "{all} bytes are left");
    // The last line of a flood that outran the copy may have lost its end.
    say(&bench, "between");
    let_time_pass(&bench);
    let start = SystemTime::now();
    say(&bench, "after");
    let since = humantime::format_rfc3339(start - CLOCK).to_string();
    assert_eq!(texts(&lines(&bench, &["--since", &since])), ["after"]);
    let last = lines(&bench, &["--tail", "2"]);
    let last = texts(&last);
    assert!(last[0].ends_with("between"), "{last:?}");
    assert_eq!(last[1], "after");
}

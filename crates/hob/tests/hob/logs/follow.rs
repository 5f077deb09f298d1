use std::{
    io::{BufRead, BufReader, Lines},
    process::{Child, ChildStdout, Stdio},
};

use hob_testkit::{assert_eventually, has_programs};
use rustix::process::{Pid, Signal, kill_process};

use super::{say, talker};
use crate::bench::Bench;

/// `hob logs -f` as it runs.
struct Follower {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Follower {
    fn new(bench: &Bench, args: &[&str]) -> Self {
        let logs = bench
            .hob
            .command()
            .args(["logs", "talker", "--follow"])
            .args(args);
        let mut command = logs.into_command();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    #[track_caller]
    fn expect(&mut self, words: &str) {
        assert_eq!(self.lines.next().unwrap().unwrap(), words);
    }
}

#[test]
fn a_follower_goes_on_across_replicas_revisions_and_parts() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    talker(&bench);
    say(&bench, "before");
    let mut follower = Follower::new(&bench, &["--tail", "1", "--since", "1h"]);
    follower.expect("before");
    // A new revision.
    let body = "print(req, flush=True)\nreturn 'second'";
    bench.deploy(&bench.python("talker", body));
    say(&bench, "redeployed");
    follower.expect("redeployed");

    // A replica that is killed.
    let detail = bench.hob.cli(["describe", "talker", "-o", "json"]).json();
    let pid = detail["instances"][0]["pid"].as_u64().unwrap();
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    assert_eventually!(
        bench.hob.post("/function/talker", "killed").status == 200,
        "another replica answers"
    );
    follower.expect("killed");

    // A log that is put aside while it is written and read.
    let body = "for i in range(int(req)): print(i, 'x' * 1000)\nprint('said', req, flush=True)\nreturn 'third'";
    bench.deploy(&bench.python("talker", body));
    say(&bench, "20000");
    let folder = bench.hob.data().join("logs/openfaas-fn/talker");
    let is_aside = || {
        let mut files = std::fs::read_dir(&folder).unwrap();
        files.any(|file| {
            file.unwrap()
                .file_name()
                .to_string_lossy()
                .ends_with(".times.1")
        })
    };
    assert_eventually!(is_aside(), "the log is put aside");
    say(&bench, "0");
    let lines = follower.lines.by_ref().map(Result::unwrap);
    let lines = lines.take_while(|line| line != "said 0");
    // What was written in that instant is lost, so one line may have no beginning.
    let numbers = lines.filter_map(|line| line.split_once(' ')?.0.parse().ok());
    let numbers: Vec<u32> = numbers.collect();
    assert!(numbers.is_sorted_by(|one, next| one < next));
    assert!(numbers.len() > 19_000, "{} lines", numbers.len());

    // And ends when there is nothing more to come.
    bench.hob.cli(["remove", "talker"]).ok();
    assert!(follower.lines.next().is_none());
    assert!(follower.child.wait().unwrap().success());
}

#[test]
fn a_follower_of_one_replica_sees_no_other() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    talker(&bench);
    say(&bench, "mine");
    let detail = bench.hob.cli(["describe", "talker", "-o", "json"]).json();
    let instance = detail["instances"][0]["id"].as_str().unwrap();
    let mut follower = Follower::new(&bench, &["--instance", instance]);
    follower.expect("mine");
    bench.hob.cli(["scale", "talker", "0"]).ok();
    say(&bench, "another's");
    bench.hob.cli(["remove", "talker"]).ok();
    assert!(follower.lines.next().is_none());
    assert!(follower.child.wait().unwrap().success());
}

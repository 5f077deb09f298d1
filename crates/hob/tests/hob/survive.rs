//! What was acknowledged is there after a stop, and after a death.

use hob_testkit::{assert_eventually, has_programs};

use crate::bench::Bench;

#[test]
fn functions_and_secrets_outlive_a_stop() {
    if !has_programs(&["python3"]) {
        return;
    }
    let mut bench = Bench::new();
    bench.deploy(&bench.python("hello", "return 'still here'"));
    bench.deploy(&bench.site("welcome", "<p>hi</p>"));
    bench
        .hob
        .command()
        .args(["secret", "set", "key"])
        .stdin("x")
        .run()
        .ok();
    let status = bench.hob.stop();
    assert!(status.success());
    assert!(!bench.hob.data().join("run").is_symlink());

    bench.hob.restart();
    assert!(
        bench.hob.banner().contains(&"functions  2".to_owned()),
        "{:?}",
        bench.hob.banner()
    );
    assert_eq!(
        bench.hob.post("/function/hello", "").expect(200).text(),
        "still here"
    );
    assert_eq!(
        bench.hob.get("/function/welcome/").expect(200).text(),
        "<p>hi</p>"
    );
    assert!(bench.hob.cli(["secret", "list"]).ok().contains("key"));
}

#[test]
fn a_server_stops_in_the_middle_of_a_call_and_of_a_followed_log() {
    use std::process::Stdio;

    if !has_programs(&["python3"]) {
        return;
    }
    let mut bench = Bench::new();
    bench.deploy(&bench.python(
        "slow",
        "import time\nprint('began', flush=True)\ntime.sleep(60)",
    ));
    let spawn = |args: &[&str]| {
        let mut command = bench.hob.command().args(args).into_command();
        let command = command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(Stdio::null()).spawn().unwrap()
    };
    let mut call = spawn(&["invoke", "slow"]);
    let mut log = spawn(&["logs", "slow", "-f"]);
    assert_eventually!(
        bench.hob.cli(["logs", "slow"]).ok().contains("began"),
        "the call is under way"
    );
    bench.hob.stop();
    call.wait().unwrap();
    log.wait().unwrap();
}

#[test]
fn what_a_killed_server_left_half_built_is_cleared_away() {
    let mut bench = Bench::new();
    bench.hob.kill();
    let tmp = bench.hob.data().join("tmp");
    std::fs::create_dir_all(tmp.join("build-1/function/deep")).unwrap();
    std::fs::write(tmp.join("build-1/function/half"), "x").unwrap();
    std::fs::write(tmp.join("upload-1.tar.gz"), "x").unwrap();
    bench.hob.restart();
    assert_eq!(std::fs::read_dir(tmp).unwrap().count(), 0);
}

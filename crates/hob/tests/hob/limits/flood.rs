//! A function that writes more to its log than may be kept.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::Stdio,
};

use hob_testkit::assert_eventually;

use super::bench;

/// Writes 128 MiB in lines of 1,000 bytes, then what it was told. With little of a processor, so
/// that whoever has to keep up is never out of breath.
const FLOOD: &str = "\
import os
line = b'x' * 999 + b'\\n'
if req == 'flood':
    for _ in range(2048): os.write(1, line * 64)
os.write(1, b'said ' + req.encode() + b'\\n')
return 'ok'";
const SETTINGS: &str = "[limits]\ncpu = 0.2\n";

const QUOTA: u64 = 4 << 20;
/// The times of a log and of what was put aside of it.
const TIMES: u64 = 2 << 20;
/// Well below what is written, and well above what is written between two looks.
const FLOOD_MAX: u64 = 80 << 20;

/// Bytes of everything in a folder.
fn bytes_in(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).unwrap().map_while(Result::ok);
    let lengths = files.filter_map(|file| file.metadata().ok());
    lengths.map(|about| about.len()).sum()
}

#[test]
fn a_flood_of_the_log_stays_within_the_quota_and_the_newest_lines_are_read() {
    let Some(bench) = bench(&["--log-quota", "4Mi"]) else {
        return;
    };
    bench.limited("flood", FLOOD, SETTINGS);
    let replica = bench.replica("flood");
    let logs = bench.hob.command().args(["logs", "flood", "--follow"]);
    let mut command = logs.into_command();
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut follower = command.spawn().unwrap();
    let lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let mut lines = lines.map_while(Result::ok);

    let folder = bench.hob.data().join("logs/openfaas-fn/flood");
    let most = bench.beside_neighbour(|| {
        std::thread::scope(|scope| {
            let call = scope.spawn(|| bench.hob.post("/function/flood", "flood"));
            let mut most = 0;
            assert_eventually!({
                most = most.max(bytes_in(&folder));
                call.is_finished()
            });
            call.join().unwrap().expect(200);
            most
        })
    });
    assert!(most > QUOTA / 4 && most < FLOOD_MAX, "{most} bytes");
    let mut follows = |words: &str| lines.any(|line| line.ends_with(words));
    assert!(follows("said flood"), "it is followed");
    assert_eventually!(
        bytes_in(&folder) <= QUOTA + TIMES,
        "{} bytes are left",
        bytes_in(&folder)
    );
    let last = bench.hob.cli(["logs", "flood", "--tail", "2"]).ok();
    let last: Vec<_> = last.lines().collect();
    assert!(last[0].ends_with('x') && last[1].ends_with("said flood"));

    // Everybody goes on.
    bench.hob.post("/function/flood", "more").expect(200);
    assert!(follows("said more"), "it is followed");
    bench.assert_unhurt("flood", &replica);
    // Replicas that are gone have their share of it.
    for word in ["second", "third"] {
        bench.hob.cli(["scale", "flood", "0"]).ok();
        bench.hob.post("/function/flood", "flood").expect(200);
        bench.hob.post("/function/flood", word).expect(200);
    }
    assert_eventually!(
        bytes_in(&folder) <= QUOTA + 3 * TIMES,
        "{} bytes are left",
        bytes_in(&folder)
    );
    let last = bench.hob.cli(["logs", "flood", "--tail", "1"]).ok();
    // Not every filesystem keeps the end of the line before it: see docs/logs.md.
    assert!(last.ends_with("said third\n"), "{last}");
    bench.hob.cli(["remove", "flood"]).ok();
    lines.for_each(drop);
    assert!(follower.wait().unwrap().success());
    assert!(!folder.exists());
}

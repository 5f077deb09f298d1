//! The fault run in its short form. `make soak` is the long one; `bench/README.md` tells of it.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::{Path, PathBuf};

use hob_soak::{Form, Outcome, Run, Stop, calls, state};
use hob_testkit::has_programs;

/// Any will do; with one that stays, a failure comes again.
const SEED: u64 = 1;

fn run() -> Run {
    Run {
        hob: PathBuf::from(env!("CARGO_BIN_EXE_hob")),
        out: Path::new(env!("CARGO_TARGET_TMPDIR")).join("soak"),
        form: Form::short(),
        seed: SEED,
        stop: Stop::default(),
    }
}

fn assert_met(outcome: &Outcome) {
    assert!(
        outcome.missed.is_empty(),
        "{}\n{:?}",
        outcome.table,
        outcome.missed
    );
}

#[test]
fn no_call_fails_but_by_its_own_replica() {
    if has_programs(&["python3", "node"]) {
        assert_met(&calls::run(&run()).unwrap());
    }
}

#[test]
fn what_was_acknowledged_outlives_every_kill() {
    if has_programs(&["python3"]) {
        assert_met(&state::run(&run()).unwrap());
    }
}

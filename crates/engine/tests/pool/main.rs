//! The pool of this machine, with real sandboxes. The executable is its own helper, hence the
//! `main`.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

mod crash;
mod ends;
mod leave;
mod orders;
mod turns;
mod world;

use std::{env, panic, process::ExitCode, time::Instant};

type Test = (&'static str, fn());

fn main() -> ExitCode {
    hob_sandbox::run_helper_if_asked();
    if let Some(folder) = env::var_os(crash::VICTIM) {
        crash::be_killed(folder.as_ref());
    }
    let words: Vec<String> = env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    if !world::able() {
        return ExitCode::SUCCESS;
    }
    let all = [
        turns::TESTS,
        ends::TESTS,
        orders::TESTS,
        leave::TESTS,
        crash::TESTS,
    ];
    let wanted =
        |test: &&Test| words.is_empty() || words.iter().any(|word| test.0.contains(word.as_str()));
    let mut failed = 0;
    for (name, test) in all.into_iter().flatten().filter(wanted) {
        let start = Instant::now();
        let outcome = panic::catch_unwind(test);
        let word = if outcome.is_ok() { "ok" } else { "FAILED" };
        println!(
            "test {name} ... {word} ({} ms)",
            start.elapsed().as_millis()
        );
        failed += u32::from(outcome.is_err());
    }
    println!("{failed} failed");
    ExitCode::from(u8::from(failed > 0))
}

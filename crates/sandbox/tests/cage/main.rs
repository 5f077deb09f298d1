//! Real cages on this machine. The executable is its own helper, hence the `main`.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

mod freeze;
mod image;
mod kill;
mod languages;
mod layers;
mod levels;
mod limits;
mod nobody;
mod oci;
mod oneshot;
mod oneshot_end;
mod oneshot_files;
mod oneshot_left;
mod process;
mod stranger;
mod view;
mod yard;

use std::{env, panic, process::ExitCode, time::Instant};

type Test = (&'static str, fn());

fn main() -> ExitCode {
    hob_sandbox::run_helper_if_asked();
    if let Some(name) = env::var_os(nobody::TEST) {
        return nobody::main(&name);
    }
    if env::var_os(oneshot_left::DAEMON).is_some() {
        oneshot_left::daemon();
    }
    let words: Vec<String> = env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let all = [
        view::TESTS,
        limits::TESTS,
        kill::TESTS,
        freeze::TESTS,
        layers::TESTS,
        levels::TESTS,
        process::TESTS,
        nobody::TESTS,
        oci::TESTS,
        languages::TESTS,
        oneshot::TESTS,
        oneshot_files::TESTS,
        oneshot_end::TESTS,
        oneshot_left::TESTS,
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

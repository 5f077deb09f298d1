//! Real networks, in a network namespace that plays the machine: the executable runs itself again
//! there, hence the `main`.
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

mod cages;
#[allow(dead_code, reason = "shared with the tests of cages")]
#[path = "../cage/image.rs"]
mod image;
mod machine;
mod owner;
mod reach;
mod tidy;
#[allow(dead_code, reason = "shared with the tests of cages")]
#[path = "../cage/yard.rs"]
mod yard;

use std::{
    env, panic,
    process::{Command, ExitCode},
    time::Instant,
};

use yard::{has, is_root, skip};

type Test = (&'static str, fn());

/// Set in the run that is inside.
const INSIDE: &str = "HOB_NETWORK_TEST_INSIDE";

fn main() -> ExitCode {
    hob_sandbox::run_helper_if_asked();
    if let Some(role) = env::var_os(owner::ROLE) {
        return owner::main(&role);
    }
    if env::var_os(INSIDE).is_none() {
        return inside();
    }
    let words: Vec<String> = env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let all = [reach::TESTS, cages::TESTS, tidy::TESTS];
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

/// Runs all tests with links, rules, sysctls and mounts of their own.
fn inside() -> ExitCode {
    if !is_root() {
        skip("needs root to make networks");
        return ExitCode::SUCCESS;
    }
    if !["unshare", "ip", "nft"].into_iter().all(has) {
        return ExitCode::SUCCESS;
    }
    let status = Command::new("unshare")
        .args(["--net", "--mount", "--propagation", "private"])
        .arg(env::current_exe().unwrap())
        .args(env::args_os().skip(1))
        .env(INSIDE, "1")
        .status()
        .unwrap();
    ExitCode::from(u8::from(!status.success()))
}

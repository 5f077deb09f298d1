//! What the bench needs and `wrk` cannot: latency at a fixed rate of arrivals, and the time from
//! the start of a program to its first answer or to its end, and that of one-shot runs. Prints one JSON object.
#![forbid(unsafe_code)]

mod exec;
mod http;
mod rate;
mod runs;
mod start;

use std::{
    io::{Write, stdout},
    process::ExitCode,
};

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Measures latency at a fixed rate, and how programs start and end")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Sends calls at a fixed rate, however slowly they are answered.
    Rate(rate::Rate),
    /// Runs a program again and again, each time to its end.
    Exec(exec::Exec),
    /// Has a script run again and again, each time to its exit event.
    Runs(runs::Runs),
    /// Starts a program again and again, each time until its first answer.
    Start(start::Start),
}

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

impl Cli {
    fn run(self) -> Result<()> {
        let report = match self.verb {
            Verb::Rate(rate) => serde_json::to_string(&rate.run()?)?,
            Verb::Exec(exec) => serde_json::to_string(&exec.run()?)?,
            Verb::Runs(runs) => serde_json::to_string(&runs.run()?)?,
            Verb::Start(start) => serde_json::to_string(&start.run()?)?,
        };
        writeln!(stdout(), "{report}")?;
        Ok(())
    }
}

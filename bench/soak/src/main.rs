//! `make soak`: runs all of it, prints the tables, and fails when a bar is missed.

use std::{
    io::Write,
    path::PathBuf,
    process::ExitCode,
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, anyhow};
use clap::{Parser, ValueEnum};
use hob_soak::{Form, Outcome, Run, Stop, calls, state};

/// Kills hob and its replicas under load, and counts what that costs its callers
#[derive(Debug, Parser)]
struct Args {
    /// The executable
    #[arg(long)]
    hob: PathBuf,
    /// Folder for tables, data and the picture
    #[arg(long, default_value = "target/soak")]
    out: PathBuf,
    /// How long it takes
    #[arg(long, value_enum, default_value_t = Length::Long)]
    form: Length,
    /// Picks the same kills as an earlier run; default: another one each time
    #[arg(long)]
    seed: Option<u64>,
    /// Only this part
    #[arg(long, value_enum)]
    only: Option<Part>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Length {
    Long,
    Short,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Calls,
    State,
}

fn main() -> ExitCode {
    match Args::parse().run() {
        Ok(missed) if missed.is_empty() => ExitCode::SUCCESS,
        Ok(missed) => {
            for bar in missed {
                eprintln!("soak: MISSED: {bar}");
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("soak: not done: {error:#}");
            ExitCode::FAILURE
        }
    }
}

impl Args {
    /// Returns the bars that were missed.
    fn run(self) -> Result<Vec<String>> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let run = Run {
            hob: self.hob.canonicalize()?,
            out: self.out,
            form: match self.form {
                Length::Long => Form::long(),
                Length::Short => Form::short(),
            },
            seed: self.seed.unwrap_or(now.as_secs()),
            stop: Stop::by_signals()?,
        };
        let mut missed = Vec::new();
        let mut stdout = std::io::stdout();
        for part in [Part::Calls, Part::State] {
            if self.only.is_some_and(|only| only != part) {
                continue;
            }
            // What a panic has to say, it has said; all it holds is cleaned up on its way.
            let outcome = thread::scope(|scope| scope.spawn(|| part.run(&run)).join());
            let outcome = outcome.map_err(|_| anyhow!("the run panicked"))??;
            writeln!(stdout, "{}", outcome.table)?;
            missed.extend(outcome.missed);
        }
        writeln!(stdout, "kept in {}", run.folder().display())?;
        Ok(missed)
    }
}

impl Part {
    fn run(self, run: &Run) -> Result<Outcome> {
        match self {
            Self::Calls => calls::run(run),
            Self::State => state::run(run),
        }
    }
}

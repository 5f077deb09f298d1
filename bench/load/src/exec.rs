//! From the start of a program to its end: what a cage costs, when the program does nothing.

use std::{
    process::{Command, Stdio},
    thread,
    time::Instant,
};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;

#[derive(Args)]
pub(crate) struct Exec {
    /// How often each caller runs it
    #[arg(long, default_value_t = 1)]
    times: u32,
    /// Callers at once
    #[arg(long, default_value_t = 1)]
    callers: u32,
    /// Program and arguments, in which `{}` stands for the number of the run
    #[arg(last = true, required = true)]
    argv: Vec<String>,
}

/// Of all callers together.
#[derive(Debug, Serialize)]
pub(crate) struct Runs {
    /// Milliseconds from spawn to exit, run by run.
    exit_ms: Vec<f64>,
    /// Runs per second.
    rate: f64,
}

impl Exec {
    pub(crate) fn run(&self) -> Result<Runs> {
        let start = Instant::now();
        let work = |caller: u32| -> Result<Vec<f64>> {
            let first = caller * self.times;
            (first..first + self.times)
                .map(|run| self.once(run))
                .collect()
        };
        let times: Vec<Result<Vec<f64>>> = thread::scope(|scope| {
            let callers = (0..self.callers).map(|caller| scope.spawn(move || work(caller)));
            let callers: Vec<_> = callers.collect();
            let joined = callers.into_iter().filter_map(|caller| caller.join().ok());
            joined.collect()
        });
        let took = start.elapsed().as_secs_f64();
        let exit_ms = times.into_iter().collect::<Result<Vec<_>>>()?.concat();
        Ok(Runs {
            rate: exit_ms.len() as f64 / took,
            exit_ms,
        })
    }

    fn once(&self, run: u32) -> Result<f64> {
        let word = |word: &String| word.replace("{}", &run.to_string());
        let mut command = Command::new(word(&self.argv[0]));
        command.args(self.argv[1..].iter().map(word));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let start = Instant::now();
        let status = command.status().with_context(|| self.argv[0].clone())?;
        let time = start.elapsed().as_secs_f64() * 1000.0;
        if !status.success() {
            bail!("`{}` ended with {status}", self.argv.join(" "));
        }
        Ok(time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_runs_that_succeed_are_timed() {
        let exec = |program: &str| Exec {
            times: 3,
            callers: 2,
            argv: vec![program.into()],
        };
        assert_eq!(exec("true").run().expect("runs").exit_ms.len(), 6);
        exec("false").run().expect_err("a failure");
        exec("/nowhere/at/all").run().expect_err("no program");
    }
}

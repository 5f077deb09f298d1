//! From the start of a program to its end: what a cage costs, when the program does nothing.

use std::{
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;

#[derive(Args)]
pub(crate) struct Exec {
    /// How often
    #[arg(long, default_value_t = 1)]
    times: u32,
    /// Program and arguments
    #[arg(last = true, required = true)]
    argv: Vec<String>,
}

/// Milliseconds from spawn to exit, run by run.
#[derive(Debug, Serialize)]
pub(crate) struct Runs {
    exit_ms: Vec<f64>,
}

impl Exec {
    pub(crate) fn run(&self) -> Result<Runs> {
        let exit_ms = (0..self.times).map(|_| self.once());
        Ok(Runs {
            exit_ms: exit_ms.collect::<Result<_>>()?,
        })
    }

    fn once(&self) -> Result<f64> {
        let mut command = Command::new(&self.argv[0]);
        command.args(&self.argv[1..]);
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
            argv: vec![program.into()],
        };
        assert_eq!(exec("true").run().expect("runs").exit_ms.len(), 3);
        exec("false").run().expect_err("a failure");
        exec("/nowhere/at/all").run().expect_err("no program");
    }
}

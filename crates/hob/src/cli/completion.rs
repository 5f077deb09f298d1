use std::io::{self, Write};

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;

/// Print the completion script of a shell: `source <(hob completion bash)`
#[derive(Debug, Args)]
pub(super) struct Completion {
    /// The shell
    shell: Shell,
}

impl Completion {
    pub(super) fn run(self) -> anyhow::Result<()> {
        // Not straight to standard output: the generator panics when that is closed.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "hob", &mut script);
        io::stdout().lock().write_all(&script)?;
        Ok(())
    }
}

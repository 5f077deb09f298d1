//! Functions that the clock calls.

mod list;
mod run;

use clap::Subcommand;

use super::Context;
pub(super) use list::next_run;

/// Show when the clock calls functions, and make a run at once
#[derive(Debug, Subcommand)]
pub(super) enum Schedule {
    List(list::List),
    Run(run::Run),
}

impl Schedule {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::List(verb) => verb.run(context),
            Self::Run(verb) => verb.run(context),
        }
    }
}

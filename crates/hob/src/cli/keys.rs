//! The keys by which a coordinator and its workers know each other. They are files alone, so no
//! server has to run.

mod generate;
mod sign;

use clap::Subcommand;

/// Keep the keys by which a server may have its workers run something
#[derive(Debug, Subcommand)]
pub(super) enum Keys {
    Generate(generate::Generate),
    Sign(sign::Sign),
}

impl Keys {
    pub(super) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Generate(verb) => verb.run(),
            Self::Sign(verb) => verb.run(),
        }
    }
}

//! The images of a server.

mod list;
mod load;
mod prune;
mod remove;
mod save;

use clap::Subcommand;

use super::Context;

/// Look after the images on the server
#[derive(Debug, Subcommand)]
pub(super) enum Image {
    List(list::List),
    Remove(remove::Remove),
    Prune(prune::Prune),
    Save(save::Save),
    Load(load::Load),
}

impl Image {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::List(verb) => verb.run(context),
            Self::Remove(verb) => verb.run(context),
            Self::Prune(verb) => verb.run(context),
            Self::Save(verb) => verb.run(context),
            Self::Load(verb) => verb.run(context),
        }
    }
}

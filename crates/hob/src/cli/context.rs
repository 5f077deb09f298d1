//! Servers that were logged in to, by name.

mod list;
mod remove;
mod rename;
mod select;
mod show;

use clap::Subcommand;

use super::Context as Surroundings;
use crate::{environment::Environment, output::Cell};

/// Change between servers that you logged in to
#[derive(Debug, Subcommand)]
pub(super) enum Context {
    List(list::List),
    Use(select::Use),
    Show(show::Show),
    Rename(rename::Rename),
    Remove(remove::Remove),
}

impl Context {
    pub(super) fn run(self, context: &Surroundings) -> anyhow::Result<()> {
        match self {
            Self::List(verb) => verb.run(context),
            Self::Use(verb) => verb.run(context),
            Self::Show(verb) => verb.run(context),
            Self::Rename(verb) => verb.run(context),
            Self::Remove(verb) => verb.run(context),
        }
    }
}

/// Says so when a variable goes before the context that is in use.
pub(super) fn warn_of_variables(env: &Environment) {
    let set = ["HOB_SERVER", "HOB_CONTEXT"].into_iter();
    for name in set.filter(|name| env.var(name).is_some()) {
        eprintln!("warning: {name} is set in this shell, and goes before it: `unset {name}`");
    }
}

/// Who asks, as tables show it.
fn user(user: Option<&str>) -> Cell {
    user.unwrap_or("-").into()
}

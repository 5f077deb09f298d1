//! Namespaces: the same name for two functions, each with secrets of its own.

mod create;
mod list;
mod remove;

use clap::Subcommand;
use hob_model::{Label, NameError};

use super::Context;
use crate::exit::Failure;

/// Keep functions of the same name apart, with their secrets
#[derive(Debug, Subcommand)]
pub(super) enum Namespace {
    List(list::List),
    Create(create::Create),
    Remove(remove::Remove),
}

impl Namespace {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::List(verb) => verb.run(context),
            Self::Create(verb) => verb.run(context),
            Self::Remove(verb) => verb.run(context),
        }
    }
}

fn parse_name(text: &str) -> anyhow::Result<Label> {
    text.parse()
        .map_err(|error: NameError| Failure::usage(error.to_string()).into())
}

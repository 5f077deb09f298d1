//! Tokens: what programs log in with, each for a few things.

mod create;
mod list;
mod revoke;

use clap::Subcommand;
use hob_model::{Label, NameError};

use super::Context;
use crate::exit::Failure;

/// Give programs tokens that let them do a few things, in place of the password
#[derive(Debug, Subcommand)]
pub(super) enum Token {
    Create(create::Create),
    List(list::List),
    Revoke(revoke::Revoke),
}

impl Token {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::Create(verb) => verb.run(context),
            Self::List(verb) => verb.run(context),
            Self::Revoke(verb) => verb.run(context),
        }
    }
}

/// Where the tokens are in the API.
const TOKENS: &str = "/hob/v1/tokens";

fn parse_name(text: &str) -> anyhow::Result<Label> {
    text.parse()
        .map_err(|error: NameError| Failure::usage(format!("token: {error}")).into())
}

//! What the TLS listener presents.

mod list;
mod renew;

use clap::Subcommand;

use super::Context;

/// Show the certificates that callers by TLS are presented, and ask for new ones
///
/// Where they come from stands in `[tls]` of the configuration file.
#[derive(Debug, Subcommand)]
#[command(visible_alias = "tls")]
pub(super) enum Certificate {
    List(list::List),
    Renew(renew::Renew),
}

impl Certificate {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::List(verb) => verb.run(context),
            Self::Renew(verb) => verb.run(context),
        }
    }
}

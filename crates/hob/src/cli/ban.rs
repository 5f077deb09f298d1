//! Addresses that are shut out.

mod add;
mod list;
mod remove;

use clap::Subcommand;
use hob_model::AddressRange;

use super::Context;

/// Show who is shut out, shut somebody out, and let him in again
///
/// An address is shut out by itself after ten failed logins or a storm of requests for what is not
/// there. The socket on this machine is never shut out: this command always works there.
#[derive(Debug, Subcommand)]
pub(super) enum Ban {
    List(list::List),
    Add(add::Add),
    Remove(remove::Remove),
}

impl Ban {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::List(verb) => verb.run(context),
            Self::Add(verb) => verb.run(context),
            Self::Remove(verb) => verb.run(context),
        }
    }
}

/// Until when a ban holds, for people.
fn until(ban: &hob_model::Ban) -> String {
    ban.until.map_or_else(
        || "forever".into(),
        |until| humantime::format_rfc3339_seconds(until).to_string(),
    )
}

/// Reads an address or a range of them.
fn parse_address(text: &str) -> Result<AddressRange, String> {
    text.parse()
        .map_err(|error: hob_model::AddressRangeError| error.to_string())
}

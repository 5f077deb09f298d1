use clap::Args;
use hob_store::HostName;

use super::{Context, authority, explain, made, parse_name};
use crate::{config::PlaceArgs, output};

/// Make a certificate for a server
///
/// It lasts 397 days; `hob ca renew` makes a new one in time.
#[derive(Debug, Args)]
pub(in crate::cli) struct Issue {
    /// Names and addresses of the server, as in registry.home.arpa, *.home.arpa or 192.168.1.10; its files are called by the first
    #[arg(required = true, value_name = "NAME", value_parser = parse_name)]
    names: Vec<HostName>,
    #[command(flatten)]
    place: PlaceArgs,
}

impl Issue {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let authority = authority(self.place, context)?;
        // At least one, as clap has it.
        let [first, more @ ..] = self.names.as_slice() else {
            return Ok(());
        };
        let certificate = authority.issue(first, more).map_err(explain)?;
        output::line(&made(&certificate)?)
    }
}

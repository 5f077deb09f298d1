use clap::Args;
use hob_model::AddressRange;

use super::{Context, parse_address};
use crate::{cli::session::Session, client::quoted, config::ClientArgs, output};

/// Let an address in again, and forget what it did
#[derive(Debug, Args)]
#[command(visible_alias = "rm")]
pub(in crate::cli) struct Remove {
    /// Whom, as `hob ban list` shows it
    #[arg(value_parser = parse_address)]
    address: AddressRange,
    #[command(flatten)]
    client: ClientArgs,
}

impl Remove {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let session = Session::open(self.client, context)?;
        let address = self.address.to_string();
        let path = format!("/hob/v1/bans?address={}", quoted(&address));
        context.wait(async { Ok(session.client.delete(&path).await?) })?;
        output::line(&format!("{address} is let in again"))
    }
}

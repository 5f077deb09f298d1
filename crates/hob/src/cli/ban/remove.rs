use clap::Args;
use hob_model::{AddressRange, Ban};

use super::{Context, parse_address};
use crate::{
    cli::session::Session,
    client::{Client, ClientError, quoted},
    config::ClientArgs,
    exit::{Exit, Failure},
    output,
};

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
        context.wait(async {
            match session.client.delete(&path).await {
                Ok(_) => Ok(()),
                Err(error) => Err(explain(&session.client, self.address, error).await),
            }
        })?;
        output::line(&format!("{address} is let in again"))
    }
}

/// Names the bans that shut out the address, or a part of the range, though none is just that.
async fn explain(client: &Client, address: AddressRange, error: ClientError) -> anyhow::Error {
    if !matches!(error, ClientError::NotFound(_)) {
        return error.into();
    }
    let bans: Vec<Ban> = match client.get("/hob/v1/bans").await {
        Ok(bans) => bans,
        // What was asked for has its answer.
        Err(_) => return error.into(),
    };
    let mut within = bans.iter().filter(|ban| ban.address.overlaps(&address));
    match within.next() {
        None => error.into(),
        Some(Ban { address, .. }) => Failure::new(
            Exit::NotFound,
            format!("{address} is banned: `hob ban remove {address}`"),
        )
        .into(),
    }
}

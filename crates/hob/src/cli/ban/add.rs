use clap::Args;
use hob_model::{AddressRange, Ban, Timespan};

use super::{Context, parse_address, until};
use crate::{
    cli::session::Session,
    client::quoted,
    config::ClientArgs,
    output::{self, Format, OutputArgs},
};

const EXAMPLES: &str = "\
Examples:
  hob ban add 203.0.113.9
  hob ban add 203.0.113.0/24 --for 7d --reason \"scans every night\"
  hob ban add 2001:db8::/64 --forever";

/// Shut an address out, or a range of them
///
/// Its connections are closed before anything of them is read. That lasts over restarts.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Add {
    /// Whom: 203.0.113.9, 203.0.113.0/24 or 2001:db8::/64
    #[arg(value_parser = parse_address)]
    address: AddressRange,
    /// How long: 30m, 1d [default: 1d]
    #[arg(long = "for", value_name = "TIME", conflicts_with = "forever")]
    time: Option<Timespan>,
    /// Until `hob ban remove`
    #[arg(long)]
    forever: bool,
    /// Why, on one line
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    client: ClientArgs,
}

impl Add {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let session = Session::open(self.client, context)?;
        let mut path = format!("/hob/v1/bans?address={}", quoted(&self.address.to_string()));
        if self.forever {
            path.push_str("&for=forever");
        } else if let Some(time) = self.time {
            path.push_str(&format!("&for={time}"));
        }
        if let Some(reason) = &self.reason {
            path.push_str(&format!("&reason={}", quoted(reason)));
        }
        let ban: Ban = context.wait(async { Ok(session.client.post(&path, Vec::new()).await?) })?;
        match self.output.output {
            Format::Json => output::json(&ban),
            Format::Text => match ban.until {
                Some(_) => output::line(&format!(
                    "{} is shut out until {}",
                    ban.address,
                    until(&ban)
                )),
                None => output::line(&format!("{} is shut out for good", ban.address)),
            },
        }
    }
}

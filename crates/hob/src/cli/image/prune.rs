use clap::Args;
use hob_model::wire::PruneSummary;

use super::Context;
use crate::{
    cli::session::Session,
    config::ClientArgs,
    output::{self, Format, OutputArgs},
};

/// Give back the disk of images that nobody needs
///
/// What no name leads to goes in any case, unless it came within the last day.
#[derive(Debug, Args)]
pub(in crate::cli) struct Prune {
    /// Also images that no function runs, if a registry has them
    #[arg(long)]
    pulled: bool,
    /// Also images that no function runs and that were built, loaded or pushed here: for these it may be the only copy
    #[arg(long, conflicts_with = "pulled")]
    all: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    client: ClientArgs,
}

impl Prune {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let session = Session::open(self.client, context)?;
        let which = match (self.pulled, self.all) {
            (_, true) => "all",
            (true, _) => "pulled",
            _ => "unreachable",
        };
        let path = format!("/hob/v1/images/prune?which={which}");
        let pruned: PruneSummary =
            context.wait(async { Ok(session.client.post(&path, Vec::new()).await?) })?;
        if self.output.output == Format::Json {
            return output::json(&pruned);
        }
        for image in &pruned.images {
            output::line(&format!("removed image {image}"))?;
        }
        output::line(&format!("{} are free again", output::bytes(pruned.bytes)))
    }
}

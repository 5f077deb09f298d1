use clap::Args;
use hob_model::wire::ImageSummary;

use super::Context;
use crate::{
    cli::session::Session,
    config::ClientArgs,
    output::{self, OutputArgs, Table},
};

/// List the images, with their size as a registry sends them
#[derive(Debug, Args)]
#[command(visible_alias = "ls")]
pub(in crate::cli) struct List {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    client: ClientArgs,
}

impl List {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let session = Session::open(self.client, context)?;
        let images: Vec<ImageSummary> =
            context.wait(async { Ok(session.client.get("/hob/v1/images").await?) })?;
        let none = "no images yet: `hob deploy --image REF` pulls one and runs it";
        output::list(images, self.output, none, context.terminal.colour, table)
    }
}

fn table(images: Vec<ImageSummary>) -> Table {
    let mut table = Table::with_head(["IMAGE", "DIGEST", "PLATFORMS", "SIZE", "FROM", "USED BY"]);
    for image in images {
        let users = image.functions.iter().map(ToString::to_string);
        let users = users.collect::<Vec<_>>().join(", ");
        let digest = image.digest.trim_start_matches("sha256:");
        table.row([
            image.image.into(),
            output::short_digest(digest).into(),
            image.platforms.join(", ").into(),
            output::bytes(image.size).into(),
            if image.pulled { "registry" } else { "here" }.into(),
            if users.is_empty() { "-".into() } else { users }.into(),
        ]);
    }
    table
}

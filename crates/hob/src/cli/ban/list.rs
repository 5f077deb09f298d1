use clap::Args;
use hob_model::{Ban, BanOrigin};

use super::{Context, until};
use crate::{
    cli::session::Session,
    config::ClientArgs,
    output::{self, OutputArgs, Table},
};

/// List who is shut out, until when, and why
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
        let bans: Vec<Ban> =
            context.wait(async { Ok(session.client.get("/hob/v1/bans").await?) })?;
        let none = "nobody is shut out";
        output::list(bans, self.output, none, context.terminal.colour, table)
    }
}

fn table(bans: Vec<Ban>) -> Table {
    let mut table = Table::with_head(["ADDRESS", "SINCE", "UNTIL", "BY", "REASON"]);
    for ban in &bans {
        table.row([
            ban.address.to_string().into(),
            format!("{} ago", output::age(ban.since)).into(),
            until(ban).into(),
            match ban.origin {
                BanOrigin::Hand => "hand",
                BanOrigin::Conduct => "conduct",
            }
            .into(),
            ban.reason.as_str().into(),
        ]);
    }
    table
}

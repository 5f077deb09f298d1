use clap::Args;
use hob_model::wire::RegistrySummary;

use super::Context;
use crate::{
    cli::session::Session,
    config::ClientArgs,
    output::{self, OutputArgs, Table},
};

/// List the registries that the server knows something of
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
        let registries: Vec<RegistrySummary> =
            context.wait(async { Ok(session.client.get("/hob/v1/registries").await?) })?;
        let none = "no registries yet: `hob registry login HOST -u USER` adds one";
        output::list(
            registries,
            self.output,
            none,
            context.terminal.colour,
            table,
        )
    }
}

fn table(registries: Vec<RegistrySummary>) -> Table {
    let mut table = Table::with_head(["REGISTRY", "USER", "AUTHORITIES", "TLS"]);
    for known in registries {
        let tls = if known.plain_http { "no" } else { "yes" };
        table.row([
            known.registry.into(),
            known.username.unwrap_or_else(|| "-".into()).into(),
            known.authorities.to_string().into(),
            tls.into(),
        ]);
    }
    table
}

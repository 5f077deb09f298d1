use clap::Args;
use hob_model::wire::SecretSummary;

use super::Context;
use crate::{
    cli::session::Session,
    config::ClientArgs,
    output::{self, OutputArgs, Table},
};

/// List the names of the secrets
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
        let path = format!("/hob/v1/secrets?namespace={}", session.namespace());
        let secrets: Vec<SecretSummary> =
            context.wait(async { Ok(session.client.get(&path).await?) })?;
        let none = "no secrets yet: `pass show api-key | hob secret set api-key` keeps one";
        output::list(secrets, self.output, none, context.terminal.colour, table)
    }
}

fn table(secrets: Vec<SecretSummary>) -> Table {
    let mut table = Table::with_head(["NAME", "NAMESPACE"]);
    for secret in secrets {
        table.row([secret.name.into(), secret.namespace.into()]);
    }
    table
}

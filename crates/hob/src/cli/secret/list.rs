use clap::Args;
use hob_model::wire::SecretSummary;

use super::Context;
use crate::{
    cli::session::Session,
    config::ClientArgs,
    output::{self, Format, OutputArgs, Table},
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
        if self.output.output == Format::Json {
            return output::json(&secrets);
        }
        if secrets.is_empty() {
            eprintln!("no secrets yet: `pass show api-key | hob secret set api-key` keeps one");
            return Ok(());
        }
        let mut table = Table::with_head(["NAME", "NAMESPACE"]);
        for secret in secrets {
            table.row([secret.name.into(), secret.namespace.into()]);
        }
        table.print(context.terminal.colour)
    }
}

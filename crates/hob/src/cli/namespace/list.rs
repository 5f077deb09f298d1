use clap::Args;
use hob_model::wire::{FunctionSummary, NamespaceSummary};

use super::Context;
use crate::{
    cli::session::Session,
    config::ClientArgs,
    output::{self, Format, OutputArgs, Table},
};

/// List the namespaces
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
        let namespaces = context.wait(summaries(&session))?;
        if self.output.output == Format::Json {
            return output::json(&namespaces);
        }
        let mut table = Table::with_head(["NAME", "FUNCTIONS"]);
        for namespace in namespaces {
            let functions = namespace.functions.to_string();
            table.row([namespace.name.into(), functions.into()]);
        }
        table.print(context.terminal.colour)
    }
}

async fn summaries(session: &Session) -> anyhow::Result<Vec<NamespaceSummary>> {
    let names: Vec<String> = session.client.get("/system/namespaces").await?;
    let functions: Vec<FunctionSummary> = session.client.get("/hob/v1/functions").await?;
    let summary = |name: String| {
        let here = functions.iter().filter(|one| one.name.namespace() == name);
        NamespaceSummary {
            functions: here.count(),
            name,
        }
    };
    Ok(names.into_iter().map(summary).collect())
}

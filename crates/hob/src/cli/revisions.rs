use clap::Args;
use hob_model::{
    FunctionName,
    wire::{RevisionState, RevisionSummary},
};

use super::{
    Context,
    session::{Session, function_path},
};
use crate::{
    config::ClientArgs,
    output::{self, Cell, Format, OutputArgs, Table, Tint},
};

/// List the revisions of a function that `hob rollback` can go back to
#[derive(Debug, Args)]
pub(super) struct Revisions {
    /// The function
    name: String,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    client: ClientArgs,
}

impl Revisions {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let session = Session::open(self.client, context)?;
        let name = session.function(&self.name)?;
        let revisions = context.wait(of(&session, &name))?;
        if self.output.output == Format::Json {
            return output::json(&revisions);
        }
        let mut table = Table::with_head(["NUMBER", "REVISION", "MADE OF", "DEPLOYED", "STATE"]);
        for one in &revisions {
            let image = one.image.as_ref().map(|image| image.name.clone());
            let state = match (one.state, one.canary) {
                (RevisionState::Current, _) => Cell::tinted("current", Tint::Good),
                (RevisionState::Canary, Some(share)) => {
                    Cell::tinted(format!("canary, {share}"), Tint::Odd)
                }
                (RevisionState::Canary, None) => Cell::tinted("canary", Tint::Odd),
                (RevisionState::Kept, _) => Cell::tinted("kept", Tint::Dim),
            };
            table.row([
                one.number.to_string().into(),
                output::short_digest(&one.digest).into(),
                image.unwrap_or_else(|| one.language.clone()).into(),
                output::age(one.deployed_at).into(),
                state,
            ]);
        }
        table.print(context.terminal.colour)
    }
}

/// The revisions that are kept of a function, newest first.
pub(super) async fn of(
    session: &Session,
    name: &FunctionName,
) -> anyhow::Result<Vec<RevisionSummary>> {
    match session.client.get(&function_path(name, "/revisions")).await {
        Ok(revisions) => Ok(revisions),
        Err(error) => Err(session.explain(name, error).await),
    }
}

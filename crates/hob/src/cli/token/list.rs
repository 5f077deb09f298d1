use std::time::SystemTime;

use clap::Args;
use hob_model::wire::TokenSummary;

use super::{Context, TOKENS};
use crate::{
    cli::session::Session,
    config::ClientArgs,
    output::{self, Cell, OutputArgs, Table, Tint},
};

/// List the tokens: what they let do, until when, and when each was last used
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
        let tokens: Vec<TokenSummary> =
            context.wait(async { Ok(session.client.get(TOKENS).await?) })?;
        let none = "no tokens yet: `hob token create ci --scope functions:write` makes one";
        output::list(tokens, self.output, none, context.terminal.colour, table)
    }
}

fn table(tokens: Vec<TokenSummary>) -> Table {
    let mut table = Table::with_head(["NAME", "SCOPES", "AGE", "ENDS", "LAST USE"]);
    for token in tokens {
        let scopes: Vec<_> = token.scopes.iter().map(ToString::to_string).collect();
        let used = token.last_used_at;
        let used = used.map_or("never".to_owned(), |at| format!("{} ago", output::age(at)));
        table.row([
            token.name.into(),
            scopes.join(",").into(),
            output::age(token.created_at).into(),
            end(token.expires_at),
            used.into(),
        ]);
    }
    table
}

fn end(at: Option<SystemTime>) -> Cell {
    let Some(at) = at else {
        return "never".into();
    };
    match output::ahead(at) {
        Some(left) => left.into(),
        None => Cell::tinted(format!("{} ago", output::age(at)), Tint::Odd),
    }
}

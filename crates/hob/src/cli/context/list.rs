use clap::Args;
use serde::Serialize;

use super::{Surroundings, user};
use crate::{
    config::ClientArgs,
    contexts::{ContextsFile, LOCAL},
    output::{self, Cell, Format, OutputArgs, Table, Tint},
};

/// List the servers that you logged in to, and mark the one that is used
#[derive(Debug, Args)]
#[command(visible_alias = "ls")]
pub(in crate::cli) struct List {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    client: ClientArgs,
}

/// What `-o json` prints of each.
#[derive(Serialize)]
struct Row {
    name: String,
    server: String,
    user: Option<String>,
    used: bool,
}

impl List {
    pub(super) fn run(self, context: &Surroundings) -> anyhow::Result<()> {
        let config = self.client.resolve(&context.env)?;
        let used = config.used();
        let mut rows = vec![Row {
            name: LOCAL.into(),
            server: config.socket().display().to_string(),
            user: None,
            used: used.is_some_and(|name| name == LOCAL),
        }];
        let file = ContextsFile::of(&context.env)?;
        rows.extend(file.read()?.contexts.into_iter().map(|(name, entry)| Row {
            used: used.is_some_and(|used| used == name),
            server: entry.server,
            user: entry.login.map(|login| login.user().to_owned()),
            name,
        }));
        if self.output.output == Format::Json {
            return output::json(&rows);
        }
        let mut table = Table::with_head(["USED", "NAME", "SERVER", "USER"]);
        for row in &rows {
            let mark = match row.used {
                true => Cell::tinted("*", Tint::Good),
                false => "".into(),
            };
            table.row([
                mark,
                row.name.clone().into(),
                row.server.clone().into(),
                user(row.user.as_deref()),
            ]);
        }
        table.print(context.terminal.colour)?;
        if let Some(remote) = config.server.filter(|remote| remote.context.is_none()) {
            eprintln!("none of these is used, but {}", remote.url);
        }
        Ok(())
    }
}

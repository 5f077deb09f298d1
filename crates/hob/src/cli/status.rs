use std::time::Duration;

use clap::Args;
use hob_model::wire::{self, FunctionSummary, SandboxesSummary};
use serde::Serialize;

use super::{
    Context,
    list::{memory, state, wake_time},
    session::Session,
};
use crate::{
    config::ClientArgs,
    output::{self, Cell, Format, OutputArgs, Table, Tint},
};

/// Show whether the server runs, how it is, and what its functions cost
#[derive(Debug, Args)]
pub(super) struct Status {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    client: ClientArgs,
}

/// What `-o json` prints.
#[derive(Serialize)]
struct Shown {
    /// The context that is used, if one is.
    context: Option<String>,
    #[serde(flatten)]
    server: wire::Status,
    by_function: Vec<FunctionSummary>,
}

impl Status {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let session = Session::open(self.client, context)?;
        let used = session.context().map(str::to_owned);
        let (server, mut by_function) = context.wait(async {
            let server: wire::Status = session.client.get("/hob/v1/status").await?;
            let functions: Vec<FunctionSummary> = session.client.get("/hob/v1/functions").await?;
            Ok((server, functions))
        })?;
        by_function.retain(|function| session.shows(&function.name));
        by_function.sort_by(|a, b| a.name.cmp(&b.name));
        if self.output.output == Format::Json {
            return output::json(&Shown {
                context: used,
                server,
                by_function,
            });
        }
        let asked = match used {
            Some(name) => format!("{name} ({})", session.client.address()),
            None => session.client.address().to_string(),
        };
        about(asked, server).print(context.terminal.colour)?;
        if !by_function.is_empty() {
            output::line("")?;
            prices(&by_function).print(context.terminal.colour)?;
        }
        Ok(())
    }
}

fn about(asked: String, server: wire::Status) -> Table {
    let mut table = Table::plain();
    table.pair("server", asked);
    table.pair("version", server.version);
    table.pair("gateway", server.gateway);
    if let Some(tls) = server.tls {
        table.pair("tls", tls);
    }
    table.pair("metrics", server.metrics.as_deref().unwrap_or("off"));
    table.pair("data", server.data);
    table.pair("isolation", server.isolation);
    table.pair("functions", server.functions.to_string());
    table.pair("replicas", server.replicas.to_string());
    table.pair("sandboxes", sandboxes(server.sandboxes));
    table.pair("pid", server.pid.to_string());
    let uptime = Duration::from_secs(server.uptime);
    table.pair("up for", output::short_duration(uptime));
    table.pair("memory", output::bytes(server.memory));
    for warning in server.warnings {
        table.pair("warning", Cell::tinted(warning, Tint::Odd));
    }
    table
}

/// Whether scripts are run, and how busy that is.
fn sandboxes(found: Option<SandboxesSummary>) -> String {
    found.map_or_else(
        || "off".to_owned(),
        |found| {
            format!(
                "{} ready and {} with a run, of {}; {} callers wait",
                found.ready, found.leased, found.size, found.waiting
            )
        },
    )
}

/// What each function holds now, and what it typically takes to wake it.
fn prices(functions: &[FunctionSummary]) -> Table {
    let head = [
        "FUNCTION",
        "STATE",
        "MEMORY",
        "FROM FROZEN",
        "FROM STOPPED",
        "CALLS",
    ];
    let mut table = Table::with_head(head);
    for function in functions {
        table.row([
            function.name.to_string().into(),
            state(function.state),
            memory(function.memory).into(),
            wake_time(function.wakes.frozen.as_ref()).into(),
            wake_time(function.wakes.stopped.as_ref()).into(),
            function.calls.to_string().into(),
        ]);
    }
    table
}

use std::time::Duration;

use clap::Args;
use hob_model::wire;

use super::{Context, session::Session};
use crate::{
    config::ClientArgs,
    output::{self, Cell, Format, OutputArgs, Table, Tint},
};

/// Show whether the server runs and how it is
#[derive(Debug, Args)]
pub(super) struct Status {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    client: ClientArgs,
}

impl Status {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let session = Session::open(self.client, context)?;
        let status: wire::Status =
            context.wait(async { Ok(session.client.get("/hob/v1/status").await?) })?;
        if self.output.output == Format::Json {
            return output::json(&status);
        }
        let mut table = Table::plain();
        table.pair("version", status.version);
        table.pair("gateway", status.gateway);
        table.pair("metrics", status.metrics.as_deref().unwrap_or("off"));
        table.pair("data", status.data);
        table.pair("isolation", status.isolation);
        table.pair("functions", status.functions.to_string());
        table.pair("replicas", status.replicas.to_string());
        table.pair("pid", status.pid.to_string());
        let uptime = Duration::from_secs(status.uptime);
        table.pair("up for", output::short_duration(uptime));
        table.pair("memory", output::bytes(status.memory));
        for warning in status.warnings {
            table.pair("warning", Cell::tinted(warning, Tint::Odd));
        }
        table.print(context.terminal.colour)
    }
}

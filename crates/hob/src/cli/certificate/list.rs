use std::time::SystemTime;

use clap::Args;
use hob_model::wire::CertificateSummary;

use super::Context;
use crate::{
    cli::session::Session,
    config::ClientArgs,
    output::{self, Cell, OutputArgs, Table, Tint},
};

/// List the certificates, when they end, and what went wrong
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
        let path = "/hob/v1/certificates";
        let certificates: Vec<CertificateSummary> =
            context.wait(async { Ok(session.client.get(path).await?) })?;
        let none = "no certificates: `[tls]` in the configuration file of the server asks for them";
        output::list(
            certificates,
            self.output,
            none,
            context.terminal.colour,
            table,
        )
    }
}

fn table(certificates: Vec<CertificateSummary>) -> Table {
    let head = ["HOSTS", "SOURCE", "ISSUER", "ENDS", "RENEWS", "PROBLEM"];
    let mut table = Table::with_head(head);
    for one in certificates {
        let ends = match one.ends {
            Some(ends) if ends <= SystemTime::now() => Cell::tinted("ended", Tint::Bad),
            ends => from_now(ends).into(),
        };
        let problem = one.problem.unwrap_or_else(|| "-".into());
        table.row([
            one.hosts.join(", ").into(),
            one.source.as_str().into(),
            one.issuer.unwrap_or_else(|| "-".into()).into(),
            ends,
            from_now(one.renews).into(),
            problem.into(),
        ]);
    }
    table
}

/// `in 3d`.
fn from_now(time: Option<SystemTime>) -> String {
    match time {
        Some(time) => output::ahead(time).unwrap_or_else(|| "now".into()),
        None => "-".into(),
    }
}

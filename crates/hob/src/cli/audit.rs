use clap::Args;
use hob_model::{Moment, wire::AuditRecord};

use super::{Context, session::Session};
use crate::{
    client::quoted,
    config::ClientArgs,
    output::{self, Cell, Format, OutputArgs, Table, Tint},
};

const EXAMPLES: &str = "\
Examples:
  hob audit --since 1h                    what was changed in the last hour
  hob audit --who token:ci --limit 1000   what a token was used for
  hob audit --action secret               all that was done to secrets
  hob audit --target hello -o json        who changed that function, for programs";

/// Show who changed what, when and from where, the newest last
///
/// Kept are the last 90 days, and at most 100,000 changes. No value of a secret is ever among them.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Audit {
    /// Only changes of this time and later: 1h for how long ago, or 2026-11-22T14:08:03Z
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    /// Only changes by this one: admin, token:NAME, or local:UID
    #[arg(long, value_name = "WHO")]
    who: Option<String>,
    /// Only this action, as in function.deploy, or all on a kind of thing, as in function
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// Only changes of what is called this
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Only the newest so many, at most 10000
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    limit: u32,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    client: ClientArgs,
}

impl Audit {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let session = Session::open(self.client, context)?;
        let mut path = format!("/hob/v1/audit?limit={}", self.limit);
        let since = self.since.map(|since| since.to_string());
        for (key, value) in [
            ("since", since),
            ("who", self.who),
            ("action", self.action),
            ("target", self.target),
        ] {
            if let Some(value) = value {
                path += &format!("&{key}={}", quoted(&value));
            }
        }
        let records: Vec<AuditRecord> =
            context.wait(async { Ok(session.client.get(&path).await?) })?;
        if self.output.output == Format::Json {
            return output::json(&records);
        }
        if records.is_empty() {
            eprintln!("no such changes");
            return Ok(());
        }
        let mut table = Table::with_head(["WHEN", "WHO", "FROM", "ACTION", "TARGET", "STATUS"]);
        for record in records {
            let time = humantime::format_rfc3339_seconds(record.at).to_string();
            let target = match record.target.is_empty() {
                true => "-".into(),
                false => record.target,
            };
            table.row([
                time.into(),
                record.who.into(),
                record.from.into(),
                record.action.into(),
                target.into(),
                status(record.status),
            ]);
        }
        table.print(context.terminal.colour)
    }
}

fn status(status: u16) -> Cell {
    let tint = match status {
        ..400 => Tint::Good,
        _ => Tint::Bad,
    };
    Cell::tinted(status.to_string(), tint)
}

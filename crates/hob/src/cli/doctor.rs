mod machine;
mod public;
mod server;

use clap::Args;
use serde::Serialize;

use super::Context;
use crate::{
    config::ClientArgs,
    exit::Failure,
    output::{self, Cell, Format, OutputArgs, Table, Tint},
};

/// Say what this machine can do, what it cannot, and how to mend that
///
/// Ends with exit code 1 when functions cannot run here at all; with --public, when something has to
/// be closed before strangers reach the machine.
#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// Look at what is still open before the machine is on the public Internet
    #[arg(long)]
    public: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    client: ClientArgs,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    /// What was looked at.
    check: String,
    /// How it is.
    state: State,
    /// What was found, on one line.
    detail: String,
    /// What to install or set, when it could be better.
    #[serde(skip_serializing_if = "Option::is_none")]
    cure: Option<String>,
}

/// How a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// As it should be.
    Ok,
    /// Functions run, but something cannot be had.
    Limited,
    /// No function can run until this is mended.
    Broken,
    /// Worth a look before strangers come.
    Warn,
    /// To be closed before strangers come.
    Fail,
}

impl Doctor {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let settings = self.client.settings(&context.env)?;
        let config = self.client.resolve(&context.env)?;
        let findings = if self.public {
            public::examine(&config, &settings, context)
        } else {
            let mut findings = machine::examine(&config.data, &settings, &context.env);
            findings.extend(server::examine(&config, context));
            findings
        };
        if self.output.output == Format::Json {
            output::json(&findings)?;
        } else {
            print(&findings, context.terminal.colour)?;
        }
        let count = |state| {
            let found = findings.iter().filter(|finding| finding.state == state);
            found.count()
        };
        let (broken, failed) = (count(State::Broken), count(State::Fail));
        if failed > 0 {
            let failed = output::count(failed, "finding");
            return Err(Failure::failed(format!(
                "this machine is not ready for strangers: see the {failed} marked `fail`"
            ))
            .into());
        }
        if broken > 0 {
            let broken = output::count(broken, "finding");
            return Err(Failure::failed(format!(
                "no function can run on this machine: see the {broken} marked `broken`"
            ))
            .into());
        }
        Ok(())
    }
}

fn print(findings: &[Finding], colour: bool) -> anyhow::Result<()> {
    let mut table = Table::with_head(["CHECK", "STATE", "FOUND"]);
    for finding in findings {
        let state = match finding.state {
            State::Ok => Cell::tinted("ok", Tint::Good),
            State::Limited => Cell::tinted("limited", Tint::Odd),
            State::Broken => Cell::tinted("broken", Tint::Bad),
            State::Warn => Cell::tinted("warn", Tint::Odd),
            State::Fail => Cell::tinted("fail", Tint::Bad),
        };
        let detail = match &finding.cure {
            Some(cure) => format!("{}; {cure}", finding.detail),
            None => finding.detail.clone(),
        };
        table.row([finding.check.as_str().into(), state, detail.into()]);
    }
    table.print(colour)
}

impl Finding {
    fn ok(check: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            check: check.into(),
            state: State::Ok,
            detail: detail.into(),
            cure: None,
        }
    }

    fn not(
        state: State,
        check: impl Into<String>,
        detail: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        Self {
            check: check.into(),
            state,
            detail: detail.into(),
            cure: Some(cure.into()),
        }
    }
}

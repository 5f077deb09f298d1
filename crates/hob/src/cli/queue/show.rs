use clap::Args;
use hob_model::wire::{CallAnswer, CallDetail};

use super::{Context, call_path, state};
use crate::{
    cli::session::Session,
    config::ClientArgs,
    output::{self, Format, OutputArgs, Table},
};

/// Show one asynchronous call and its answer
#[derive(Debug, Args)]
pub(in crate::cli) struct Show {
    /// Its X-Call-Id; of several, the newest is shown
    id: String,
    /// Of several calls with this id only those of this function
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    client: ClientArgs,
}

impl Show {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let session = Session::open(self.client, context)?;
        let function = self
            .function
            .map(|name| session.function(&name))
            .transpose()?;
        let path = call_path(&self.id, "", function.as_ref());
        let call: CallDetail = context.wait(async { Ok(session.client.get(&path).await?) })?;
        if self.output.output == Format::Json {
            return output::json(&call);
        }
        print(&call, context.terminal.colour)
    }
}

fn print(call: &CallDetail, colour: bool) -> anyhow::Result<()> {
    let summary = &call.summary;
    let mut table = Table::plain();
    table.pair("id", summary.id.as_str());
    table.pair("function", format!("{}{}", summary.function, summary.path));
    table.pair("state", state(summary.state));
    table.pair("taken", format!("{} ago", output::age(summary.taken_at)));
    if let Some(ended) = summary.ended_at {
        table.pair("ended", format!("{} ago", output::age(ended)));
    }
    table.pair("attempts", summary.attempts.to_string());
    if let Some(status) = summary.status {
        let end = summary.end.as_deref().unwrap_or("-");
        let millis = summary.millis.unwrap_or_default();
        table.pair(
            "last answer",
            format!("{status} after {millis} ms, end {end}"),
        );
    }
    if let Some(problem) = &summary.problem {
        table.pair("problem", problem.as_str());
    }
    if let Some(callback) = &summary.callback {
        table.pair("callback", callback.url.as_str());
        table.pair("told", format!("{} times tried", callback.attempts));
        if let Some(problem) = &callback.problem {
            table.pair("not told", problem.as_str());
        }
    }
    table.print(colour)?;
    call.answer.as_ref().map_or(Ok(()), answer)
}

fn answer(answer: &CallAnswer) -> anyhow::Result<()> {
    output::line("")?;
    for (name, value) in &answer.headers {
        output::line(&format!("{name}: {value}"))?;
    }
    output::line("")?;
    match &answer.text {
        Some(text) => output::line(text)?,
        None => output::line("(no text: -o json has it in base64)")?,
    }
    if answer.cut {
        eprintln!("the answer was longer than what is kept");
    }
    Ok(())
}

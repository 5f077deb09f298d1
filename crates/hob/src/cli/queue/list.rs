use std::time::SystemTime;

use clap::{Args, ValueEnum};
use hob_model::wire::{CallSummary, QueueList};

use super::{Context, state};
use crate::{
    cli::session::Session,
    client::quoted,
    config::ClientArgs,
    output::{self, Format, OutputArgs, Table},
};

/// List asynchronous calls, the newest first
#[derive(Debug, Args)]
#[command(visible_alias = "ls")]
pub(in crate::cli) struct List {
    /// Only dead letters: calls that failed for good
    #[arg(long, conflicts_with = "state")]
    dead: bool,
    /// Only calls in this state
    #[arg(long, value_name = "STATE")]
    state: Option<State>,
    /// Only calls of this function
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    /// Most calls to list, at most 1000
    #[arg(long, value_name = "NUMBER", default_value_t = 100)]
    limit: u32,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    /// To be made, again perhaps
    Waiting,
    /// Being made
    Running,
    /// Made, with an answer that is to be sent to a callback
    Callback,
    /// Made
    Done,
    /// Failed for good
    Dead,
}

impl List {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let session = Session::open(self.client.clone(), context)?;
        let mut path = format!("/hob/v1/queue?limit={}", self.limit);
        let state = if self.dead {
            Some(State::Dead)
        } else {
            self.state
        };
        if let Some(value) = state.and_then(|state| state.to_possible_value()) {
            path += &format!("&state={}", value.get_name());
        }
        if let Some(name) = &self.function {
            let name = session.function(name)?.to_string();
            path += &format!("&function={}", quoted(&name));
        }
        let list: QueueList = context.wait(async { Ok(session.client.get(&path).await?) })?;
        if self.output.output == Format::Json {
            return output::json(&list);
        }
        if list.calls.is_empty() {
            eprintln!("no such calls: `hob invoke NAME --async` makes one");
            return Ok(());
        }
        let mut table = Table::with_head([
            "ID", "FUNCTION", "STATE", "TAKEN", "ATTEMPTS", "STATUS", "NEXT", "PROBLEM",
        ]);
        for call in &list.calls {
            row(&mut table, call);
        }
        table.print(context.terminal.colour)?;
        if list.more {
            eprintln!("there are more: --limit shows them");
        }
        Ok(())
    }
}

fn row(table: &mut Table, call: &CallSummary) {
    let of_callback = call.callback.as_ref().and_then(|one| one.problem.clone());
    let problem = call.problem.clone().or(of_callback);
    table.row([
        call.id.clone().into(),
        call.function.to_string().into(),
        state(call.state),
        output::age(call.taken_at).into(),
        call.attempts.to_string().into(),
        call.status
            .map_or("-".into(), |status| status.to_string())
            .into(),
        call.due_at.map_or("-".into(), wait).into(),
        problem.unwrap_or_else(|| "-".into()).into(),
    ]);
}

/// How long until then.
fn wait(due: SystemTime) -> String {
    output::ahead(due).unwrap_or_else(|| "now".into())
}

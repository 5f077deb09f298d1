use clap::Args;
use hob_model::wire::{FunctionState, FunctionSummary, WakePrice};

use super::{Context, session::Session};
use crate::{
    config::ClientArgs,
    output::{self, Cell, Format, OutputArgs, Table, Tint},
};

/// List the functions
#[derive(Debug, Args)]
#[command(visible_alias = "ls")]
pub(super) struct List {
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    client: ClientArgs,
}

impl List {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let session = Session::open(self.client, context)?;
        let path = "/hob/v1/functions";
        let mut functions: Vec<FunctionSummary> =
            context.wait(async { Ok(session.client.get(path).await?) })?;
        functions.retain(|function| session.shows(&function.name));
        functions.sort_by(|a, b| a.name.cmp(&b.name));
        if self.output.output == Format::Json {
            return output::json(&functions);
        }
        if functions.is_empty() {
            eprintln!("no functions yet: `hob new python hello` writes the first");
            return Ok(());
        }
        let mut table = Table::with_head([
            "NAME", "STATE", "READY", "CALLS", "FAILED", "LANGUAGE", "REVISION", "UPDATED",
        ]);
        for function in &functions {
            table.row([
                function.name.to_string().into(),
                state(function.state),
                ready(function).into(),
                function.calls.to_string().into(),
                function.failed.to_string().into(),
                function.language.clone().into(),
                revisions(function).into(),
                output::age(function.updated_at).into(),
            ]);
        }
        table.print(context.terminal.colour)
    }
}

fn ready(function: &FunctionSummary) -> String {
    if is_files(function) {
        "-".into()
    } else {
        format!("{}/{}", function.ready, function.replicas)
    }
}

/// Whether hob serves its files itself: it answers, with no replica there and none wanted.
pub(super) fn is_files(function: &FunctionSummary) -> bool {
    function.state == FunctionState::Hot && function.ready == 0 && function.replicas == 0
}

/// Which revision answers: `3 (0123456789ab)`, and while there is a canary `, 10% 4 (89abcdef0123)`.
fn revisions(function: &FunctionSummary) -> String {
    let stable = revision(function.revision_number, &function.revision);
    match &function.canary {
        None => stable,
        Some(canary) => {
            let number = revision(canary.revision_number, &canary.revision);
            format!("{stable}, {} {number}", canary.share)
        }
    }
}

/// A revision by number and digest: `3 (0123456789ab)`.
pub(super) fn revision(number: u32, digest: &str) -> String {
    format!("{number} ({})", output::short_digest(digest))
}

/// How long it typically took to wake; `-` when nobody has seen it.
pub(super) fn wake_time(price: Option<&WakePrice>) -> String {
    price.map_or("-".into(), |price| output::millis(price.typical_millis))
}

/// Resident memory; `-` where there is none, or the machine cannot tell.
pub(super) fn memory(bytes: Option<u64>) -> String {
    bytes.map_or("-".into(), output::bytes)
}

/// A state in its colour.
pub(super) fn state(state: FunctionState) -> Cell {
    match state {
        FunctionState::Hot => Cell::tinted("hot", Tint::Good),
        FunctionState::Starting => Cell::tinted("starting", Tint::Odd),
        FunctionState::Frozen => Cell::tinted("frozen", Tint::Dim),
        FunctionState::Stopped => Cell::tinted("stopped", Tint::Dim),
        FunctionState::Failing => Cell::tinted("failing", Tint::Bad),
    }
}

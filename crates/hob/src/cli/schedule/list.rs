use clap::Args;
use hob_model::wire::ScheduleSummary;

use super::Context;
use crate::{
    cli::session::Session,
    config::ClientArgs,
    output::{self, OutputArgs, Table},
};

/// List the schedules with their next and their last run
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
        let path = "/hob/v1/schedules";
        let mut schedules: Vec<ScheduleSummary> =
            context.wait(async { Ok(session.client.get(path).await?) })?;
        schedules.retain(|schedule| session.shows(&schedule.function));
        let none = "no schedules yet: `schedule = \"*/5 * * * *\"` in a hob.toml makes one";
        output::list(schedules, self.output, none, context.terminal.colour, table)
    }
}

fn table(schedules: Vec<ScheduleSummary>) -> Table {
    let mut table = Table::with_head([
        "FUNCTION", "SCHEDULE", "ZONE", "MISSED", "NEXT", "LAST", "CALL",
    ]);
    for schedule in &schedules {
        let last = schedule
            .last
            .map(|last| format!("{} ago", output::age(last)));
        table.row([
            schedule.function.to_string().into(),
            schedule.schedule.as_str().into(),
            schedule.zone.as_str().into(),
            schedule.missed.as_str().into(),
            next_run(schedule).into(),
            last.unwrap_or_else(|| "-".into()).into(),
            schedule.last_call.as_deref().unwrap_or("-").into(),
        ]);
    }
    table
}

/// When it runs next, in words and as a time.
pub(in crate::cli) fn next_run(schedule: &ScheduleSummary) -> String {
    if let Some(problem) = &schedule.problem {
        return format!("never: {problem}");
    }
    let Some(next) = schedule.next else {
        return "never".into();
    };
    let time = humantime::format_rfc3339_seconds(next);
    let left = output::ahead(next).unwrap_or_else(|| "now".into());
    format!("{left} ({time})")
}

use clap::Args;
use hob_model::wire::ScheduleRun;

use super::Context;
use crate::{cli::session::Session, client::quoted, config::ClientArgs, output};

/// Make a run now, as if its time had come
#[derive(Debug, Args)]
pub(in crate::cli) struct Run {
    /// The function
    name: String,
    /// Which of its schedules, where it has several
    schedule: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

impl Run {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let session = Session::open(self.client, context)?;
        let name = session.function(&self.name)?;
        let mut path = format!("/hob/v1/schedules/run?function={name}");
        if let Some(schedule) = &self.schedule {
            path.push_str(&format!("&schedule={}", quoted(schedule)));
        }
        let run: ScheduleRun = context.wait(async {
            match session.client.post(&path, Vec::new()).await {
                Ok(run) => Ok(run),
                Err(error) => Err(session.explain(&name, error).await),
            }
        })?;
        output::line(&format!("{name} is called, as call {}", run.call))
    }
}

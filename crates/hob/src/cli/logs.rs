use clap::Args;
use hob_model::{Label, Moment, wire::LogLine};
use http::Method;

use super::{
    Context,
    session::{Session, function_path},
};
use crate::{
    client::empty,
    config::ClientArgs,
    output::{self, Format, OutputArgs},
};

/// Show what a function wrote to its standard output and error
#[derive(Debug, Args)]
pub(super) struct Logs {
    /// The function
    name: String,
    /// Go on with new lines until interrupted
    #[arg(short, long)]
    follow: bool,
    /// Only so many of the last lines
    #[arg(long, value_name = "LINES")]
    tail: Option<usize>,
    /// Only lines of this time and later: 5m for how long ago, or 2026-11-22T14:08:03Z
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    /// Only lines of this replica; `hob describe` lists those that run
    #[arg(long, value_name = "ID")]
    instance: Option<Label>,
    /// Begin each line with its time
    #[arg(short, long)]
    timestamps: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    client: ClientArgs,
}

impl Logs {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let session = Session::open(self.client, context)?;
        let name = session.function(&self.name)?;
        let mut query = format!("/logs?follow={}", self.follow);
        if let Some(tail) = self.tail {
            query.push_str(&format!("&tail={tail}"));
        }
        if let Some(since) = self.since {
            query.push_str(&format!("&since={since}"));
        }
        if let Some(instance) = &self.instance {
            query.push_str(&format!("&instance={}", instance.as_str()));
        }
        let path = function_path(&name, &query);
        context.wait(async {
            let client = &session.client;
            let answer = client.stream(Method::GET, &path, empty(), None).await;
            let mut lines = match answer {
                Ok(answer) => client.lines(answer),
                Err(error) => return Err(session.explain(&name, error).await),
            };
            while let Some(json) = lines.next().await? {
                let line: LogLine =
                    serde_json::from_slice(&json).map_err(|error| lines.broken(error))?;
                match self.output.output {
                    Format::Text if self.timestamps => {
                        let time = humantime::format_rfc3339_millis(line.timestamp);
                        output::line(&format!("{time} {}", line.text))?;
                    }
                    Format::Text => output::line(&line.text)?,
                    Format::Json => output::line(&serde_json::to_string(&line)?)?,
                }
            }
            Ok(())
        })
    }
}

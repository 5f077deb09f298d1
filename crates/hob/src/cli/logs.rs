use clap::Args;
use hob_model::wire::LogLine;
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
                    Format::Text => output::line(&line.text)?,
                    Format::Json => output::line(&serde_json::to_string(&line)?)?,
                }
            }
            Ok(())
        })
    }
}

use clap::Args;
use hob_model::wire::{FunctionSummary, ScaleRequest};

use super::{
    Context,
    session::{Session, function_path},
};
use crate::{config::ClientArgs, output};

/// Run so many replicas of a function; 0 stops it until the next call
#[derive(Debug, Args)]
pub(super) struct Scale {
    /// The function
    name: String,
    /// Replicas wanted
    replicas: u32,
    #[command(flatten)]
    client: ClientArgs,
}

impl Scale {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let session = Session::open(self.client, context)?;
        let name = session.function(&self.name)?;
        let body = serde_json::to_vec(&ScaleRequest {
            replicas: self.replicas,
        })?;
        let function: FunctionSummary = context.wait(async {
            let path = function_path(&name, "/scale");
            match session.client.post(&path, body).await {
                Ok(function) => Ok(function),
                Err(error) => Err(session.explain(&name, error).await),
            }
        })?;
        let name = &function.name;
        if self.replicas == 0 {
            return output::line(&format!("{name} is stopped; the next call wakes it"));
        }
        let ready = output::count(function.ready as usize, "replica");
        output::line(&format!("{name} runs {ready}"))
    }
}

use anyhow::Context as _;
use clap::Args;
use hob_model::FunctionName;

use super::{
    Context,
    session::{Session, each, function_path},
};
use crate::{
    config::ClientArgs,
    stack::{Stack, StackArgs},
};

/// Remove functions; their secrets stay
#[derive(Debug, Args)]
#[command(visible_alias = "rm")]
pub(super) struct Remove {
    /// The functions
    #[arg(required_unless_present = "yaml", conflicts_with_all = ["yaml", "filter", "regex"])]
    names: Vec<String>,
    #[command(flatten)]
    stack: StackArgs,
    #[command(flatten)]
    client: ClientArgs,
}

impl Remove {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let session = Session::open(self.client, context)?;
        // All names are read before the first function goes.
        let names = if self.stack.is_given() {
            stack_names(&self.stack.read(&context.env)?, &session)?
        } else {
            let names = self.names.iter().map(|name| session.function(name));
            names.collect::<anyhow::Result<Vec<_>>>()?
        };
        let remove =
            async |name: &FunctionName| match session.client.delete(&function_path(name, "")).await
            {
                Ok(_) => Ok(format!("removed {name}")),
                Err(error) => Err(session.explain(name, error).await),
            };
        context.wait(each(&names, remove))
    }
}

fn stack_names(stack: &Stack, session: &Session) -> anyhow::Result<Vec<FunctionName>> {
    let names = stack.functions.iter().map(|(name, function)| {
        let full = match &function.namespace {
            Some(namespace) if session.asked_namespace().is_none() => {
                &format!("{name}.{namespace}")
            }
            _ => name,
        };
        session.function(full).with_context(|| stack.place(name))
    });
    names.collect()
}

use clap::Args;

use super::{
    Context,
    session::{Session, function_path},
};
use crate::{config::ClientArgs, exit::report, output, stack::StackArgs};

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
        let names = if self.stack.is_given() {
            let functions = self.stack.read(&context.env)?.functions.into_iter();
            let named = functions.map(|(name, function)| match function.namespace {
                Some(namespace) if session.asked_namespace().is_none() => {
                    format!("{name}.{namespace}")
                }
                _ => name,
            });
            named.collect()
        } else {
            self.names
        };
        let names = names.iter().map(|name| session.function(name));
        // All names are read before the first function goes.
        let names = names.collect::<anyhow::Result<Vec<_>>>()?;
        context.wait(async {
            let mut failed = None;
            for name in &names {
                match session.client.delete(&function_path(name, "")).await {
                    Ok(_) => output::line(&format!("removed {name}"))?,
                    Err(error) => {
                        let error = session.explain(name, error).await;
                        // The last one is printed where the program ends.
                        if let Some(earlier) = failed.replace(error) {
                            report(&earlier);
                        }
                    }
                }
            }
            failed.map_or(Ok(()), Err)
        })
    }
}

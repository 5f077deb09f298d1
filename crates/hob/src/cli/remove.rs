use clap::Args;

use super::{
    Context,
    session::{Session, function_path},
};
use crate::{config::ClientArgs, exit::report, output};

/// Remove functions; their secrets stay
#[derive(Debug, Args)]
#[command(visible_alias = "rm")]
pub(super) struct Remove {
    /// The functions
    #[arg(required = true)]
    names: Vec<String>,
    #[command(flatten)]
    client: ClientArgs,
}

impl Remove {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let session = Session::open(self.client, context)?;
        let names = self.names.iter().map(|name| session.function(name));
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

use clap::Args;

use super::{Context, parse_name};
use crate::{cli::session::Session, config::ClientArgs, exit::Failure, output};

/// Remove a namespace with the functions and secrets in it
#[derive(Debug, Args)]
#[command(visible_alias = "rm")]
pub(in crate::cli) struct Remove {
    /// Its name
    name: String,
    /// Remove its secrets too, which are nowhere else
    #[arg(long)]
    with_secrets: bool,
    #[command(flatten)]
    client: ClientArgs,
}

impl Remove {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let session = Session::open(self.client, context)?;
        let name = parse_name(&self.name)?;
        context.wait(async {
            if !self.with_secrets {
                let path = format!("/hob/v1/secrets?namespace={name}");
                let secrets: Vec<serde_json::Value> = session.client.get(&path).await?;
                if !secrets.is_empty() {
                    return Err(Failure::failed(format!(
                        "namespace `{name}` holds secrets: remove them, or say --with-secrets"
                    ))
                    .into());
                }
            }
            let path = format!("/system/namespaces/{name}");
            session.client.delete(&path).await?;
            output::line(&format!("removed namespace {name}"))
        })
    }
}

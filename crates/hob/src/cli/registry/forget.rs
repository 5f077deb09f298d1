use clap::Args;

use super::{Context, registry_path};
use crate::{cli::session::Session, config::ClientArgs, output};

/// Forget everything about a registry: login, authorities, plain HTTP
#[derive(Debug, Args)]
pub(in crate::cli) struct Forget {
    /// Host and perhaps port of the registry; `*` for what is trusted for all
    registry: String,
    #[command(flatten)]
    client: ClientArgs,
}

impl Forget {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let session = Session::open(self.client, context)?;
        let path = registry_path(&self.registry, "")?;
        context.wait(async { Ok(session.client.delete(&path).await?) })?;
        output::line(&format!("forgot registry {}", self.registry))
    }
}

use clap::Args;

use super::{Context, registry_path};
use crate::{cli::session::Session, config::ClientArgs, output};

/// Forget the name and password for a registry
#[derive(Debug, Args)]
pub(in crate::cli) struct Logout {
    /// Host and perhaps port of the registry
    registry: String,
    #[command(flatten)]
    client: ClientArgs,
}

impl Logout {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let session = Session::open(self.client, context)?;
        let path = registry_path(&self.registry, "/login")?;
        context.wait(async { Ok(session.client.delete(&path).await?) })?;
        output::line(&format!("logged out of {}", self.registry))
    }
}

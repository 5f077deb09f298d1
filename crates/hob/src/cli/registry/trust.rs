use std::path::PathBuf;

use clap::Args;

use super::{Context, registry_path};
use crate::{cli::session::Session, config::ClientArgs, exit::Failure, output};

/// Trust registries that a certificate authority of your own has signed, or one without TLS
///
/// The machine's own authority (`hob ca`) and the system's are trusted without asking.
#[derive(Debug, Args)]
pub(in crate::cli) struct Trust {
    /// Certificate of the authority, PEM
    #[arg(value_name = "CA.pem", required_unless_present = "plain_http")]
    certificate: Option<PathBuf>,
    /// Trust it for this registry only [default: for all]
    #[arg(long, value_name = "HOST[:PORT]", requires = "certificate")]
    registry: Option<String>,
    /// Speak plain HTTP to this registry: passwords and images can be read and changed on the way
    #[arg(long, value_name = "HOST[:PORT]", conflicts_with = "certificate")]
    plain_http: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

impl Trust {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let session = Session::open(self.client, context)?;
        if let Some(registry) = self.plain_http {
            let path = registry_path(&registry, "/plain-http")?;
            context.wait(async { Ok(session.client.put(&path, Vec::new()).await?) })?;
            return output::line(&format!("{registry} is spoken to without TLS"));
        }
        // The parser has seen that there is one of the two.
        let certificate = self.certificate.unwrap_or_default();
        let pem = std::fs::read(&certificate)
            .map_err(|error| Failure::failed(format!("{}: {error}", certificate.display())))?;
        let registry = self.registry.as_deref().unwrap_or("*");
        let path = registry_path(registry, "/trust")?;
        context.wait(async { Ok(session.client.put(&path, pem).await?) })?;
        let which = self.registry.unwrap_or_else(|| "all registries".into());
        output::line(&format!("{} is trusted for {which}", certificate.display()))
    }
}

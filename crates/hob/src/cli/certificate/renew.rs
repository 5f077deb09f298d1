use clap::Args;
use hob_model::wire::CertificateSummary;
use hob_store::HostName;

use super::Context;
use crate::{cli::session::Session, config::ClientArgs, output};

/// Ask the ACME server for a new certificate now, whatever failed before
///
/// hob renews by itself, in time. This is for those who have mended what kept it from that.
#[derive(Debug, Args)]
pub(in crate::cli) struct Renew {
    /// The host, as `hob certificate list` shows it
    host: HostName,
    #[command(flatten)]
    client: ClientArgs,
}

impl Renew {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let session = Session::open(self.client, context)?;
        // A host name is the same in a URL.
        let path = format!("/hob/v1/certificates/{}/renew", self.host);
        let asked = async { Ok(session.client.post(&path, Vec::new()).await?) };
        let _: CertificateSummary = context.wait(asked)?;
        output::line(&format!(
            "a certificate for {} is asked for: `hob certificate list` shows what comes of it",
            self.host
        ))
    }
}

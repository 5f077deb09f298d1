use clap::Args;

use super::Context;
use crate::{cli::session::Session, client::quoted, config::ClientArgs, output};

/// Take the names of images away
///
/// Functions that run them go on. The disk is given back by `hob image prune`.
#[derive(Debug, Args)]
#[command(visible_alias = "rm")]
pub(in crate::cli) struct Remove {
    /// The images
    #[arg(required = true, value_name = "REF")]
    images: Vec<String>,
    #[command(flatten)]
    client: ClientArgs,
}

impl Remove {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let session = Session::open(self.client, context)?;
        context.wait(async {
            for image in &self.images {
                let path = format!("/hob/v1/images?image={}", quoted(image));
                session.client.delete(&path).await?;
                output::line(&format!("removed image {image}"))?;
            }
            Ok(())
        })
    }
}

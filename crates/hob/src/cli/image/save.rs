use std::{io::Write, path::PathBuf};

use clap::Args;
use hob_model::IoWords;
use http::Method;
use http_body_util::BodyExt;

use super::Context;
use crate::{
    cli::session::Session,
    client::{empty, quoted},
    config::ClientArgs,
    exit::Failure,
    output,
};

/// Write images to a file that other machines load without a network
///
/// The file is an OCI archive, which skopeo, podman, containerd and Docker read as well.
#[derive(Debug, Args)]
pub(in crate::cli) struct Save {
    /// The images
    #[arg(required = true, value_name = "REF")]
    images: Vec<String>,
    /// The file
    #[arg(short, long, value_name = "FILE.tar")]
    file: PathBuf,
    #[command(flatten)]
    client: ClientArgs,
}

impl Save {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let session = Session::open(self.client, context)?;
        let path = self.file.display();
        let cannot =
            |error: std::io::Error| Failure::failed(format!("{path}: {}", IoWords(&error)));
        let folder = match self.file.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => std::path::Path::new("."),
        };
        // Under its name only when all of it is there.
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(cannot)?;
        let images: Vec<_> = self.images.iter().map(|image| quoted(image)).collect();
        let asked = format!("/hob/v1/images/archive?image={}", images.join(","));
        context.wait(async {
            let answer = session.client.stream(Method::GET, &asked, empty(), None);
            let mut body = answer.await?.into_body();
            while let Some(frame) = body.frame().await {
                if let Ok(data) = frame?.into_data() {
                    file.write_all(&data).map_err(cannot)?;
                }
            }
            Ok(())
        })?;
        let length = file.as_file().metadata().map_err(cannot)?.len();
        file.persist(&self.file)
            .map_err(|error| cannot(error.error))?;
        output::line(&format!(
            "{} is in {path} ({}); `hob image load {path}` takes it in elsewhere",
            self.images.join(", "),
            output::bytes(length)
        ))
    }
}

use std::path::PathBuf;

use clap::Args;
use http::Method;

use super::Context;
use crate::{
    cli::session::Session,
    client::quoted,
    config::ClientArgs,
    exit::Failure,
    output::{self, Format, OutputArgs},
};

/// Take in images from a file of `hob image save`, skopeo, podman or `docker save`
#[derive(Debug, Args)]
pub(in crate::cli) struct Load {
    /// The file
    #[arg(value_name = "FILE.tar")]
    file: PathBuf,
    /// Name of the image [default: as in the file]
    #[arg(long, value_name = "REF")]
    image: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    client: ClientArgs,
}

impl Load {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let session = Session::open(self.client, context)?;
        let path = self.file.display();
        let cannot = |error: std::io::Error| Failure::failed(format!("{path}: {error}"));
        let file = std::fs::File::open(&self.file).map_err(cannot)?;
        let length = file.metadata().map_err(cannot)?.len();
        let mut asked = "/hob/v1/images/archive".to_owned();
        if let Some(image) = &self.image {
            asked = format!("{asked}?image={}", quoted(image));
        }
        let images: Vec<String> = context.wait(async {
            let client = &session.client;
            let body = crate::client::file(file);
            let answer = client
                .stream(Method::POST, &asked, body, Some(length))
                .await?;
            Ok(client.json(answer).await?)
        })?;
        if self.output.output == Format::Json {
            return output::json(&images);
        }
        let mut images = images.iter();
        images.try_for_each(|image| output::line(&format!("loaded image {image}")))
    }
}

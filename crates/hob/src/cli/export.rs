use std::{
    io::{Seek, Write},
    path::PathBuf,
};

use clap::Args;
use hob_image::ImageRef;
use http::Method;
use http_body_util::BodyExt;

use super::{
    Context,
    build::{self, OrderArgs},
    progress::Progress,
    session::{Session, function_path},
};
use crate::{client::empty, config::ClientArgs, output, unpack};

/// Write a function to a folder that runs without hob, or make an image of it
///
/// The image is kept in the server's store, from where `hob image save` and `--push` take it.
#[derive(Debug, Args)]
pub(super) struct Export {
    /// The function
    name: String,
    /// An empty or a new folder
    #[arg(required_unless_present = "image", conflicts_with = "image")]
    folder: Option<PathBuf>,
    /// Name of the image, as in registry.example.net/hello:1.0
    #[arg(long, value_name = "REF")]
    image: Option<ImageRef>,
    #[command(flatten)]
    order: OrderArgs,
    #[command(flatten)]
    client: ClientArgs,
}

impl Export {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let session = Session::open(self.client, context)?;
        let name = session.function(&self.name)?;
        if let Some(image) = &self.image {
            let query = self.order.query(image);
            let path = function_path(&name, &format!("/export?{query}"));
            let progress = Progress::new(context.terminal);
            let made = context.wait(async {
                let client = &session.client;
                let answer = client.stream(Method::POST, &path, empty(), None).await;
                let answer = match answer {
                    Ok(answer) => answer,
                    Err(error) => return Err(session.explain(&name, error).await),
                };
                let made = build::follow(client.lines(answer), &progress).await;
                progress.finish();
                made
            })?;
            return build::show(&made, context.terminal.colour);
        }
        // The parser has seen that there is one of the two.
        let folder = self.folder.unwrap_or_default();
        unpack::check_target(&folder)?;
        let mut archive = tempfile::tempfile()?;
        context.wait(async {
            let client = &session.client;
            let path = function_path(&name, "/export");
            let answer = client.stream(Method::GET, &path, empty(), None).await;
            let mut body = match answer {
                Ok(answer) => answer.into_body(),
                Err(error) => return Err(session.explain(&name, error).await),
            };
            while let Some(frame) = body.frame().await {
                if let Ok(data) = frame?.into_data() {
                    archive.write_all(&data)?;
                }
            }
            Ok(())
        })?;
        archive.rewind()?;
        let files = unpack::unpack(archive, &folder)?;
        output::line(&format!(
            "{name} is in {} ({}); its README.md says how to run it",
            folder.display(),
            output::count(files, "file")
        ))
    }
}

use std::{
    io::{Seek, Write},
    path::PathBuf,
};

use clap::Args;
use http::Method;
use http_body_util::BodyExt;

use super::{
    Context,
    session::{Session, function_path},
};
use crate::{client::empty, config::ClientArgs, output, unpack};

/// Write a function to a folder that runs without hob
#[derive(Debug, Args)]
pub(super) struct Export {
    /// The function
    name: String,
    /// An empty or a new folder
    folder: PathBuf,
    #[command(flatten)]
    client: ClientArgs,
}

impl Export {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let session = Session::open(self.client, context)?;
        let name = session.function(&self.name)?;
        unpack::check_target(&self.folder)?;
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
        let files = unpack::unpack(archive, &self.folder)?;
        output::line(&format!(
            "{name} is in {} ({}); its README.md says how to run it",
            self.folder.display(),
            output::count(files, "file")
        ))
    }
}

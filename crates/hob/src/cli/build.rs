use std::path::{Path, PathBuf};

use clap::Args;
use hob_image::{ImageRef, Platform};
use hob_model::{
    FunctionName,
    wire::{BuiltImage, ImageEvent},
};
use http::Method;

use super::{
    Context,
    deploy::{name_of, upload},
    progress::Progress,
    session::Session,
};
use crate::{
    client::{Client, Lines, quoted},
    config::ClientArgs,
    exit::Failure,
    output::{self, Format, OutputArgs, Table},
    pack,
};

/// Build a folder into a container image, for this or other machines
///
/// The server builds it: the folder is sent as by `hob deploy`, and the image is kept in the
/// server's own store under its name. Go and Rust stand on nothing; Python, Node, Java and shell on
/// a base from the store or its registry. A folder with a Dockerfile is built by buildah or docker.
/// The same folder gives the same digest, and a changed handler changes only the last layer.
#[derive(Debug, Args)]
pub(super) struct Build {
    /// Folder of the function
    #[arg(default_value = ".", value_name = "DIR")]
    folder: PathBuf,
    /// Name of the image, as in registry.example.net/hello:1.0
    #[arg(short, long, value_name = "REF")]
    image: ImageRef,
    #[command(flatten)]
    order: OrderArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    client: ClientArgs,
}

/// What can be asked of an image that is made.
#[derive(Debug, Default, Args)]
pub(super) struct OrderArgs {
    /// For which machines, separated by commas, as in linux/amd64,linux/arm64 [default: the server's]
    #[arg(long, value_name = "LIST", value_delimiter = ',', requires = "image")]
    platform: Vec<Platform>,
    /// What it stands on, in place of the usual; `scratch` is nothing
    #[arg(long, value_name = "REF", requires = "image")]
    base: Option<ImageRef>,
    /// Send it to the registry in its name as well
    #[arg(long, requires = "image")]
    push: bool,
}

impl Build {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let session = Session::open(self.client.clone(), context)?;
        let name = session.function(name_of(&self.folder)?.as_str())?;
        let query = self.order.query(&self.image);
        let progress = Progress::new(context.terminal);
        let image = context.wait(async {
            let done = build(&session.client, &name, &self.folder, &query, &progress).await;
            progress.finish();
            done
        })?;
        match self.output.output {
            Format::Json => output::json(&image),
            Format::Text => show(&image, context.terminal.colour),
        }
    }
}

impl OrderArgs {
    /// The query of the API.
    pub(super) fn query(&self, image: &ImageRef) -> String {
        let mut path = format!("image={}", quoted(&image.to_string()));
        if !self.platform.is_empty() {
            let names: Vec<_> = self.platform.iter().map(Platform::to_string).collect();
            path.push_str(&format!("&platform={}", names.join(",")));
        }
        if let Some(base) = &self.base {
            path.push_str(&format!("&base={}", quoted(&base.to_string())));
        }
        if self.push {
            path.push_str("&push=true");
        }
        path
    }
}

/// Has the server make an image of a folder, as `query` says.
pub(super) async fn build(
    client: &Client,
    name: &FunctionName,
    folder: &Path,
    query: &str,
    progress: &Progress,
) -> anyhow::Result<BuiltImage> {
    let archive = pack::pack(folder)?;
    let (length, files) = (archive.length, output::count(archive.files, "file"));
    progress.step(format!("sending {files}, {}", output::bytes(length)));
    let body = upload(archive, progress);
    let path = format!("/hob/v1/images/build?name={name}&{query}");
    let answer = client.stream(Method::POST, &path, body, Some(length));
    follow(client.lines(answer.await?), progress).await
}

/// Follows the making of an image to its end.
pub(super) async fn follow(mut lines: Lines, progress: &Progress) -> anyhow::Result<BuiltImage> {
    while let Some(json) = lines.next().await? {
        match serde_json::from_slice(&json).map_err(|error| lines.broken(error))? {
            ImageEvent::Step { text } => progress.step(text),
            ImageEvent::Output { text } => progress.output(&text),
            ImageEvent::Failed { message, .. } => return Err(Failure::failed(message).into()),
            ImageEvent::Done { image, .. } => return Ok(image),
        }
    }
    Err(lines.broken("the build came to no end").into())
}

/// Tells what was made.
pub(super) fn show(image: &BuiltImage, colour: bool) -> anyhow::Result<()> {
    let done = match (image.pushed, image.sent) {
        (false, _) => "is built".to_owned(),
        (true, 0) => "is built and pushed; the registry had all of it".to_owned(),
        (true, sent) => format!("is built and pushed, {} sent", output::bytes(sent)),
    };
    output::line(&format!("{} {done}\n{}", image.image, image.digest))?;
    let mut table = Table::with_head(["PLATFORM", "SIZE", "DIGEST"]);
    for one in &image.platforms {
        let digest = one.digest.trim_start_matches("sha256:");
        table.row([
            one.platform.as_str().into(),
            output::bytes(one.size).into(),
            output::short_digest(digest).into(),
        ]);
    }
    table.print(colour)
}

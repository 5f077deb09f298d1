use std::path::{Path, PathBuf};

use clap::Args;
use futures_util::{StreamExt, TryStreamExt, stream};
use hob_model::{
    Domain, FunctionName, Label, Manifest, Share,
    openfaas::{DEPLOYMENT_HEADER, FunctionDeployment},
    wire::{CanarySummary, DeployEvent, FunctionSummary, ImageDeploy},
};
use http::{HeaderMap, Method};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde::Serialize;
use tokio_util::io::ReaderStream;

use super::{
    Context,
    progress::Progress,
    session::{Session, function_path},
};
use crate::{
    client::{Body, Client, Lines},
    config::ClientArgs,
    exit::Failure,
    output::{self, Format, OutputArgs},
    pack::{self, Archive},
};

mod image;
mod settings;
mod stack;

use settings::SettingArgs;

const MANIFEST: &str = "hob.toml";
/// Bytes of an upload that are read from disk at once.
const UPLOAD_CHUNK: usize = 256 << 10;

/// Build a folder on the server, or take an image, and bring it up under its name
///
/// Everything in the folder is sent, except what its .gitignore and .hobignore name, .git,
/// virtual environments, and node_modules and target, which the build makes anew. The revision
/// that ran before answers until the new one is ready, and stays when it fails.
///
/// With --image nothing is sent or built: the server pulls the image, which has to serve HTTP on
/// port 8080. A folder beside it is read for its hob.toml only.
///
/// With -f, or in a folder that has a stack.yml and no function of its own, every function of the
/// stack.yml is deployed as `faas-cli deploy` does it; those whose folder is here are built by hob.
#[derive(Debug, Args)]
pub(super) struct Deploy {
    /// Folder of the function
    #[arg(value_name = "DIR", conflicts_with_all = ["yaml", "filter", "regex", "skip_build"])]
    folder: Option<PathBuf>,
    /// Name of the function [default: `name` in hob.toml, else that of the folder or image]
    #[arg(long, conflicts_with_all = ["yaml", "filter", "regex", "skip_build"])]
    name: Option<String>,
    /// Give the new revision this share of the calls only, as in 10% or 0.5%; what ran before
    /// answers the others until `hob promote` or `hob rollback`
    #[arg(
        long,
        value_name = "SHARE",
        conflicts_with_all = ["yaml", "filter", "regex", "skip_build"]
    )]
    canary: Option<Share>,
    #[command(flatten)]
    image: image::ImageArgs,
    #[command(flatten)]
    settings: SettingArgs,
    #[command(flatten)]
    stack: stack::StackDeployArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    client: ClientArgs,
}

/// A deploy that the server acknowledged.
pub(super) struct Deployed {
    /// As the function is now.
    pub(super) function: FunctionSummary,
    /// False when the folder was unchanged.
    pub(super) changed: bool,
    /// From the end of the upload to the first revision that can answer, in milliseconds.
    pub(super) millis: u64,
}

/// What becomes the function.
enum What {
    Folder(PathBuf),
    Image(Box<ImageDeploy>),
}

impl Deploy {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let session = Session::open(self.client, context)?;
        let alone = self.folder.is_none() && self.name.is_none() && !self.image.is_given();
        let alone = alone && self.canary.is_none();
        if alone && self.stack.is_meant() {
            return self
                .stack
                .run(&session, &self.settings, self.output.output, context);
        }
        let what = match self.image.asked(self.folder.as_deref(), &self.settings)? {
            Some(asked) => What::Image(asked),
            None => What::Folder(self.folder.unwrap_or_else(|| ".".into())),
        };
        let name = match (&self.name, &what) {
            (Some(name), _) => session.function(name)?,
            (None, What::Folder(folder)) => session.function(name_of(folder)?.as_str())?,
            (None, What::Image(asked)) => session.function(&image::name_of(asked)?)?,
        };
        let progress = Progress::new(context.terminal);
        context.wait(async {
            let sent = match &what {
                What::Folder(folder) => {
                    let path = path(&name, "", self.canary);
                    send(&session.client, &path, None, pack::pack(folder)?, &progress).await
                }
                What::Image(asked) => {
                    let path = path(&name, "/image", self.canary);
                    image::send(&session.client, &path, asked, &progress).await
                }
            };
            progress.finish();
            let done = sent?;
            let gateway = session.gateway().await?;
            let url = format!("{gateway}{}", done.function.path);
            match self.output.output {
                Format::Text => output::line(&match &done.function.canary {
                    Some(canary) if self.canary.is_some() => canary_line(&done, canary, &url),
                    _ => summary(&done, &url),
                }),
                Format::Json => output::json(&[Report::of(&done, url)]),
            }
        })
    }
}

/// A deploy, as programs read it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    name: FunctionName,
    #[serde(flatten)]
    done: Option<Done>,
    /// Why it came to nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// A deploy that worked.
#[derive(Debug, Serialize)]
struct Done {
    url: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    domains: Vec<Domain>,
    revision: String,
    revision_number: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    canary: Option<CanarySummary>,
    changed: bool,
    millis: u64,
}

impl Report {
    pub(super) fn of(done: &Deployed, url: String) -> Self {
        Self {
            name: done.function.name.clone(),
            done: Some(Done {
                url,
                domains: done.function.domains.clone(),
                revision: done.function.revision.clone(),
                revision_number: done.function.revision_number,
                canary: done.function.canary.clone(),
                changed: done.changed,
                millis: done.millis,
            }),
            error: None,
        }
    }
}

/// The line that ends a deploy.
pub(super) fn summary(done: &Deployed, url: &str) -> String {
    let name = &done.function.name;
    let revision = revision(&done.function);
    let url = places(&done.function, url);
    if done.changed {
        let millis = done.millis;
        format!("{name} is live at {url} ({revision}, {millis} ms)")
    } else {
        format!("{name} is unchanged and live at {url} ({revision})")
    }
}

/// Where a function answers: `URL`, and behind it its domains.
pub(super) fn places(function: &FunctionSummary, url: &str) -> String {
    let domains = function.domains.iter();
    domains.fold(url.to_owned(), |all, domain| format!("{all}, {domain}"))
}

/// The line that ends the deploy of a canary.
fn canary_line(done: &Deployed, canary: &CanarySummary, url: &str) -> String {
    let (name, share, millis) = (&done.function.name, canary.share, done.millis);
    let (number, digest) = (
        canary.revision_number,
        output::short_digest(&canary.revision),
    );
    let which = format!("revision {number}, {digest}");
    if done.changed {
        format!("a canary answers {share} of the calls of {name} at {url} ({which}, {millis} ms)")
    } else {
        format!("the canary of {name} is unchanged, with {share} of the calls at {url} ({which})")
    }
}

/// Where a function is deployed, all at once or as a canary.
fn path(name: &FunctionName, rest: &str, canary: Option<Share>) -> String {
    // The percent sign is one of the query's own.
    let query = canary.map(|share| format!("?canary={share}25"));
    format!("{}{}", function_path(name, rest), query.unwrap_or_default())
}

/// Which revision answers, as the line that ends a deploy says it.
pub(super) fn revision(function: &FunctionSummary) -> String {
    let digest = output::short_digest(&function.revision);
    format!("revision {}, {digest}", function.revision_number)
}

/// What the function in `folder` is called: its manifest says so, or the folder does.
pub(super) fn name_of(folder: &Path) -> anyhow::Result<Label> {
    if folder.is_file() {
        let message = format!("{} is a file: name the function's folder", folder.display());
        return Err(Failure::failed(message).into());
    }
    // A mistake in it is told before anything is sent.
    if let Some(name) = manifest_of(folder)?.name {
        return Ok(name);
    }
    let full = folder.canonicalize().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Failure::failed(format!(
            "{} does not exist: make one with `hob new python NAME`",
            folder.display()
        )),
        _ => Failure::failed(format!("{}: {error}", folder.display())),
    })?;
    let name = full.file_name().unwrap_or_default().to_string_lossy();
    name.parse().map_err(|_| {
        Failure::usage(format!(
            "the folder's name `{name}` is no name for a function: name one with --name, of lower-case letters, digits and `-`"
        ))
        .into()
    })
}

/// The manifest in `folder`; the default one where there is none.
fn manifest_of(folder: &Path) -> anyhow::Result<Manifest> {
    let path = folder.join(MANIFEST);
    if !path.is_file() {
        return Ok(Manifest::default());
    }
    let text = std::fs::read_to_string(&path)
        .map_err(|error| Failure::failed(format!("{}: {error}", path.display())))?;
    Ok(Manifest::parse(&text).map_err(|error| one_line(&error.to_string()))?)
}

/// The first lines of a TOML error are a picture; the last one says what is wrong.
fn one_line(text: &str) -> Failure {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let message = match lines.as_slice() {
        [only] => (*only).to_owned(),
        [first, .., last] => format!("{}: {last}", first.trim_end_matches(':')),
        [] => String::new(),
    };
    Failure::failed(message)
}

/// Sends a packed folder, perhaps with what is laid over its hob.toml, and follows its build to
/// the end.
pub(super) async fn send(
    client: &Client,
    path: &str,
    over: Option<&FunctionDeployment>,
    archive: Archive,
    progress: &Progress,
) -> anyhow::Result<Deployed> {
    let mut headers = HeaderMap::new();
    let mut before = Vec::new();
    if let Some(over) = over {
        before = serde_json::to_vec(over)?;
        headers.insert(DEPLOYMENT_HEADER, before.len().into());
    }
    let length = archive.length + before.len() as u64;
    let files = output::count(archive.files, "file");
    progress.step(format!("sending {files}, {}", output::bytes(length)));
    let body = upload_after(before, archive, progress);
    let answer = client.stream_with(headers, Method::PUT, path, body, Some(length));
    follow(client.lines(answer.await?), progress).await
}

pub(super) fn upload(archive: Archive, progress: &Progress) -> Body {
    upload_after(Vec::new(), archive, progress)
}

/// These bytes, and then the archive.
fn upload_after(before: Vec<u8>, archive: Archive, progress: &Progress) -> Body {
    let before = stream::iter([Ok(Frame::data(before.into()))]);
    let bar = progress.upload(archive.length);
    let file = tokio::fs::File::from_std(archive.file);
    let chunks = ReaderStream::with_capacity(file, UPLOAD_CHUNK).map_ok(move |chunk| {
        bar.inc(chunk.len() as u64);
        if bar.length() == Some(bar.position()) {
            bar.finish_and_clear();
        }
        Frame::data(chunk)
    });
    StreamBody::new(before.chain(chunks)).boxed_unsync()
}

/// Shows the events of a deploy as they come.
pub(super) async fn follow(mut lines: Lines, progress: &Progress) -> anyhow::Result<Deployed> {
    while let Some(json) = lines.next().await? {
        match serde_json::from_slice(&json).map_err(|error| lines.broken(error))? {
            DeployEvent::Step { text, .. } => progress.step(text),
            DeployEvent::Output { text } => progress.output(&text),
            DeployEvent::Failed { message, .. } => return Err(Failure::failed(message).into()),
            DeployEvent::Done {
                function,
                changed,
                millis,
            } => {
                return Ok(Deployed {
                    function: *function,
                    changed,
                    millis,
                });
            }
        }
    }
    Err(lines
        .broken("the deploy came to no end; `hob list` shows what runs")
        .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str, manifest: Option<&str>) -> (tempfile::TempDir, PathBuf) {
        let above = tempfile::tempdir().expect("temp dir");
        let folder = above.path().join(name);
        std::fs::create_dir(&folder).expect("folder");
        if let Some(text) = manifest {
            std::fs::write(folder.join(MANIFEST), text).expect("manifest");
        }
        (above, folder)
    }

    #[test]
    fn the_manifest_names_the_function_and_else_the_folder() {
        let (_above, path) = folder("hello", None);
        assert_eq!(name_of(&path).expect("valid").as_str(), "hello");
        let (_above, path) = folder("hello", Some("name = \"other\""));
        assert_eq!(name_of(&path).expect("valid").as_str(), "other");
    }

    #[test]
    fn a_folder_whose_name_does_not_fit_needs_a_flag() {
        let (_above, path) = folder("My Function", None);
        let message = name_of(&path).expect_err("bad").to_string();
        assert!(message.contains("`My Function`") && message.contains("--name"));
    }

    #[test]
    fn a_mistake_in_the_manifest_is_one_line() {
        let (_above, path) = folder("hello", Some("timeot = 3\n"));
        let message = name_of(&path).expect_err("bad").to_string();
        assert!(!message.contains('\n'), "{message}");
        assert!(
            message.contains("hob.toml") && message.contains("`timeot`"),
            "{message}"
        );
    }
}

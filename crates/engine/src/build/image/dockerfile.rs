//! A folder with a Dockerfile: another tool of the machine builds it, and its image is taken over.

mod images;

use std::{
    collections::BTreeSet,
    fs::{self, File},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use hob_image::{
    Assembled, DockerfileOrder, FILE_TIME, ImageRef, ImageStore, OCI_MANIFEST, Platform,
};
use hob_model::port::{BuildError, BuildLine, BuildLog};
use tokio::{process::Command, time::timeout};

use super::base::{Bases, refusal};
use crate::build::{
    bench::listen, builder::BuilderConfig, secret_files::SecretFiles, workplace::Workplace,
};

/// What makes a folder such a one.
pub(super) const FILE: &str = "Dockerfile";
/// The `language` that asks for it where hob would know another.
pub(super) const LANGUAGE: &str = "dockerfile";
/// A link in the workplace to the machine's images.
const STORE: &str = "images";
/// Bytes of a Dockerfile that are looked at.
const MAX_FILE: u64 = 1 << 20;
/// Variables of the server that the tools may see.
const PASSED_ON: [&str; 13] = [
    "BUILDAH_ISOLATION",
    "DOCKER_CONFIG",
    "DOCKER_CONTEXT",
    "DOCKER_HOST",
    "HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "XDG_RUNTIME_DIR",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "REGISTRY_AUTH_FILE",
];

/// The folder, and what builds it.
pub(super) struct Dockerfile<'a> {
    place: &'a Workplace,
    tool: Tool,
    log: &'a BuildLog,
    order: &'a DockerfileOrder,
    secrets: SecretFiles,
    env: Vec<(String, String)>,
    time: Duration,
}

/// A program that builds Dockerfiles.
enum Tool {
    Buildah(PathBuf),
    Docker(PathBuf),
}

// === impl Dockerfile ===

impl<'a> Dockerfile<'a> {
    /// Finds the tool, before anything is done.
    pub(super) fn new(
        place: &'a Workplace,
        config: &BuilderConfig,
        log: &'a BuildLog,
        order: &'a DockerfileOrder,
    ) -> Result<Self, BuildError> {
        let path = config.environment.get("PATH").unwrap_or(&config.path);
        let passed = PASSED_ON.iter().filter_map(|name| {
            let value = config.environment.get(*name)?;
            Some(((*name).to_owned(), value.clone()))
        });
        let mut env: Vec<_> = passed.collect();
        env.push(("PATH".to_owned(), path.clone()));
        env.push(("SOURCE_DATE_EPOCH".to_owned(), FILE_TIME.to_string()));
        let scratch = place.scratch().to_string_lossy().into_owned();
        env.push(("TMPDIR".to_owned(), scratch));
        let find = |name: &str| {
            let places = path.split(':').map(|folder| Path::new(folder).join(name));
            places.into_iter().find(|program| program.is_file())
        };
        let tool = find("buildah").map(Tool::Buildah);
        let tool = tool.or_else(|| find("docker").map(Tool::Docker));
        let tool = tool.ok_or_else(|| {
            BuildError::Missing(
                "a Dockerfile needs buildah or docker, which this machine does not have: apt-get install buildah".into(),
            )
        })?;
        Ok(Self {
            place,
            tool,
            log,
            order,
            secrets: SecretFiles::write(&config.data, &order.secrets)?,
            env,
            time: config.timeout,
        })
    }

    /// Builds for each platform. The caller holds the store.
    pub(super) async fn build(
        &self,
        bases: &Bases<'_>,
        platforms: &[Platform],
    ) -> Result<Vec<Assembled>, BuildError> {
        let names = self.images()?;
        let mut found = Vec::new();
        if let Tool::Buildah(_) = &self.tool {
            for name in &names {
                let image = name
                    .parse::<ImageRef>()
                    .map_err(|error| BuildError::Refused(format!("{FILE}: {error}")))?;
                let images = bases.find(&image, platforms).await?;
                found.push((image, images));
            }
        }
        let mut made = Vec::new();
        for (number, platform) in platforms.iter().enumerate() {
            (self.log)(BuildLine::Step(format!("{platform}: building {FILE}")));
            let layout = self.place.file(&format!("image-{number}"));
            let image = match &self.tool {
                Tool::Buildah(tool) => {
                    let names = found.iter().map(|(name, _)| name);
                    self.buildah(tool, bases.store, names, platform, &layout)
                        .await?;
                    let known = found.iter().map(|(_, images)| images[number].clone());
                    let known: Vec<_> = known.collect();
                    bases.store.adopt(&layout, platform, &known)
                }
                Tool::Docker(tool) => {
                    let archive = self.docker(tool, platform).await?;
                    bases.store.adopt_archive(&archive, platform)
                }
            };
            let image = image.map_err(|error| refusal("what was built", error))?;
            let length = bases.store.blob_length(&image.digest).unwrap_or(0);
            made.push(Assembled {
                media_type: OCI_MANIFEST,
                length,
                size: image.size() + length,
                digest: image.digest,
            });
        }
        Ok(made)
    }

    /// Values and secrets, as both tools take them.
    fn options(&self) -> Vec<String> {
        let args = self.order.args.iter();
        let args = args.flat_map(|(name, value)| ["--build-arg".into(), format!("{name}={value}")]);
        args.chain(self.secrets.options()).collect()
    }

    /// Images that the Dockerfile needs, as they are written there.
    fn images(&self) -> Result<BTreeSet<String>, BuildError> {
        let path = self.place.function().join(FILE);
        if fs::metadata(&path).is_ok_and(|data| data.len() > MAX_FILE) {
            return Err(BuildError::Refused(format!("{FILE} is too long")));
        }
        let text = fs::read_to_string(&path)
            .map_err(|error| BuildError::Refused(format!("{FILE} cannot be read: {error}")))?;
        Ok(images::of(&text, &self.order.args))
    }

    /// Bases come out of the store, so that they are fetched once and with hob's own logins.
    async fn buildah(
        &self,
        tool: &Path,
        store: &ImageStore,
        names: impl Iterator<Item = &ImageRef>,
        platform: &Platform,
        layout: &Path,
    ) -> Result<(), BuildError> {
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let storage = text(self.place.file("storage"));
        let state = text(self.place.file("state"));
        let global = [
            "--root",
            &storage,
            "--runroot",
            &state,
            "--storage-driver",
            "vfs",
        ];
        let platform = platform.to_string();
        let id_file = text(self.place.file("id"));
        // buildah makes a name of the path, and refuses upper-case letters in it.
        let link = self.place.file(STORE);
        if link.symlink_metadata().is_err() {
            symlink(store.layout(), &link)
                .map_err(|error| BuildError::Host(format!("the build cannot go on: {error}")))?;
        }
        for name in names {
            let from = format!("oci:{STORE}:{name}");
            let pull = ["pull", "--quiet", "--platform", &platform, &from];
            let id = self.run(tool, &[&global[..], &pull].concat()).await?;
            let id = id.last().map_or("", |line| line.trim());
            let name = name.to_string();
            self.run(tool, &[&global[..], &["tag", id, &name]].concat())
                .await?;
        }
        let folder = text(self.place.function());
        let time = FILE_TIME.to_string();
        let build = [
            "build",
            "--pull-never",
            "--platform",
            &platform,
            "--timestamp",
            &time,
            "--format",
            "oci",
            "--iidfile",
            &id_file,
        ];
        let options = self.options();
        let options: Vec<_> = options.iter().map(String::as_str).collect();
        self.run(tool, &[&global[..], &build, &options, &[&folder]].concat())
            .await?;
        let id = self.id(&id_file)?;
        let target = format!("oci:{}:image", layout.display());
        let push = ["push", "--format", "oci", &id, &target];
        self.run(tool, &[&global[..], &push].concat()).await?;
        Ok(())
    }

    /// Returns the archive with the image.
    async fn docker(&self, tool: &Path, platform: &Platform) -> Result<PathBuf, BuildError> {
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let (platform, folder) = (platform.to_string(), text(self.place.function()));
        let (id_file, archive) = (text(self.place.file("id")), self.place.file("image.tar"));
        let build = ["build", "--platform", &platform, "--iidfile", &id_file];
        let options = self.options();
        let options: Vec<_> = options.iter().map(String::as_str).collect();
        self.run(tool, &[&build[..], &options, &[&folder]].concat())
            .await?;
        let id = self.id(&id_file)?;
        let file = text(archive.clone());
        let saved = self.run(tool, &["save", "--output", &file, &id]).await;
        let _ = self.run(tool, &["rmi", "--no-prune", &id]).await;
        saved.map(|_| archive)
    }

    fn id(&self, file: &str) -> Result<String, BuildError> {
        let read = fs::read_to_string(file);
        let text =
            read.map_err(|error| BuildError::Host(format!("the build left no id: {error}")))?;
        let _ = fs::remove_file(file);
        Ok(text.trim().trim_start_matches("sha256:").to_owned())
    }

    /// Runs the tool to its end and passes on what it says; returns its last lines.
    async fn run(&self, tool: &Path, args: &[&str]) -> Result<Vec<String>, BuildError> {
        let name = tool.file_name().unwrap_or_default().to_string_lossy();
        let verb = args
            .iter()
            .find(|arg| ["build", "pull", "push", "save", "tag", "rmi"].contains(arg));
        let doing = format!("{name} {}", verb.unwrap_or(&""));
        let host = |error: &dyn std::fmt::Display| BuildError::Host(format!("{doing}: {error}"));
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|error| host(&error))?;
        let twin = writer.try_clone().map_err(|error| host(&error))?;
        let mut command = Command::new(tool);
        command
            .args(args)
            .current_dir(self.place.file("."))
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(twin)
            .stderr(writer)
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| host(&error))?;
        drop(command); // it holds the other end of the pipe
        let log = BuildLog::clone(self.log);
        let listener = tokio::task::spawn_blocking(move || listen(File::from(reader), &log));
        let ended = timeout(self.time, child.wait()).await;
        if ended.is_err() {
            end_all(&child);
        }
        let last_words = listener.await.unwrap_or_default();
        match ended {
            Ok(Ok(status)) if status.success() => Ok(last_words),
            Ok(Ok(status)) => {
                let last = last_words.iter().rev().find(|line| !line.trim().is_empty());
                let last = last.map_or("", |line| line.trim());
                Err(BuildError::Failed(format!(
                    "{doing} failed, {status}: {last}"
                )))
            }
            Ok(Err(error)) => Err(host(&error)),
            Err(_) => Err(BuildError::Failed(format!(
                "{doing}: took too long and was stopped"
            ))),
        }
    }
}

/// Ends the tool and all that it started.
fn end_all(child: &tokio::process::Child) {
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(group) = id.and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}

//! The port through which the control plane asks for an image of a function.

use std::collections::BTreeMap;

use async_trait::async_trait;
use hob_model::{
    Function,
    port::{BuildError, BuildLog, SecretBytes, Source},
};

use crate::{Digest, ImageRef, Platform};

/// Turns a folder into an image in the machine's own store.
#[async_trait]
pub trait ImageBuilder: Send + Sync {
    /// Builds for every platform, and lets the name point to the result only when all of them
    /// are there. Equal input gives an equal digest.
    async fn build_image(
        &self,
        source: Source,
        order: ImageOrder,
        log: BuildLog,
    ) -> Result<MadeImage, BuildError>;

    /// The same of a function that is deployed: as it was built, or the image that it is.
    async fn export_image(
        &self,
        function: &Function,
        order: ImageOrder,
        log: BuildLog,
    ) -> Result<MadeImage, BuildError>;
}

/// What image is wanted.
#[derive(Debug)]
pub struct ImageOrder {
    /// Its name.
    pub image: ImageRef,
    /// For which machines, each once; none means this one's.
    pub platforms: Vec<Platform>,
    /// What it stands on, in place of what hob.toml or the template says.
    pub base: Option<ImageRef>,
    /// Whether it is sent to the registry in its name as well.
    pub push: bool,
    /// Whether it may be of a Dockerfile.
    pub dockerfile: Dockerfiles,
}

/// What becomes of a folder's Dockerfile, whose steps run with the rights of the server.
#[derive(Debug)]
pub enum Dockerfiles {
    /// It is what is asked for, whatever else is in the folder.
    Asked(DockerfileOrder),
    /// The folder decides.
    Allowed,
    /// A folder that would be built by one is refused.
    Refused,
}

/// What a Dockerfile is built with.
#[derive(Debug, Default)]
pub struct DockerfileOrder {
    /// Values of its `ARG`s.
    pub args: BTreeMap<String, String>,
    /// What its `RUN --mount=type=secret,id=…` steps may read, by id. Ids are plain words of letters,
    /// digits, `-`, `_` and `.`.
    pub secrets: BTreeMap<String, SecretBytes>,
}

/// An image that was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeImage {
    /// Of the manifest, or of the index over several.
    pub digest: Digest,
    /// What a registry keeps for all platforms together, in bytes.
    pub size: u64,
    /// One for each platform, in the order in which they were asked for.
    pub platforms: Vec<MadePlatform>,
    /// Bytes of layers and configurations that were sent; `None` when it was not pushed.
    pub sent: Option<u64>,
}

/// One platform's image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadePlatform {
    /// Which.
    pub platform: Platform,
    /// Of its manifest.
    pub digest: Digest,
    /// What a registry sends for it, in bytes.
    pub size: u64,
}

use std::{io, path::PathBuf};

use hob_model::{IoWords, is_disk_full};
use thiserror::Error;

use crate::{
    ArchiveError, Digest, ImageRef, ManifestError, ReferenceError, RunError, UnpackError,
    registry::RegistryError,
};

/// Why an image cannot be had, kept or used. One line each, with the cure where there is one.
#[derive(Debug, Error)]
pub enum ImageError {
    /// A file or folder of the machine's own copy.
    #[error("{what} {}: {}", path.display(), IoWords(source))]
    Io {
        /// "cannot write".
        what: &'static str,
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The name is none.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// There is none of that name on this machine.
    #[error("image `{0}` is not on this machine: `hob image list` shows those that are")]
    NotHere(ImageRef),
    /// A blob is not what its name says.
    #[error(
        "blob {wanted} has the digest {found}: it is damaged, or somebody changed it on its way"
    )]
    Damaged {
        /// The digest that was asked for.
        wanted: Digest,
        /// That of what is there.
        found: Digest,
    },
    /// A blob of the image is gone.
    #[error("blob {0} is missing: pull or push the image again")]
    NoBlob(Digest),
    /// A manifest or configuration is refused.
    #[error("image `{image}` {problem}")]
    Manifest {
        /// Which image.
        image: String,
        /// What is wrong.
        problem: Box<ManifestError>,
    },
    /// A layer is refused; nothing of it stays.
    #[error("layer {layer}: {problem}")]
    Layer {
        /// Its blob.
        layer: Digest,
        /// The rule that it breaks.
        problem: Box<UnpackError>,
    },
    /// A layer is not what the image's configuration says.
    #[error(
        "layer {layer} unpacks to {found}, and the image's configuration says {wanted}: the image is broken, so build or push it again"
    )]
    Content {
        /// Its blob.
        layer: Digest,
        /// What the configuration says.
        wanted: Digest,
        /// What is in it.
        found: Digest,
    },
    /// There are too many names.
    #[error("there are {0} names of images already, which is the most: `hob image prune --pulled`")]
    TooManyNames(usize),
    /// The configuration asks for what cannot be.
    #[error("image `{image}`: {problem}")]
    Run {
        /// Which image.
        image: String,
        /// What is wrong.
        problem: Box<RunError>,
    },
    /// Something else is at work on the store.
    #[error("images are being fetched, built or loaded: try again when that is done")]
    Busy,
    /// The registry said no, or nothing.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A file of images cannot be read or written.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// There is not enough room on the disk.
    #[error(
        "{what} needs {needed} bytes or more and {free} are free at {}: make room, for example with `hob image prune`",
        path.display()
    )]
    Space {
        /// Which image or layer.
        what: String,
        /// How many bytes it needs, with the reserve that stays free.
        needed: u64,
        /// How many bytes are free.
        free: u64,
        /// Where.
        path: PathBuf,
    },
}

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageFault {
    /// The image, its name, or what somebody sent: another try needs another input.
    Caller,
    /// This machine or the registry: another try may work.
    Host,
}

// === impl ImageError ===

impl ImageError {
    /// For `map_err`: names the file.
    pub(crate) fn io(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }

    /// For `map_err`: names the image.
    pub(crate) fn manifest(image: impl ToString) -> impl FnOnce(ManifestError) -> Self {
        let image = image.to_string();
        move |problem| Self::Manifest {
            image,
            problem: Box::new(problem),
        }
    }

    /// Whether it is for want of room on the disk.
    pub fn is_disk_full(&self) -> bool {
        match self {
            Self::Space { .. } => true,
            Self::Io { source, .. } | Self::Archive(ArchiveError::Write(source)) => {
                is_disk_full(source)
            }
            Self::Layer { problem, .. } => match &**problem {
                UnpackError::Host { source, .. } | UnpackError::Target { source, .. } => {
                    is_disk_full(source)
                }
                _ => false,
            },
            _ => false,
        }
    }

    /// Whose fault it is.
    pub fn fault(&self) -> ImageFault {
        match self {
            Self::Reference(_)
            | Self::NotHere(_)
            | Self::Damaged { .. }
            | Self::NoBlob(_)
            | Self::Manifest { .. }
            | Self::Content { .. }
            | Self::TooManyNames(_)
            | Self::Run { .. } => ImageFault::Caller,
            Self::Layer { problem, .. } => match **problem {
                UnpackError::Host { .. } | UnpackError::Target { .. } => ImageFault::Host,
                _ => ImageFault::Caller,
            },
            Self::Registry(error) => error.fault(),
            Self::Archive(ArchiveError::Write(_))
            | Self::Io { .. }
            | Self::Space { .. }
            | Self::Busy => ImageFault::Host,
            Self::Archive(_) => ImageFault::Caller,
        }
    }
}

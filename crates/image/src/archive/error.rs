use std::io;

use thiserror::Error;

use crate::Digest;

/// Why an archive cannot be read or written. One line each.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// Not a tar, or the end is missing.
    #[error("the archive is no tar, or is damaged: {0}")]
    Broken(io::Error),
    /// An entry that could harm.
    #[error("archive entry `{entry}` {rule}")]
    Entry {
        /// Its path.
        entry: String,
        /// The rule that it breaks.
        rule: String,
    },
    /// A flood.
    #[error("the archive has more than {0} entries")]
    Entries(usize),
    /// A flood of manifests that point to each other.
    #[error("image `{image}` has more than {most} manifests")]
    Manifests {
        /// Its name.
        image: String,
        /// The bound.
        most: usize,
    },
    /// Indexes that point to indexes that point to indexes.
    #[error("image `{image}` has indexes within indexes, more than {most} deep")]
    Depth {
        /// Its name.
        image: String,
        /// The bound.
        most: usize,
    },
    /// A tar of something else.
    #[error(
        "the archive holds no image: `skopeo copy … oci-archive:FILE`, `podman save` and `docker save` write such archives"
    )]
    NoImage,
    /// No name in it, or only a tag.
    #[error("the archive gives its image no whole name{}: say which it shall have", label(.0))]
    NoName(String),
    /// A name for several images.
    #[error(
        "the archive holds several images ({}), which cannot all have one name: load it without a name",
        .0.join(", ")
    )]
    SeveralImages(Vec<String>),
    /// A name for two images.
    #[error("the archive gives two images the name `{0}`")]
    Ambiguous(String),
    /// `manifest.json` names a file that is not there.
    #[error("the archive lacks the file `{0}` that its manifest names")]
    NoFile(String),
    /// A layer of `docker save` that is another one than the configuration says.
    #[error("the archive's layer `{file}` has the digest {found}, not {wanted}: it is damaged")]
    Layer {
        /// Path in the archive.
        file: String,
        /// That of the configuration.
        wanted: Digest,
        /// That of the file.
        found: Digest,
    },
    /// A multi-platform image of which no single platform can be told to be meant.
    #[error(
        "image `{image}` is here for {} of its platforms only, and none of them is this machine's: pull the image for one platform by its digest",
        if .here.is_empty() { "none".to_owned() } else { .here.join(", ") }
    )]
    Partial {
        /// Its name.
        image: String,
        /// Platforms that are complete.
        here: Vec<String>,
    },
    /// The file or pipe that the archive is written to.
    #[error("cannot write the archive: {0}")]
    Write(io::Error),
}

// === impl ArchiveError ===

impl ArchiveError {
    /// For `map_err`.
    pub(super) fn broken(error: io::Error) -> Self {
        Self::Broken(error)
    }

    pub(super) fn entry(entry: &str, rule: impl Into<String>) -> Self {
        Self::Entry {
            entry: entry.to_owned(),
            rule: rule.into(),
        }
    }
}

fn label(label: &str) -> String {
    match label {
        "" => String::new(),
        label => format!(", only `{label}`"),
    }
}

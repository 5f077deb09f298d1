use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, ImageManifest};
use serde::Deserialize;
use thiserror::Error;

use crate::{Digest, Platform};

/// Largest manifest or index, in bytes: what the distribution specification lets a registry
/// refuse beyond.
pub const MANIFEST_MAX: u64 = 4 << 20;
/// Largest image configuration, in bytes.
pub const CONFIG_MAX: u64 = 8 << 20;
/// Most layers of an image: what overlayfs stacks, less one for hob's own.
pub(crate) const LAYERS_MAX: usize = 127;
/// Largest layer as a registry sends it, in bytes.
const LAYER_MAX: u64 = 32 << 30;
/// Most entries of an index that are looked at.
const ENTRIES_MAX: usize = 256;

/// Media type of an OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of Docker's image manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Media type of Docker's manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// What a tag can point to.
#[derive(Debug, Clone, PartialEq)]
pub enum Manifest {
    /// An image for one platform.
    Image(Box<ImageManifest>),
    /// Images for several platforms.
    Index(Box<ImageIndex>),
}

/// The bytes are no manifest that hob can use.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ManifestError {
    /// Not JSON, or not of the shape of a manifest.
    #[error("is no image manifest: {0}")]
    Syntax(String),
    /// A format of the past, or of something else than images.
    #[error("has the media type `{0}`, which is no image that hob knows")]
    MediaType(String),
    /// Version 1 manifests of Docker, given up in 2017.
    #[error("is a manifest of schema version {0}: push the image again with a current tool")]
    Schema(u32),
    /// A bound is passed.
    #[error("has {what}, and {most} is the most")]
    TooMany {
        /// What there is too much of, with the number.
        what: String,
        /// The bound.
        most: u64,
    },
    /// A digest in it is not one.
    #[error("{0}")]
    Digest(String),
    /// The index has no image for the platform.
    #[error("has no image for {wanted}, only for {}", offered.join(", "))]
    Platform {
        /// What was looked for.
        wanted: Platform,
        /// What there is.
        offered: Vec<String>,
    },
    /// Manifest and configuration disagree.
    #[error("has {layers} layers, but its configuration lists {diff_ids}")]
    Layers {
        /// In the manifest.
        layers: usize,
        /// In the configuration.
        diff_ids: usize,
    },
}

/// What all manifests share; tells which kind it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kind {
    schema_version: u32,
    media_type: Option<String>,
    manifests: Option<serde::de::IgnoredAny>,
}

// === impl Manifest ===

impl Manifest {
    /// Reads a manifest or index, OCI's or Docker's.
    ///
    /// # Errors
    /// Says what is wrong with it; the caller names the image.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let length = bytes.len() as u64;
        if length > MANIFEST_MAX {
            return Err(too_many(format!("{length} bytes"), MANIFEST_MAX));
        }
        let syntax = |error: serde_json::Error| ManifestError::Syntax(error.to_string());
        let kind: Kind = serde_json::from_slice(bytes).map_err(syntax)?;
        if kind.schema_version != 2 {
            return Err(ManifestError::Schema(kind.schema_version));
        }
        let is_index = match kind.media_type.as_deref() {
            Some(OCI_INDEX | DOCKER_LIST) => true,
            Some(OCI_MANIFEST | DOCKER_MANIFEST) => false,
            Some(other) => return Err(ManifestError::MediaType(other.to_owned())),
            None => kind.manifests.is_some(),
        };
        if is_index {
            let index: ImageIndex = serde_json::from_slice(bytes).map_err(syntax)?;
            check_index(&index)?;
            return Ok(Self::Index(Box::new(index)));
        }
        let manifest: ImageManifest = serde_json::from_slice(bytes).map_err(syntax)?;
        check_manifest(&manifest)?;
        Ok(Self::Image(Box::new(manifest)))
    }

    /// Its media type, guessed where it does not say.
    pub fn media_type(&self) -> String {
        let (said, usual) = match self {
            Self::Image(manifest) => (manifest.media_type(), OCI_MANIFEST),
            Self::Index(index) => (index.media_type(), OCI_INDEX),
        };
        said.as_ref().map_or(usual.to_owned(), ToString::to_string)
    }

    /// Everything that it points to directly: manifests, or configuration and layers.
    pub fn parts(&self) -> Vec<&Descriptor> {
        match self {
            Self::Image(manifest) => {
                let layers = manifest.layers().iter();
                std::iter::once(manifest.config()).chain(layers).collect()
            }
            Self::Index(index) => index.manifests().iter().collect(),
        }
    }
}

/// The entry of an index for `platform`: an exact match first, then one that runs there.
///
/// # Errors
/// [`ManifestError::Platform`] lists what there is.
pub fn choose<'a>(
    index: &'a ImageIndex,
    platform: &Platform,
) -> Result<&'a Descriptor, ManifestError> {
    let offers = || {
        let entries = index.manifests().iter();
        entries.filter_map(|entry| Some((Platform::from(entry.platform().as_ref()?), entry)))
    };
    let exact = offers().find(|(offer, _)| offer == platform);
    let fitting = || offers().find(|(offer, _)| platform.runs(offer));
    match exact.or_else(fitting) {
        Some((_, entry)) => Ok(entry),
        None => Err(ManifestError::Platform {
            wanted: platform.clone(),
            // Attestations are listed as `unknown/unknown`.
            offered: offers()
                .map(|(offer, _)| offer.to_string())
                .filter(|offer| !offer.starts_with("unknown"))
                .collect(),
        }),
    }
}

/// Reads an image's configuration and checks that it fits the manifest.
///
/// # Errors
/// Says what is wrong with it; the caller names the image.
pub fn parse_config(
    bytes: &[u8],
    manifest: &ImageManifest,
) -> Result<ImageConfiguration, ManifestError> {
    let config: ImageConfiguration =
        serde_json::from_slice(bytes).map_err(|error| ManifestError::Syntax(error.to_string()))?;
    let diff_ids = config.rootfs().diff_ids();
    if diff_ids.len() != manifest.layers().len() {
        return Err(ManifestError::Layers {
            layers: manifest.layers().len(),
            diff_ids: diff_ids.len(),
        });
    }
    for diff_id in diff_ids {
        diff_id
            .parse::<Digest>()
            .map_err(|error| ManifestError::Digest(error.to_string()))?;
    }
    Ok(config)
}

/// The digest of a descriptor that [`Manifest::parse`] has let through.
pub fn digest_of(descriptor: &Descriptor) -> Result<Digest, ManifestError> {
    let digest = descriptor.digest().to_string().parse::<Digest>();
    digest.map_err(|error| ManifestError::Digest(error.to_string()))
}

fn check_index(index: &ImageIndex) -> Result<(), ManifestError> {
    let entries = index.manifests().len();
    if entries > ENTRIES_MAX {
        return Err(too_many(format!("{entries} entries"), ENTRIES_MAX as u64));
    }
    for entry in index.manifests() {
        digest_of(entry)?;
        bounded(entry, "a manifest", MANIFEST_MAX)?;
    }
    Ok(())
}

fn check_manifest(manifest: &ImageManifest) -> Result<(), ManifestError> {
    let layers = manifest.layers().len();
    if layers > LAYERS_MAX {
        return Err(too_many(format!("{layers} layers"), LAYERS_MAX as u64));
    }
    digest_of(manifest.config())?;
    bounded(manifest.config(), "a configuration", CONFIG_MAX)?;
    manifest.layers().iter().try_for_each(|layer| {
        digest_of(layer)?;
        bounded(layer, "a layer", LAYER_MAX)
    })
}

fn bounded(part: &Descriptor, what: &str, most: u64) -> Result<(), ManifestError> {
    match part.size() {
        size if size <= most => Ok(()),
        size => Err(too_many(format!("{what} of {size} bytes"), most)),
    }
}

fn too_many(what: String, most: u64) -> ManifestError {
    ManifestError::TooMany { what, most }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn descriptor(media_type: &str, size: u64) -> serde_json::Value {
        json!({"mediaType": media_type, "digest": Digest::of(b"x"), "size": size})
    }

    fn entry(os: &str, architecture: &str) -> serde_json::Value {
        let mut entry = descriptor(OCI_MANIFEST, 7);
        entry["platform"] = json!({"os": os, "architecture": architecture});
        entry
    }

    fn parse(value: &serde_json::Value) -> Result<Manifest, ManifestError> {
        Manifest::parse(value.to_string().as_bytes())
    }

    #[test]
    fn the_right_platform_is_chosen_and_a_wrong_one_named() {
        let index = json!({"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": [
            entry("linux", "amd64"), entry("linux", "arm64"), entry("unknown", "unknown"),
        ]});
        let Manifest::Index(index) = parse(&index).unwrap() else {
            panic!("an index");
        };
        let arm: Platform = "linux/arm64/v8".parse().unwrap();
        let chosen = choose(&index, &arm).unwrap();
        assert_eq!(
            Platform::from(chosen.platform().as_ref().unwrap()).architecture,
            "arm64"
        );
        let refusal = choose(&index, &"linux/riscv64".parse().unwrap()).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "has no image for linux/riscv64, only for linux/amd64, linux/arm64"
        );
    }

    #[test]
    fn what_is_no_usable_manifest_is_refused_by_name() {
        let layers: Vec<_> = (0..128).map(|_| descriptor("x", 1)).collect();
        let config = descriptor("application/vnd.oci.image.config.v1+json", 1);
        for (value, expected) in [
            (json!([]), "no image manifest"),
            (json!({"schemaVersion": 1}), "schema version 1"),
            (
                json!({"schemaVersion": 2, "mediaType": "text/plain"}),
                "media type `text/plain`",
            ),
            (
                json!({"schemaVersion": 2, "config": config, "layers": layers}),
                "128 layers",
            ),
            (
                json!({"schemaVersion": 2, "config": descriptor("c", 1 << 40), "layers": []}),
                "configuration of 1099511627776 bytes",
            ),
            (
                json!({"schemaVersion": 2, "layers": [], "config":
                    {"mediaType": "c", "size": 1, "digest": "sha256:../../etc/passwd"}}),
                "no image manifest",
            ),
        ] {
            let message = parse(&value).unwrap_err().to_string();
            assert!(message.contains(expected), "{value}: {message}");
        }
    }
}

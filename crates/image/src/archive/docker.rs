//! Archives of `docker save`: their layers are kept as they are, and get an OCI manifest.

use std::{
    fs::File,
    io::{self, Read},
};

use serde::Deserialize;
use serde_json::json;

use super::{ArchiveError, DOCKER, Found, GZIP, files::Files, files::Kept};
use crate::{
    CONFIG_MAX, Digest, ImageError, ImageRef, ImageStore, OCI_MANIFEST, manifest::LAYERS_MAX,
};

/// Images in one archive.
const IMAGES_MAX: usize = 256;
/// How a zstd file begins (RFC 8878).
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Media type of a layer, to which its compression is added.
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// Media type of an image's configuration.
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// An entry of `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

/// Of an image's configuration, what its layers have to be.
#[derive(Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Vec<Digest>,
}

/// Makes OCI images of those that `manifest.json` names.
pub(super) fn images(
    store: &ImageStore,
    manifest: &[u8],
    files: &Files,
) -> Result<Vec<Found>, ImageError> {
    let entries: Vec<Entry> = serde_json::from_slice(manifest)
        .map_err(|error| ArchiveError::entry(DOCKER, format!("cannot be read: {error}")))?;
    if entries.len() > IMAGES_MAX {
        let rule = format!("names more than {IMAGES_MAX} images");
        return Err(ArchiveError::entry(DOCKER, rule).into());
    }
    let mut images = Vec::new();
    for entry in entries {
        let tags = entry.repo_tags.iter().flatten();
        let names = tags.map(|tag| tag.parse::<ImageRef>()).collect();
        let names: Result<Vec<_>, _> = names;
        images.push(Found {
            names: names.map_err(|error| ArchiveError::entry(DOCKER, error.to_string()))?,
            digest: convert(store, &entry, files)?,
            label: None,
        });
    }
    Ok(images)
}

fn convert(store: &ImageStore, entry: &Entry, files: &Files) -> Result<Digest, ImageError> {
    let refuse = |rule: String| ArchiveError::entry(&entry.config, rule);
    let paths = entry.layers.as_deref().unwrap_or_default();
    if paths.len() > LAYERS_MAX {
        return Err(refuse(format!("has more than {LAYERS_MAX} layers")).into());
    }
    let config = files.kept(&entry.config)?;
    if config.size > CONFIG_MAX {
        return Err(refuse(format!("has more than {CONFIG_MAX} bytes")).into());
    }
    let bytes = store.read_blob(&config.digest, CONFIG_MAX)?;
    let parsed: Config = serde_json::from_slice(&bytes)
        .map_err(|error| refuse(format!("is no configuration of an image: {error}")))?;
    let diff_ids = parsed.rootfs.diff_ids;
    let mut layers = Vec::new();
    for (at, path) in paths.iter().enumerate() {
        let kept = files.kept(path)?;
        let compression = compression(store, kept)?;
        // What is compressed is compared when it is unpacked.
        if let Some(wanted) = diff_ids.get(at)
            && compression.is_empty()
            && *wanted != kept.digest
        {
            return Err(ArchiveError::Layer {
                file: path.clone(),
                wanted: wanted.clone(),
                found: kept.digest.clone(),
            }
            .into());
        }
        layers.push(descriptor(&format!("{LAYER}{compression}"), kept));
    }
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(CONFIG, config),
        "layers": layers,
    });
    let digest = store.put_blob(manifest.to_string().as_bytes())?;
    // Checks what a pull would check.
    store.any_image(&digest)?;
    Ok(digest)
}

fn descriptor(media_type: &str, kept: &Kept) -> serde_json::Value {
    json!({"mediaType": media_type, "digest": kept.digest, "size": kept.size})
}

fn compression(store: &ImageStore, kept: &Kept) -> Result<&'static str, ImageError> {
    let path = store.blob_path(&kept.digest);
    let start = || -> io::Result<Vec<u8>> {
        let mut start = Vec::new();
        let begin = File::open(&path)?.take(ZSTD.len() as u64);
        { begin }.read_to_end(&mut start)?;
        Ok(start)
    };
    let start = start().map_err(ImageError::io("cannot read", &path))?;
    Ok(if start.starts_with(&GZIP) {
        "+gzip"
    } else if start == ZSTD {
        "+zstd"
    } else {
        ""
    })
}

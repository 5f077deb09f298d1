//! From layers to an image: configuration, manifest, and an index over several platforms. Equal
//! input gives equal digests.

use std::collections::BTreeMap;

use oci_spec::image::Descriptor;
use serde_json::{Map, Value, json};

use crate::{
    CONFIG_MAX, Digest, Image, ImageError, ImageStore, Layer, ManifestError, OCI_INDEX,
    OCI_MANIFEST, Platform,
    layer::CREATED,
    manifest::{LAYERS_MAX, digest_of},
};

const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// What Docker's manifests call the same bytes.
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// How containers of an image run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunSettings {
    /// Program and arguments.
    pub entrypoint: Vec<String>,
    /// Variables; they win over those of the base.
    pub env: BTreeMap<String, String>,
    /// Where the program starts.
    pub working_dir: String,
    /// `UID:GID`.
    pub user: String,
    /// Where it listens, with TCP.
    pub port: u16,
    /// What the image says about itself; they win over those of the base.
    pub labels: BTreeMap<String, String>,
}

/// An image for one platform that is about to be made.
#[derive(Debug)]
pub struct Assembly<'a> {
    /// For which machines.
    pub platform: &'a Platform,
    /// What it stands on, complete in the store; `None` is an empty image.
    pub base: Option<&'a Image>,
    /// What comes on top, lowest first.
    pub layers: &'a [Layer],
    /// How it runs.
    pub settings: &'a RunSettings,
}

/// A manifest or an index that was made, in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assembled {
    /// Its digest.
    pub digest: Digest,
    /// [`OCI_MANIFEST`] or [`OCI_INDEX`].
    pub media_type: &'static str,
    /// Its own length in bytes.
    pub length: u64,
    /// What a registry sends for it: of an index, for all of its platforms.
    pub size: u64,
}

// === impl ImageStore ===

impl ImageStore {
    /// Writes configuration and manifest. The caller holds the store.
    ///
    /// # Errors
    /// When the base cannot be read, there are too many layers, or the disk is full.
    pub fn assemble(&self, assembly: &Assembly<'_>) -> Result<Assembled, ImageError> {
        let refuse = || ImageError::manifest(assembly.platform);
        let mut layers = Vec::new();
        let mut diff_ids = Vec::new();
        for (layer, diff_id) in assembly.base.iter().flat_map(|base| base.layers()) {
            layers.push(layer_json(layer).map_err(refuse())?);
            diff_ids.push(diff_id);
        }
        for layer in assembly.layers {
            layers.push(descriptor(OCI_LAYER, &layer.digest, layer.size));
            diff_ids.push(layer.diff_id.clone());
        }
        if layers.len() > LAYERS_MAX {
            return Err(refuse()(ManifestError::TooMany {
                what: format!("{} layers", layers.len()),
                most: LAYERS_MAX as u64,
            }));
        }
        let config = bytes(&self.configuration(assembly, &diff_ids)?);
        let size = config.len() as u64 + layers.iter().map(size_of).sum::<u64>();
        let config_digest = self.put_blob(&config)?;
        let manifest = bytes(&json!({
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(OCI_CONFIG, &config_digest, config.len() as u64),
            "layers": layers,
        }));
        Ok(Assembled {
            digest: self.put_blob(&manifest)?,
            media_type: OCI_MANIFEST,
            length: manifest.len() as u64,
            size: size + manifest.len() as u64,
        })
    }

    /// Writes an index over images, one a platform. The caller holds the store.
    ///
    /// # Errors
    /// The disk's.
    pub fn assemble_index(
        &self,
        images: &[(Platform, Assembled)],
    ) -> Result<Assembled, ImageError> {
        let entries = images.iter().map(|(platform, image)| {
            let mut entry = descriptor(image.media_type, &image.digest, image.length);
            entry["platform"] = platform_json(platform);
            entry
        });
        let index = bytes(&json!({
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": entries.collect::<Vec<_>>(),
        }));
        let size: u64 = images.iter().map(|(_, image)| image.size).sum();
        Ok(Assembled {
            digest: self.put_blob(&index)?,
            media_type: OCI_INDEX,
            length: index.len() as u64,
            size: size + index.len() as u64,
        })
    }

    fn configuration(
        &self,
        assembly: &Assembly<'_>,
        diff_ids: &[Digest],
    ) -> Result<Value, ImageError> {
        let base = match assembly.base {
            Some(image) => self.raw_config(image)?,
            None => Value::Null,
        };
        let mut config = platform_json(assembly.platform);
        if let Some(image) = assembly.base
            && let Some(variant) = &image.platform.variant
        {
            config["variant"] = json!(variant);
        }
        config["created"] = json!(CREATED);
        config["config"] = run_config(&base["config"], assembly.settings);
        config["rootfs"] = json!({"type": "layers", "diff_ids": diff_ids});
        let mut history = base["history"].as_array().cloned().unwrap_or_default();
        // A base that tells nothing of its layers must not be told half of.
        if assembly.base.is_none() || !history.is_empty() {
            let steps = assembly.layers.iter();
            history.extend(steps.map(
                |layer| json!({"created": CREATED, "created_by": format!("hob build: {}", layer.title)}),
            ));
            config["history"] = json!(history);
        }
        Ok(config)
    }

    fn raw_config(&self, image: &Image) -> Result<Value, ImageError> {
        let refuse = || ImageError::manifest(&image.digest);
        let digest = digest_of(image.manifest.config()).map_err(refuse())?;
        let bytes = self.read_blob(&digest, CONFIG_MAX)?;
        serde_json::from_slice(&bytes)
            .map_err(|error| refuse()(ManifestError::Syntax(error.to_string())))
    }
}

/// The part of a configuration that says how to run it: the base's, with ours on top.
fn run_config(base: &Value, settings: &RunSettings) -> Value {
    let mut config = base.as_object().cloned().unwrap_or_else(Map::new);
    // These speak of the base's own program.
    for key in [
        "Cmd",
        "Healthcheck",
        "StopSignal",
        "OnBuild",
        "ArgsEscaped",
        "Image",
    ] {
        config.remove(key);
    }
    let mut env = Vec::new();
    for line in strings(&config, "Env") {
        let name = line.split('=').next().unwrap_or_default();
        if !settings.env.contains_key(name) {
            env.push(line);
        }
    }
    env.extend(
        settings
            .env
            .iter()
            .map(|(name, value)| format!("{name}={value}")),
    );
    let mut labels: BTreeMap<String, Value> = match config.remove("Labels") {
        Some(Value::Object(labels)) => labels.into_iter().collect(),
        _ => BTreeMap::new(),
    };
    for (name, value) in &settings.labels {
        labels.insert(name.clone(), json!(value));
    }
    for (key, value) in [
        ("Entrypoint", json!(settings.entrypoint)),
        ("Env", json!(env)),
        (
            "ExposedPorts",
            json!({format!("{}/tcp", settings.port): {}}),
        ),
        ("Labels", json!(labels)),
        ("User", json!(settings.user)),
        ("WorkingDir", json!(settings.working_dir)),
    ] {
        config.insert(key.to_owned(), value);
    }
    // By name, whatever order the base had them in.
    json!(config.into_iter().collect::<BTreeMap<_, _>>())
}

fn strings(config: &Map<String, Value>, key: &str) -> Vec<String> {
    let list = config.get(key).and_then(Value::as_array);
    let texts = list.into_iter().flatten().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

fn platform_json(platform: &Platform) -> Value {
    let mut json = json!({"architecture": platform.architecture, "os": platform.os});
    if let Some(variant) = &platform.variant {
        json["variant"] = json!(variant);
    }
    json
}

/// A layer of another image, by its name in OCI manifests.
pub(crate) fn layer_json(layer: &Descriptor) -> Result<Value, ManifestError> {
    let digest = digest_of(layer)?;
    let media_type = layer.media_type().to_string();
    let media_type = match media_type.as_str() {
        DOCKER_LAYER => OCI_LAYER,
        other => other,
    };
    Ok(descriptor(media_type, &digest, layer.size()))
}

fn descriptor(media_type: &str, digest: &Digest, size: u64) -> Value {
    json!({"mediaType": media_type, "digest": digest, "size": size})
}

fn size_of(descriptor: &Value) -> u64 {
    descriptor["size"].as_u64().unwrap_or(0)
}

fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

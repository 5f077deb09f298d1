//! The few words that all tests here are written in.

use std::{io::Write, path::PathBuf, process::Command, sync::Arc};

use flate2::{Compression, write::GzEncoder};
use hob_image::{Digest, ImageRef, ImageStore, OCI_INDEX, OCI_MANIFEST, Platform, Tagged};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// A store and a folder for files beside it.
pub(crate) struct Bench {
    pub(crate) store: Arc<ImageStore>,
    folder: TempDir,
}

/// A file of an archive: path, bytes.
pub(crate) type File = (String, Vec<u8>);

impl Bench {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            store: ImageStore::open(folder.path()).unwrap(),
            folder,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn load(&self, archive: &[u8]) -> Result<Vec<Tagged>, String> {
        let loaded = self.store.load(archive, None);
        loaded.map_err(|error| error.to_string())
    }

    pub(crate) fn save(&self, names: &[&str]) -> Vec<u8> {
        let names: Vec<ImageRef> = names.iter().map(|name| name.parse().unwrap()).collect();
        let mut archive = Vec::new();
        self.store.save(&names, &mut archive).unwrap();
        archive
    }

    /// Whether the image of a name is all there, for this machine.
    pub(crate) fn check(&self, name: &str) -> Digest {
        let tagged = self.store.tagged(&name.parse().unwrap()).expect(name);
        let image = self.store.image(&tagged.digest, &Platform::host(), name);
        let image = image.unwrap();
        for (layer, _) in image.layers() {
            let digest = layer.digest().to_string().parse().unwrap();
            self.store.verify_blob(&digest).unwrap();
        }
        tagged.digest
    }
}

/// A layer of one file.
pub(crate) fn layer(path: &str, text: &str) -> Vec<u8> {
    tar(&[(path.to_owned(), text.as_bytes().to_vec())])
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn tar(files: &[File]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, path, bytes.as_slice())
            .unwrap();
    }
    tar.into_inner().unwrap()
}

pub(crate) fn config(platform: &Platform, layers: &[Vec<u8>]) -> Vec<u8> {
    let diff_ids: Vec<_> = layers.iter().map(|layer| Digest::of(layer)).collect();
    json!({
        "architecture": platform.architecture, "os": platform.os,
        "config": {"Cmd": ["/hello"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    })
    .to_string()
    .into_bytes()
}

pub(crate) fn blob(bytes: &[u8]) -> File {
    let digest = Digest::of(bytes);
    (format!("blobs/sha256/{}", digest.hex()), bytes.to_vec())
}

pub(crate) fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len()})
}

/// The blobs of an image with one gzip-compressed layer; the last one is its manifest.
pub(crate) fn image(platform: &Platform, text: &str) -> Vec<Vec<u8>> {
    let layer = layer("hello", text);
    let config = config(platform, std::slice::from_ref(&layer));
    let packed = gzip(&layer);
    let manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor(CONFIG, &config),
        "layers": [descriptor(&format!("{LAYER}+gzip"), &packed)],
    });
    vec![config, packed, manifest.to_string().into_bytes()]
}

/// `index.json` with one entry, and a name in an annotation.
pub(crate) fn index(media_type: &str, manifest: &[u8], annotation: &str, name: &str) -> Vec<u8> {
    let mut entry = descriptor(media_type, manifest);
    entry["annotations"] = json!({annotation: name});
    json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry]})
        .to_string()
        .into_bytes()
}

/// The files of an OCI layout with one image of this name.
pub(crate) fn layout(name: &str, text: &str) -> Vec<File> {
    let blobs = image(&Platform::host(), text);
    let index = index(OCI_MANIFEST, &blobs[2], REF_NAME, name);
    let mut files: Vec<File> = blobs.iter().map(|bytes| blob(bytes)).collect();
    files.push(("index.json".into(), index));
    files.push((
        "oci-layout".into(),
        br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec(),
    ));
    files
}

pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// An index of images for two platforms; returns its blobs, itself last.
pub(crate) fn two_platforms() -> Vec<Vec<u8>> {
    let other: Platform = "linux/s390x".parse().unwrap();
    let mut blobs = Vec::new();
    let mut entries = Vec::new();
    for platform in [Platform::host(), other] {
        let image = image(&platform, &platform.to_string());
        let mut entry = descriptor(OCI_MANIFEST, &image[2]);
        entry["platform"] = json!({"os": platform.os, "architecture": platform.architecture});
        entries.push(entry);
        blobs.extend(image);
    }
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries});
    blobs.push(index.to_string().into_bytes());
    blobs
}

pub(crate) fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

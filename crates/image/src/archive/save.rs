use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{Read, Write},
};

use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

use super::{ArchiveError, CONTAINERD_NAME, DOCKER, INDEX, LAYOUT, REF_NAME, selection::Selection};
use crate::{
    Digest, Hasher, ImageError, ImageRef, ImageStore, OCI_INDEX, manifest::digest_of,
    store::LAYOUT_VERSION,
};

/// Time of every entry: the same images give the same archive.
const NO_TIME: u64 = 0;

// === impl ImageStore ===

impl ImageStore {
    /// Writes images as a tar of an OCI layout, each blob once and each file in a fixed order,
    /// with Docker's `manifest.json` besides for programs that know nothing newer. Of a
    /// multi-platform image that is not all here, the image for one platform is written: this
    /// machine's, or the only one that is here. Blobs are checked as they pass. The caller holds
    /// the store.
    ///
    /// # Errors
    /// When a name or a blob is not here or `out` fails; what is written by then is no archive.
    pub fn save(&self, names: &[ImageRef], out: impl Write) -> Result<(), ImageError> {
        let mut images = BTreeMap::new();
        for name in names {
            let tagged = self.tagged(name);
            let tagged = tagged.ok_or_else(|| ImageError::NotHere(name.clone()))?;
            let text = name.to_string();
            let selection = self.select(&tagged.digest, &text)?;
            images.insert(text, selection);
        }
        let mut tar = Builder::new(out);
        put(&mut tar, LAYOUT, LAYOUT_VERSION)?;
        put(&mut tar, INDEX, index(&images).to_string().as_bytes())?;
        put(&mut tar, DOCKER, docker(&images)?.to_string().as_bytes())?;
        for folder in ["blobs/", "blobs/sha256/"] {
            let mut header = header(EntryType::Directory, 0o755, 0);
            let written = tar.append_data(&mut header, folder, std::io::empty());
            written.map_err(ArchiveError::Write)?;
        }
        let blobs = images.into_values().flat_map(|selection| selection.blobs);
        for digest in blobs.collect::<BTreeSet<_>>() {
            self.put_blob_in(&mut tar, digest)?;
        }
        let mut out = tar.into_inner().map_err(ArchiveError::Write)?;
        out.flush().map_err(ArchiveError::Write)?;
        Ok(())
    }

    fn put_blob_in<W: Write>(
        &self,
        tar: &mut Builder<W>,
        wanted: Digest,
    ) -> Result<(), ImageError> {
        let path = self.blob_path(&wanted);
        let open = || -> std::io::Result<(File, u64)> {
            let file = File::open(&path)?;
            let size = file.metadata()?.len();
            Ok((file, size))
        };
        let (file, size) = open().map_err(ImageError::io("cannot read", &path))?;
        let mut blob = Hasher::new(file.take(size));
        let mut header = header(EntryType::Regular, 0o644, size);
        tar.append_data(&mut header, blob_path(&wanted), &mut blob)
            .map_err(ArchiveError::Write)?;
        let (found, _, _) = blob.finish();
        if found != wanted {
            return Err(ImageError::Damaged { wanted, found });
        }
        Ok(())
    }
}

fn index(images: &BTreeMap<String, Selection>) -> Value {
    let entries = images.iter().map(|(name, selection)| {
        json!({
            "mediaType": selection.media_type,
            "digest": selection.digest,
            "size": selection.size,
            "annotations": {CONTAINERD_NAME: name, REF_NAME: name},
        })
    });
    let entries: Vec<_> = entries.collect();
    json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})
}

fn docker(images: &BTreeMap<String, Selection>) -> Result<Value, ImageError> {
    let mut entries = Vec::new();
    for (name, selection) in images {
        let Some(image) = &selection.image else {
            continue;
        };
        let path = |part| digest_of(part).map(|digest| blob_path(&digest));
        let layers: Result<Vec<_>, _> = image.layers().iter().map(path).collect();
        // A name that is pinned to a digest is no tag for Docker.
        let tags: Vec<_> = [name].into_iter().filter(|it| !it.contains('@')).collect();
        entries.push(json!({
            "Config": path(image.config()).map_err(ImageError::manifest(name))?,
            "RepoTags": tags,
            "Layers": layers.map_err(ImageError::manifest(name))?,
        }));
    }
    Ok(Value::from(entries))
}

fn put<W: Write>(tar: &mut Builder<W>, path: &str, bytes: &[u8]) -> Result<(), ArchiveError> {
    let mut header = header(EntryType::Regular, 0o644, bytes.len() as u64);
    tar.append_data(&mut header, path, bytes)
        .map_err(ArchiveError::Write)
}

fn header(kind: EntryType, mode: u32, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(NO_TIME);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

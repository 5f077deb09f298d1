//! Taking over an image that another tool has written as an OCI image layout.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use crate::{
    Digest, Image, ImageError, ImageStore, Manifest, ManifestError, Platform,
    manifest::{MANIFEST_MAX, digest_of},
    space,
};

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    digest: Digest,
}

// === impl ImageStore ===

impl ImageStore {
    /// The folder of the layout, for tools that read images by it.
    pub fn layout(&self) -> PathBuf {
        self.folders()[0]
            .ancestors()
            .nth(2)
            .unwrap_or(Path::new(""))
            .to_owned()
    }

    /// Copies the one image of the layout in the folder `layout`, every blob checked, and returns
    /// it. The caller holds the store and gives it a name.
    ///
    /// # Errors
    /// When there is not exactly one image for `platform`, or a blob is missing or damaged.
    pub fn adopt(&self, layout: &Path, platform: &Platform) -> Result<Image, ImageError> {
        let named = layout.display().to_string();
        let refuse = || ImageError::manifest(&named);
        let index = read(&layout.join("index.json"))?;
        let index: Index = serde_json::from_slice(&index)
            .map_err(|error| refuse()(ManifestError::Syntax(error.to_string())))?;
        let [entry] = index.manifests.as_slice() else {
            return Err(refuse()(ManifestError::TooMany {
                what: format!("{} images", index.manifests.len()),
                most: 1,
            }));
        };
        let blobs = layout.join("blobs/sha256");
        let bytes = read(&blobs.join(entry.digest.hex()))?;
        let manifest = Manifest::parse(&bytes).map_err(refuse())?;
        if let Manifest::Index(_) = &manifest {
            let what = "an index, where an image belongs".to_owned();
            return Err(refuse()(ManifestError::MediaType(what)));
        }
        let parts = manifest.parts();
        let needed = parts.iter().map(|part| part.size()).sum();
        space::check(self.folders()[0], &format!("image `{named}`"), needed)?;
        for part in parts {
            let digest = digest_of(part).map_err(refuse())?;
            self.adopt_blob(&blobs.join(digest.hex()), &digest)?;
        }
        let digest = self.put_blob(&bytes)?;
        self.image(&digest, platform, &named)
    }

    fn adopt_blob(&self, path: &Path, digest: &Digest) -> Result<(), ImageError> {
        if self.touch_blob(digest).is_some() {
            return Ok(());
        }
        let mut blob = self.new_blob()?;
        File::open(path)
            .and_then(|mut file| io::copy(&mut file, &mut blob))
            .map_err(ImageError::io("cannot copy", path))?;
        blob.commit(Some(digest)).map(drop)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ImageError> {
    let read = || match fs::metadata(path)?.len() {
        length if length <= MANIFEST_MAX => fs::read(path),
        length => Err(io::Error::other(format!("{length} bytes are too many"))),
    };
    read().map_err(ImageError::io("cannot read", path))
}

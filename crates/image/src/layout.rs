//! Taking over an image that another tool has written, as an OCI image layout or an archive.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use oci_spec::image::Descriptor;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    ArchiveError, CONFIG_MAX, Digest, Image, ImageError, ImageRef, ImageStore, Manifest,
    ManifestError, Platform,
    assemble::layer_json,
    manifest::{MANIFEST_MAX, digest_of, parse_config},
    space,
};

/// A name for what is on its way.
const PASSING: &str = "build.invalid/image:latest";

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
    /// it. Of a layer that an image of `known` has as well, that one's blob is taken: the other
    /// tool may have compressed it anew. The caller holds the store and gives it a name.
    ///
    /// # Errors
    /// When there is not exactly one image for `platform`, or a blob is missing or damaged.
    pub fn adopt(
        &self,
        layout: &Path,
        platform: &Platform,
        known: &[Image],
    ) -> Result<Image, ImageError> {
        let named = layout.display().to_string();
        let refuse = || ImageError::manifest(&named);
        let syntax = |error: serde_json::Error| refuse()(ManifestError::Syntax(error.to_string()));
        let blobs = layout.join("blobs/sha256");
        let entry = only_entry(layout, &named)?;
        let bytes = read(&blobs.join(entry.hex()))?;
        let Manifest::Image(manifest) = Manifest::parse(&bytes).map_err(refuse())? else {
            let what = "an index, where an image belongs".to_owned();
            return Err(refuse()(ManifestError::MediaType(what)));
        };
        let config = digest_of(manifest.config()).map_err(refuse())?;
        self.adopt_blob(&blobs.join(config.hex()), &config)?;
        let config = parse_config(&self.read_blob(&config, CONFIG_MAX)?, &manifest);
        let config = config.map_err(refuse())?;
        let sizes = manifest.layers().iter().map(Descriptor::size);
        let needed = sizes.fold(0, u64::saturating_add);
        space::check(self.folders()[0], &format!("image `{named}`"), needed)?;
        let mut written: Value = serde_json::from_slice(&bytes).map_err(syntax)?;
        let mut changed = false;
        let diff_ids = config.rootfs().diff_ids();
        for (at, (layer, diff_id)) in manifest.layers().iter().zip(diff_ids).enumerate() {
            let same = known.iter().flat_map(Image::layers);
            let mut same = same.filter(|(_, known)| known.as_str() == diff_id.as_str());
            if let Some((layer, _)) = same.next() {
                written["layers"][at] = layer_json(layer).map_err(refuse())?;
                changed = true;
            } else {
                let digest = digest_of(layer).map_err(refuse())?;
                self.adopt_blob(&blobs.join(digest.hex()), &digest)?;
            }
        }
        let bytes = match changed {
            true => written.to_string().into_bytes(),
            false => bytes,
        };
        let digest = self.put_blob(&bytes)?;
        self.image(&digest, platform, &named)
    }

    /// The same for the one image of an archive, as [`ImageStore::load`] reads it.
    ///
    /// # Errors
    /// When there is not one image, none for `platform`, or something of it is refused.
    pub fn adopt_archive(&self, archive: &Path, platform: &Platform) -> Result<Image, ImageError> {
        let file = File::open(archive).map_err(ImageError::io("cannot read", archive))?;
        // What is loaded gets a name; this one is nobody's, and goes again.
        let name: ImageRef = PASSING.parse()?;
        let loaded = self.load(file, Some(&name))?;
        self.untag(&name)?;
        let [image] = loaded.as_slice() else {
            return Err(ArchiveError::NoImage.into());
        };
        self.image(&image.digest, platform, &archive.display().to_string())
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

fn only_entry(layout: &Path, named: &str) -> Result<Digest, ImageError> {
    let refuse = || ImageError::manifest(named);
    let index: Index = serde_json::from_slice(&read(&layout.join("index.json"))?)
        .map_err(|error| refuse()(ManifestError::Syntax(error.to_string())))?;
    match index.manifests.as_slice() {
        [entry] => Ok(entry.digest.clone()),
        entries => Err(refuse()(ManifestError::TooMany {
            what: format!("{} images", entries.len()),
            most: 1,
        })),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ImageError> {
    let read = || match fs::metadata(path)?.len() {
        length if length <= MANIFEST_MAX => fs::read(path),
        length => Err(io::Error::other(format!("{length} bytes are too many"))),
    };
    read().map_err(ImageError::io("cannot read", path))
}

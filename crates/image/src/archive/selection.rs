//! What of an image is on this machine.

use std::collections::{BTreeSet, HashMap};

use oci_spec::image::{Descriptor, ImageManifest};

use super::ArchiveError;
use crate::{Digest, ImageError, ImageStore, Manifest, Platform, choose, manifest::digest_of};

/// Manifests of one image that are looked at.
const MANIFESTS_MAX: usize = 1024;
/// Indexes within indexes.
const DEPTH_MAX: usize = 4;

/// A manifest or index all of whose parts are here.
pub(super) struct Selection {
    pub(super) digest: Digest,
    pub(super) media_type: String,
    pub(super) size: u64,
    /// Everything below it, and itself.
    pub(super) blobs: BTreeSet<Digest>,
    /// The image in it for this machine, or else its first one.
    pub(super) image: Option<Box<ImageManifest>>,
}

/// A walk from one manifest downwards.
struct Walk<'a> {
    store: &'a ImageStore,
    image: &'a str,
    /// Whether all below a manifest is here; each is looked at once, however many lead to it.
    seen: HashMap<Digest, bool>,
    blobs: BTreeSet<Digest>,
    depth: usize,
}

// === impl ImageStore ===

impl ImageStore {
    /// What can be given away of an image. Of an index whose platforms are not all here, that is
    /// the manifest for this machine's platform, or for the only one that is here: an index
    /// stripped of entries would have another digest, and other tools fail on one with holes.
    pub(super) fn select(&self, digest: &Digest, image: &str) -> Result<Selection, ImageError> {
        let mut walk = Walk::new(self, image);
        if walk.is_whole(digest)? {
            return walk.selection(digest);
        }
        let index = match self.manifest(digest, image)? {
            Manifest::Index(index) => index,
            // Names the first one that is missing.
            manifest @ Manifest::Image(_) => return Err(walk.missing(&manifest)),
        };
        let mut here = Vec::new();
        for entry in index.manifests() {
            let digest = digest_of(entry).map_err(ImageError::manifest(image))?;
            if Walk::new(self, image).is_whole(&digest)? {
                here.push((entry, digest));
            }
        }
        let host = choose(&index, &Platform::host()).ok();
        let chosen = host.and_then(|host| here.iter().find(|(entry, _)| *entry == host));
        match (chosen, here.as_slice()) {
            (Some((_, digest)), _) | (None, [(_, digest)]) => {
                let mut walk = Walk::new(self, image);
                walk.is_whole(digest)?;
                walk.selection(digest)
            }
            _ => Err(ArchiveError::Partial {
                image: image.to_owned(),
                here: here.iter().map(|(entry, _)| platform(entry)).collect(),
            }
            .into()),
        }
    }

    fn image_below(&self, manifest: Manifest, image: &str) -> Option<Box<ImageManifest>> {
        let index = match manifest {
            Manifest::Image(manifest) => return Some(manifest),
            Manifest::Index(index) => index,
        };
        let chosen = choose(&index, &Platform::host()).ok();
        let chosen = chosen.or_else(|| index.manifests().first())?;
        match self.manifest(&digest_of(chosen).ok()?, image).ok()? {
            Manifest::Image(manifest) => Some(manifest),
            Manifest::Index(_) => None,
        }
    }
}

fn platform(entry: &Descriptor) -> String {
    let platform = entry.platform().as_ref();
    platform.map_or("unknown".into(), |it| Platform::from(it).to_string())
}

// === impl Walk ===

impl<'a> Walk<'a> {
    fn new(store: &'a ImageStore, image: &'a str) -> Self {
        Self {
            store,
            image,
            seen: HashMap::new(),
            blobs: BTreeSet::new(),
            depth: 0,
        }
    }

    /// Whether a manifest and all below it is here.
    fn is_whole(&mut self, digest: &Digest) -> Result<bool, ImageError> {
        if let Some(known) = self.seen.get(digest) {
            return Ok(*known);
        }
        if self.store.blob_length(digest).is_none() {
            return Ok(false);
        }
        let image = self.image.to_owned();
        if self.seen.len() >= MANIFESTS_MAX {
            let most = MANIFESTS_MAX;
            return Err(ArchiveError::Manifests { image, most }.into());
        }
        if self.depth >= DEPTH_MAX {
            let most = DEPTH_MAX;
            return Err(ArchiveError::Depth { image, most }.into());
        }
        // A digest cannot be within itself.
        self.seen.insert(digest.clone(), true);
        let manifest = self.store.manifest(digest, self.image)?;
        let is_index = matches!(manifest, Manifest::Index(_));
        let mut whole = true;
        self.depth += 1;
        for part in manifest.parts() {
            let below = digest_of(part).map_err(ImageError::manifest(self.image))?;
            let fits = self.store.blob_length(&below) == Some(part.size());
            whole &= fits && (!is_index || self.is_whole(&below)?);
            self.blobs.insert(below);
        }
        self.depth -= 1;
        self.blobs.insert(digest.clone());
        self.seen.insert(digest.clone(), whole);
        Ok(whole)
    }

    fn missing(&self, manifest: &Manifest) -> ImageError {
        for part in manifest.parts() {
            match digest_of(part) {
                Ok(digest) if self.store.blob_length(&digest) != Some(part.size()) => {
                    return ImageError::NoBlob(digest);
                }
                Ok(_) => {}
                Err(error) => return ImageError::manifest(self.image)(error),
            }
        }
        ArchiveError::NoImage.into()
    }

    fn selection(self, digest: &Digest) -> Result<Selection, ImageError> {
        let manifest = self.store.manifest(digest, self.image)?;
        Ok(Selection {
            digest: digest.clone(),
            media_type: manifest.media_type(),
            size: self.store.blob_length(digest).unwrap_or(0),
            blobs: self.blobs,
            image: self.store.image_below(manifest, self.image),
        })
    }
}

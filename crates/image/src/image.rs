use oci_spec::image::{Descriptor, ImageConfiguration, ImageManifest};

use crate::{Digest, ImageStore, Platform, manifest::digest_of};

/// An image for one platform, complete on this machine.
#[derive(Debug, Clone)]
pub struct Image {
    /// Digest of the manifest for the platform: names exactly this content.
    pub digest: Digest,
    /// The blobs that make it up.
    pub manifest: Box<ImageManifest>,
    /// How to run it.
    pub config: ImageConfiguration,
    /// What it was made for.
    pub platform: Platform,
}

// === impl Image ===

impl Image {
    /// Layers, lowest first: the blob, and the digest of its content unpacked.
    pub fn layers(&self) -> Vec<(&Descriptor, Digest)> {
        let diff_ids = self.config.rootfs().diff_ids().iter();
        // `parse_config` has seen that all of them parse and that there are as many.
        let diff_ids = diff_ids.filter_map(|diff_id| diff_id.parse().ok());
        self.manifest.layers().iter().zip(diff_ids).collect()
    }

    /// Configuration and layers.
    pub fn blobs(&self) -> Vec<Digest> {
        let layers = self.manifest.layers().iter();
        let parts = std::iter::once(self.manifest.config()).chain(layers);
        // The manifest was parsed, so each is a digest.
        parts.filter_map(|part| digest_of(part).ok()).collect()
    }

    /// The first of its blobs that is not on this machine.
    pub fn missing(&self, store: &ImageStore) -> Option<Digest> {
        let mut blobs = self.blobs().into_iter();
        blobs.find(|blob| store.blob_length(blob).is_none())
    }

    /// What a registry sends for it, in bytes: configuration and layers.
    pub fn size(&self) -> u64 {
        let layers = self.manifest.layers().iter().map(Descriptor::size);
        layers.fold(self.manifest.config().size(), u64::saturating_add)
    }
}

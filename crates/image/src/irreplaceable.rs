//! What a backup has to hold of the images.

use std::collections::BTreeSet;

use crate::{Digest, ImageError, ImageStore, Needed, Origin, index};

/// Images that functions run, and those that no registry has.
#[derive(Debug, Clone, Default)]
pub struct Irreplaceable {
    /// `index.json` with their names and no others.
    pub index: Vec<u8>,
    /// All of their blobs that are here.
    pub blobs: BTreeSet<Digest>,
}

// === impl ImageStore ===

impl ImageStore {
    /// What is `needed`, and all that was built here, loaded or pushed. What is damaged is left
    /// out, since nothing can be run of it; the log tells. The caller holds the store.
    ///
    /// # Errors
    /// When the names cannot be written down.
    pub fn irreplaceable(&self, needed: &Needed) -> Result<Irreplaceable, ImageError> {
        let mut names = self.names();
        names.retain(|tagged| {
            tagged.origin == Origin::Local || self.leads_to(&tagged.digest, &needed.manifests)
        });
        let mut blobs = BTreeSet::new();
        let named = names.iter().map(|tagged| &tagged.digest);
        for digest in needed.manifests.iter().chain(named) {
            if let Err(error) = self.mark(digest, &mut blobs) {
                tracing::warn!("a backup goes without image {digest}: {error}");
            }
        }
        blobs.retain(|blob| self.blob_length(blob).is_some());
        let index = index::to_json(Vec::new(), &names)
            .map_err(ImageError::io("cannot write", "index.json"))?;
        Ok(Irreplaceable { index, blobs })
    }
}

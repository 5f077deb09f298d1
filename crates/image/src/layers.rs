//! Layers unpacked, each once for all images that have it: `layers/<diff id>`.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{Digest, Image, ImageError, ImageStore, manifest::digest_of, registry::on_disk};

/// Beginning of the names of folders that are being filled.
const UNFINISHED: &str = ".new-";

// === impl ImageStore ===

impl ImageStore {
    /// Unpacks the layers of an image that are not unpacked yet, and returns the folders of all,
    /// topmost first, as overlayfs stacks them. The caller holds the store.
    ///
    /// # Errors
    /// A layer that is refused is named with the rule; nothing of it stays.
    pub async fn unpack(self: &Arc<Self>, image: &Image) -> Result<Vec<PathBuf>, ImageError> {
        let mut folders = Vec::new();
        for (layer, diff_id) in image.layers() {
            let blob = digest_of(layer).map_err(ImageError::manifest(&image.digest))?;
            let folder = self.layer_folder(&diff_id);
            let _turn = self.turn(&diff_id).await;
            if !folder.is_dir() {
                let (store, blob) = (Arc::clone(self), blob.clone());
                on_disk(move || store.unpack_one(&blob, &diff_id)).await?;
            }
            folders.push(folder);
        }
        folders.reverse();
        Ok(folders)
    }

    /// Where a layer is unpacked, or would be.
    pub fn layer_folder(&self, diff_id: &Digest) -> PathBuf {
        self.layers.join(diff_id.hex())
    }

    fn unpack_one(&self, _blob: &Digest, _diff_id: &Digest) -> Result<(), ImageError> {
        unreachable!()
    }

    /// What a crash left half unpacked.
    pub(crate) fn clear_unfinished_layers(&self) -> Result<(), ImageError> {
        let clear = |folder: &Path| -> io::Result<()> {
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                    fs::remove_dir_all(entry.path())?;
                }
            }
            Ok(())
        };
        clear(&self.layers).map_err(ImageError::io("cannot clear", &self.layers))
    }
}

//! Layers unpacked, each once for all images that have it: `layers/<diff id>`.

use std::{
    fs::{self, File},
    io::{self, BufReader},
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    Digest, Image, ImageError, ImageStore, Rule, UnpackError, UnpackLimits, blob::sync_folder,
    disk::on_disk, manifest::digest_of, space, unpack_layer,
};

/// Beginning of the names of folders that are being filled or emptied.
pub(crate) const UNFINISHED: &str = ".new-";

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

    fn unpack_one(&self, blob: &Digest, diff_id: &Digest) -> Result<(), ImageError> {
        let path = self.blob_path(blob);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ImageError::NoBlob(blob.clone()));
            }
            file => file.map_err(ImageError::io("cannot read", &path))?,
        };
        let folder = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .tempdir_in(&self.layers)
            .map_err(ImageError::io("cannot make a folder in", &self.layers))?;
        let limits = UnpackLimits::default();
        let room = space::free(folder.path());
        let limits = UnpackLimits {
            bytes: limits.bytes.min(room),
            ..limits
        };
        let unpacked = unpack_layer(BufReader::new(file), folder.path(), &limits);
        let refused = match unpacked {
            Ok(unpacked) if unpacked.diff_id == *diff_id => None,
            Ok(unpacked) => Some(ImageError::Content {
                layer: blob.clone(),
                wanted: diff_id.clone(),
                found: unpacked.diff_id,
            }),
            Err(UnpackError::Refused {
                rule: Rule::TooManyBytes(most),
                ..
            }) if most == room => Some(space::full(
                folder.path(),
                &format!("layer {blob}, unpacked,"),
                room.saturating_add(1),
            )),
            Err(problem) => Some(ImageError::Layer {
                layer: blob.clone(),
                problem: Box::new(problem),
            }),
        };
        if let Some(refused) = refused {
            // Perhaps not the image is at fault but the disk: then the next pull brings it anew.
            return Err(match self.verify_blob(blob) {
                Err(damaged @ ImageError::Damaged { .. }) => {
                    fs::remove_file(&path).map_err(ImageError::io("cannot remove", &path))?;
                    damaged
                }
                _ => refused,
            });
        }
        let target = self.layer_folder(diff_id);
        let keep = || {
            rustix::fs::syncfs(File::open(folder.path())?)?;
            fs::rename(folder.path(), &target)?;
            sync_folder(&self.layers)
        };
        keep().map_err(ImageError::io("cannot write", &target))?;
        // It has another name now, and stays.
        let _ = folder.keep();
        Ok(())
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

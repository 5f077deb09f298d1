//! Giving the disk back.

use std::{
    collections::BTreeSet,
    fs, io,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{Digest, ImageError, ImageRef, ImageStore, Manifest, Origin, manifest::digest_of};

/// Blobs so young are left alone: somebody may be pushing the manifest that goes with them.
const GRACE: Duration = Duration::from_secs(3600);

/// What pruning takes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pruning {
    /// Blobs and layers that no name and no function uses.
    Unreachable,
    /// Also the names that no function uses, of images that a registry has.
    Pulled,
    /// Also the names of images that were built here, loaded or pushed: perhaps the only copy.
    All,
}

/// What was taken away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Names that are gone.
    pub names: Vec<ImageRef>,
    /// Bytes that are free now.
    pub bytes: u64,
}

/// What has to stay.
#[derive(Default)]
struct Marks {
    blobs: BTreeSet<Digest>,
    layers: BTreeSet<Digest>,
}

// === impl ImageStore ===

impl ImageStore {
    /// Takes away what nobody needs. `in_use` are the manifests that functions run. Does nothing
    /// while a pull, push or build holds the store.
    ///
    /// # Errors
    /// [`ImageError::Busy`]; or the disk's, and what is gone by then is gone.
    pub async fn prune(
        self: &Arc<Self>,
        in_use: BTreeSet<Digest>,
        pruning: Pruning,
    ) -> Result<Pruned, ImageError> {
        let alone = self.alone()?;
        let store = Arc::clone(self);
        crate::registry::on_disk(move || {
            let pruned = store.prune_now(&in_use, pruning);
            drop(alone);
            pruned
        })
        .await
    }

    fn prune_now(&self, in_use: &BTreeSet<Digest>, pruning: Pruning) -> Result<Pruned, ImageError> {
        let mut pruned = Pruned::default();
        for tagged in self.names() {
            let unused = || !self.leads_to(&tagged.digest, in_use);
            let goes = match pruning {
                Pruning::Unreachable => false,
                Pruning::Pulled => tagged.origin == Origin::Pulled && unused(),
                Pruning::All => unused(),
            };
            if goes && self.untag(&tagged.name)? {
                pruned.names.push(tagged.name);
            }
        }
        let mut marks = Marks::default();
        for tagged in self.names() {
            self.mark(&tagged.digest, &mut marks.blobs);
        }
        for digest in self.foreign() {
            self.mark(&digest, &mut marks.blobs);
        }
        for digest in in_use {
            self.mark(digest, &mut marks.blobs);
            self.mark_layers(digest, &mut marks.layers);
        }
        let [blobs, partial, layers] = self.folders();
        pruned.bytes += sweep(blobs, &marks.blobs, GRACE)?;
        pruned.bytes += sweep(partial, &BTreeSet::new(), GRACE)?;
        // Those can be unpacked again from the blobs.
        pruned.bytes += sweep(layers, &marks.layers, Duration::ZERO)?;
        Ok(pruned)
    }

    /// Whether a name's manifest, or one below its index, is in use.
    fn leads_to(&self, digest: &Digest, in_use: &BTreeSet<Digest>) -> bool {
        in_use.contains(digest)
            || matches!(self.manifest(digest, ""), Ok(Manifest::Index(index)) if index
                .manifests()
                .iter()
                .any(|entry| digest_of(entry).is_ok_and(|digest| in_use.contains(&digest))))
    }

    /// A manifest that is gone or damaged marks only itself.
    pub(crate) fn mark(&self, digest: &Digest, blobs: &mut BTreeSet<Digest>) {
        if !blobs.insert(digest.clone()) {
            return;
        }
        let Ok(manifest) = self.manifest(digest, "") else {
            return;
        };
        let is_index = matches!(manifest, Manifest::Index(_));
        for part in manifest.parts() {
            match digest_of(part) {
                Ok(below) if is_index => self.mark(&below, blobs),
                Ok(blob) => {
                    blobs.insert(blob);
                }
                Err(_) => {}
            }
        }
    }

    fn mark_layers(&self, digest: &Digest, layers: &mut BTreeSet<Digest>) {
        if let Ok(image) = self.any_image(digest) {
            layers.extend(image.layers().into_iter().map(|(_, diff_id)| diff_id));
        }
    }
}

/// Removes files and folders that are named after digests, are not marked, and are older than
/// `grace`. Returns how many bytes those were.
fn sweep(folder: &Path, marked: &BTreeSet<Digest>, grace: Duration) -> Result<u64, ImageError> {
    let mut bytes = 0;
    let entries = fs::read_dir(folder).map_err(ImageError::io("cannot list", folder))?;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let digest = format!("sha256:{}", name.to_string_lossy()).parse::<Digest>();
        let Ok(data) = entry.metadata() else { continue };
        let age = data
            .modified()
            .ok()
            .and_then(|then| SystemTime::now().duration_since(then).ok());
        let young = age.is_none_or(|age| age < grace) && !grace.is_zero();
        if young || digest.is_ok_and(|digest| marked.contains(&digest)) {
            continue;
        }
        let path = entry.path();
        bytes += size_of(&path);
        let removed = if data.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.map_err(ImageError::io("cannot remove", &path))?;
    }
    Ok(bytes)
}

/// Bytes that a file or a folder with all in it takes on the disk.
pub(crate) fn size_of(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;

    let Ok(data) = fs::symlink_metadata(path) else {
        return 0;
    };
    let own = data.blocks() * 512 / data.nlink().max(1);
    if !data.is_dir() {
        return own;
    }
    let below = || -> io::Result<u64> {
        let entries = fs::read_dir(path)?;
        Ok(entries.flatten().map(|entry| size_of(&entry.path())).sum())
    };
    data.blocks() * 512 + below().unwrap_or(0)
}

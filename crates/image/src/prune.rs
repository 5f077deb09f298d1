//! Giving the disk back.

use std::{
    collections::BTreeSet,
    fs, io,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{
    Digest, ImageError, ImageRef, ImageStore, Manifest, Origin, blob::sync_folder, disk::on_disk,
    layers::UNFINISHED, manifest::digest_of,
};

/// Blobs so young are left alone: somebody may be pushing the manifest that goes with them.
const GRACE: Duration = Duration::from_secs(24 * 3600);

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

/// What functions need.
#[derive(Debug, Clone, Default)]
pub struct Needed {
    /// Manifests of their images.
    pub manifests: BTreeSet<Digest>,
    /// Layers of these that are unpacked, by the digest of their content.
    pub layers: BTreeSet<Digest>,
}

// === impl ImageStore ===

impl ImageStore {
    /// Takes away what nobody needs. `needed` is asked when nobody else is at work, on a thread that
    /// may wait for the disk. Does nothing while a pull, push, build or deploy holds the store.
    ///
    /// # Errors
    /// [`ImageError::Busy`]; that of `needed`, or a manifest that is damaged or cannot be read, since nobody knows
    /// what it needs, and nothing is taken away then; or the disk's, and what is gone by then is
    /// gone.
    pub async fn prune<E: From<ImageError> + Send + 'static>(
        self: &Arc<Self>,
        needed: impl FnOnce() -> Result<Needed, E> + Send + 'static,
        pruning: Pruning,
    ) -> Result<Pruned, E> {
        let alone = self.alone()?;
        let store = Arc::clone(self);
        on_disk(move || {
            let pruned = needed().and_then(|needed| Ok(store.prune_now(&needed, pruning)?));
            drop(alone);
            Ok(pruned)
        })
        .await?
    }

    fn prune_now(&self, needed: &Needed, pruning: Pruning) -> Result<Pruned, ImageError> {
        // First what is needed for sure: if that cannot be told, nothing goes.
        let mut blobs = BTreeSet::new();
        for digest in self.foreign().iter().chain(&needed.manifests) {
            self.mark(digest, &mut blobs)?;
        }
        let mut pruned = Pruned::default();
        for tagged in self.names() {
            let unused = || !self.leads_to(&tagged.digest, &needed.manifests);
            let goes = match pruning {
                Pruning::Unreachable => false,
                Pruning::Pulled => tagged.origin == Origin::Pulled && unused(),
                Pruning::All => unused(),
            };
            if goes && self.untag(&tagged.name)? {
                pruned.names.push(tagged.name);
            }
        }
        for tagged in self.names() {
            self.mark(&tagged.digest, &mut blobs)?;
        }
        let [blob_folder, partial, layers] = self.folders();
        pruned.bytes += sweep(blob_folder, &blobs, GRACE)?;
        pruned.bytes += sweep(partial, &BTreeSet::new(), GRACE)?;
        // Those can be unpacked again from the blobs.
        pruned.bytes += sweep(layers, &needed.layers, Duration::ZERO)?;
        Ok(pruned)
    }

    /// Whether a name's manifest, or one below its index, is in use.
    pub(crate) fn leads_to(&self, digest: &Digest, in_use: &BTreeSet<Digest>) -> bool {
        in_use.contains(digest)
            || matches!(self.manifest(digest, ""), Ok(Manifest::Index(index)) if index
                .manifests()
                .iter()
                .any(|entry| digest_of(entry).is_ok_and(|digest| in_use.contains(&digest))))
    }

    /// Marks a manifest and all below it. One that is gone marks only itself.
    pub(crate) fn mark(
        &self,
        digest: &Digest,
        blobs: &mut BTreeSet<Digest>,
    ) -> Result<(), ImageError> {
        if !blobs.insert(digest.clone()) {
            return Ok(());
        }
        let manifest = match self.manifest(digest, digest.as_str()) {
            Err(ImageError::NoBlob(_)) => return Ok(()),
            manifest => manifest?,
        };
        let is_index = matches!(manifest, Manifest::Index(_));
        for part in manifest.parts() {
            match digest_of(part) {
                Ok(below) if is_index => self.mark(&below, blobs)?,
                Ok(blob) => {
                    blobs.insert(blob);
                }
                Err(_) => {}
            }
        }
        Ok(())
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
            // Under its name a layer is whole, whenever this is cut short.
            let going = folder.join(format!("{UNFINISHED}{}", name.to_string_lossy()));
            fs::rename(&path, &going)
                .and_then(|()| sync_folder(folder))
                .and_then(|()| fs::remove_dir_all(&going))
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

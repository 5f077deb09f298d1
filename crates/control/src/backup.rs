//! Everything that must survive, as one archive.

mod archive;

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use hob_image::{Digest, ImageError, ImageStore, Irreplaceable, Needed};
use hob_model::{
    IoWords,
    backup::{
        BUNDLES, BackupManifest, DATABASE, FORMAT, IDENTITY, IMAGES, PKI, REGISTRIES, SECRETS,
    },
};
use hob_store::StoreError;
use tempfile::TempDir;
use thiserror::Error;
use tokio::sync::OwnedMutexGuard;

use crate::{Control, bundles::Hold, control::blocking};
use archive::{Archive, Hidden};

/// Files of the image store besides its blobs, where they are.
const IMAGE_FILES: [&str; 2] = ["oci-layout", "own-names"];

/// What a backup may go without.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Contents {
    /// Whether the key to the secrets is in it.
    pub(crate) identity: bool,
    /// Whether images are in it.
    pub(crate) images: bool,
}

/// Why there is no backup.
#[derive(Debug, Error)]
pub(crate) enum BackupError {
    /// Each takes room on the disk.
    #[error("another backup is under way: try again when it is done")]
    UnderWay,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error("cannot make a backup in {}: {}", path.display(), IoWords(source))]
    Io { path: PathBuf, source: io::Error },
}

/// A backup whose database is settled and whose files are still to be written.
pub(crate) struct Backup {
    data: PathBuf,
    manifest: BackupManifest,
    /// With the snapshot of the database in it.
    scratch: TempDir,
    images: Option<(Arc<ImageStore>, Irreplaceable)>,
    /// Nothing is pruned or collected while this lives.
    _hold: Hold,
    _turn: OwnedMutexGuard<()>,
}

// === impl Control ===

impl Control {
    /// Settles what the backup holds. What changes from here on is not in it. As long as it
    /// lives no image that it needs is pruned, no bundle is collected and no other backup begins.
    pub(crate) async fn begin_backup(&self, contents: Contents) -> Result<Backup, BackupError> {
        let turn = Arc::clone(&self.backups).try_lock_owned();
        let turn = turn.map_err(|_| BackupError::UnderWay)?;
        let hold = self.hold().await;
        // Once before and once after: what the snapshot needs was needed at one of the two.
        let before = self.needed_images::<StoreError>();
        let after = self.needed_images::<StoreError>();
        let (store, tmp) = (self.store.clone(), self.scratch());
        let images = Arc::clone(&self.images.store);
        let data = self.config.data.clone();
        blocking(&self.config.runtime, move || {
            let mut needed: Needed = before()?;
            let scratch =
                make_scratch(&tmp).map_err(|source| BackupError::Io { path: tmp, source })?;
            let held = store.snapshot(&scratch.path().join(DATABASE))?;
            let made_at = SystemTime::now();
            needed.manifests.extend(after()?.manifests);
            let kept = contents.images.then(|| images.irreplaceable(&needed));
            let kept = kept.transpose()?;
            let manifest = BackupManifest {
                format: FORMAT,
                hob: env!("CARGO_PKG_VERSION").into(),
                made_at,
                functions: held.functions,
                calls: held.calls,
                identity: contents.identity && data.join(IDENTITY).exists(),
                images: contents.images,
            };
            Ok(Backup {
                images: kept.map(|kept| (images, kept)),
                data,
                manifest,
                scratch,
                _hold: hold,
                _turn: turn,
            })
        })
        .await
    }
}

// === impl Backup ===

impl Backup {
    /// Writes the archive. A file that is gone by now is left out: only what was removed since the
    /// database was settled can be.
    ///
    /// # Errors
    /// When a file cannot be read or `out` fails; what is written by then has no end.
    pub(crate) fn write(self, out: impl Write) -> io::Result<()> {
        let mut archive = Archive::begin(out, &self.manifest)?;
        archive.private(DATABASE, &self.scratch.path().join(DATABASE))?;
        if self.manifest.identity {
            archive.private(IDENTITY, &self.data.join(IDENTITY))?;
        }
        archive.file(REGISTRIES, &self.data.join(REGISTRIES))?;
        archive.tree(PKI, &self.data.join(PKI), Hidden::Left)?;
        // A name that begins with a dot is a secret that is just being written.
        archive.tree(SECRETS, &self.data.join(SECRETS), Hidden::Left)?;
        archive.tree(BUNDLES, &self.data.join(BUNDLES), Hidden::Kept)?;
        if let Some((store, kept)) = &self.images {
            write_images(&mut archive, &self.data, store, kept)?;
        }
        archive.end(self.manifest.made_at)
    }
}

fn make_scratch(tmp: &Path) -> io::Result<TempDir> {
    fs::create_dir_all(tmp)?;
    tempfile::Builder::new().prefix("backup-").tempdir_in(tmp)
}

fn write_images(
    archive: &mut Archive<impl Write>,
    data: &Path,
    store: &ImageStore,
    kept: &Irreplaceable,
) -> io::Result<()> {
    let folder = data.join(IMAGES);
    for name in IMAGE_FILES {
        archive.file(&format!("{IMAGES}/{name}"), &folder.join(name))?;
    }
    archive.bytes(&format!("{IMAGES}/index.json"), &kept.index)?;
    for blob in &kept.blobs {
        archive.file(&blob_name(blob), &store.blob_path(blob))?;
    }
    Ok(())
}

fn blob_name(blob: &Digest) -> String {
    format!("{IMAGES}/blobs/sha256/{}", blob.hex())
}

//! Giving back the disk of bundles that nobody needs.

use std::{collections::BTreeSet, ffi::OsStr, fs, io, path::Path, sync::Arc};

use hob_model::{Revision, port::BuildError};
use tempfile::TempDir;

use super::builder::{Shared, on_disk};
use crate::remove::remove_tree;

/// Characters of a bundle's name, all of them hexadecimal digits.
const NAME_LENGTH: usize = 64;

/// Bundles that are out of the way and still on the disk.
#[derive(Default)]
struct SetAside {
    count: usize,
    /// Where they are, if there are any.
    folder: Option<TempDir>,
}

/// Takes away every bundle that is not `kept`, and in the background what is left of it.
pub(super) async fn collect(
    shared: &Arc<Shared>,
    kept: BTreeSet<String>,
) -> Result<usize, BuildError> {
    let own = Arc::clone(shared);
    let aside = on_disk("collection", move || own.set_aside(&kept)).await?;
    let (own, count) = (Arc::clone(shared), aside.count);
    drop(tokio::task::spawn_blocking(move || {
        if let Err(error) = own.clear(aside) {
            tracing::warn!(%error, "the disk of bundles could not be freed");
        }
    }));
    Ok(count)
}

// === impl Shared ===

impl Shared {
    /// Moves every bundle that is not `kept` out of the way at once, so that none is ever half
    /// there. What a crash leaves behind goes with the next sweep of `tmp`.
    fn set_aside(&self, kept: &BTreeSet<String>) -> Result<SetAside, BuildError> {
        let moved = self.move_aside(kept);
        moved.map_err(|error| BuildError::Host(format!("cannot collect bundles: {error}")))
    }

    fn move_aside(&self, kept: &BTreeSet<String>) -> io::Result<SetAside> {
        let mut aside = SetAside::default();
        for entry in entries(&self.bundles())? {
            let path = entry?.path();
            let name = path.file_stem().and_then(OsStr::to_str).unwrap_or_default();
            if !is_bundle(name) || kept.contains(name) {
                continue;
            }
            if path.extension().is_some() {
                fs::remove_file(&path)?;
                continue;
            }
            let folder = match aside.folder {
                Some(folder) => folder,
                None => self.folder_of_the_gone()?,
            };
            let moved = fs::rename(&path, folder.path().join(name));
            aside.folder = Some(folder);
            moved?;
            aside.count += 1;
        }
        Ok(aside)
    }

    fn folder_of_the_gone(&self) -> io::Result<TempDir> {
        let tmp = self.config.data.join("tmp");
        fs::create_dir_all(&tmp)?;
        tempfile::Builder::new().prefix("gone-").tempdir_in(tmp)
    }

    /// Frees the disk, and forgets the builds that made what is gone.
    fn clear(&self, aside: SetAside) -> io::Result<()> {
        if let Some(folder) = aside.folder {
            remove_tree(&folder.keep())?;
        }
        for entry in entries(&self.sources())? {
            let record = entry?.path();
            let built = fs::read(&record).ok();
            let built = built.and_then(|json| serde_json::from_slice::<Revision>(&json).ok());
            let here = |built: Revision| self.bundles().join(built.bundle).is_dir();
            if !built.is_some_and(here) {
                fs::remove_file(&record)?;
            }
        }
        Ok(())
    }
}

/// Hidden files are still being written.
fn entries(folder: &Path) -> io::Result<impl Iterator<Item = io::Result<fs::DirEntry>>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        entries => Some(entries?),
    };
    let hidden = |entry: &io::Result<fs::DirEntry>| {
        let name = entry.as_ref().map(fs::DirEntry::file_name);
        name.is_ok_and(|name| name.as_encoded_bytes().starts_with(b"."))
    };
    Ok(entries
        .into_iter()
        .flatten()
        .filter(move |entry| !hidden(entry)))
}

fn is_bundle(name: &str) -> bool {
    name.len() == NAME_LENGTH && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

//! Files that are either as they were or as they should be, whenever the power fails.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use crate::StoreError;

/// Only the owner reads and writes.
const PRIVATE_FILE: u32 = 0o600;
/// Only the owner enters.
const PRIVATE_FOLDER: u32 = 0o700;

/// Puts `bytes` in place of `folder/name`, by way of `folder/draft`, and returns when the disk
/// has it. One writer per folder at a time: a draft left by a crash is simply written over.
pub(crate) fn replace(
    folder: &Path,
    name: &str,
    draft: &str,
    bytes: &[u8],
) -> Result<(), StoreError> {
    let (target, draft) = (folder.join(name), folder.join(draft));
    let written = write_private(&draft, bytes).and_then(|()| fs::rename(&draft, &target));
    if let Err(error) = written {
        // Best effort: the error below is what matters, and the next write replaces the draft.
        let _ = fs::remove_file(&draft);
        return Err(StoreError::io("write", &target)(error));
    }
    sync_folder(folder)
}

/// Deletes a file for good; false when it was not there.
pub(crate) fn remove(folder: &Path, name: &str) -> Result<bool, StoreError> {
    let path = folder.join(name);
    match fs::remove_file(&path) {
        Ok(()) => sync_folder(folder).map(|()| true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StoreError::io("remove", &path)(error)),
    }
}

/// Makes a folder that only its owner enters, unless it is there.
pub(crate) fn private_folder(path: &Path) -> Result<(), StoreError> {
    if path.is_dir() {
        return Ok(());
    }
    let made = DirBuilder::new()
        .recursive(true)
        .mode(PRIVATE_FOLDER)
        .create(path);
    made.map_err(StoreError::io("make folder", path))?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Makes a file that only its owner reads, unless it is there.
pub(crate) fn private_file(path: &Path) -> Result<File, StoreError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(PRIVATE_FILE)
        .open(path)
        .map_err(StoreError::io("open", path))
}

/// A file's name is on the disk only when its folder is.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(StoreError::io("sync folder", folder))
}

fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(PRIVATE_FILE)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

//! Secrets of a build as files in memory, gone with it whatever happens.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use hob_model::port::{BuildError, SecretBytes};
use tempfile::TempDir;

use crate::remove::remove_tree;

/// In the data directory, where the server keeps secrets in the clear: a folder on tmpfs.
const FOLDER: &str = "run/build-secrets";

/// `<data>/run/build-secrets/<random>`; removed on drop. There is none for a build without secrets.
#[derive(Debug)]
pub(crate) struct SecretFiles {
    folder: Option<TempDir>,
    ids: Vec<String>,
}

// === impl SecretFiles ===

impl SecretFiles {
    /// Writes each value to a file that only this user reads.
    pub(crate) fn write(
        data: &Path,
        secrets: &BTreeMap<String, SecretBytes>,
    ) -> Result<Self, BuildError> {
        let folder = match secrets.is_empty() {
            true => None,
            false => Some(write(&data.join(FOLDER), secrets).map_err(|error| {
                BuildError::Host(format!("secrets of the build cannot be kept: {error}"))
            })?),
        };
        let ids = secrets.keys().cloned().collect();
        Ok(Self { folder, ids })
    }

    /// As builders of Dockerfiles take them.
    pub(crate) fn options(&self) -> impl Iterator<Item = String> + '_ {
        let folder = self.folder.as_ref().map_or(Path::new(""), TempDir::path);
        let numbered = self.ids.iter().enumerate();
        numbered.flat_map(move |(number, id)| {
            let file = file(folder, number);
            ["--secret".into(), format!("id={id},src={}", file.display())]
        })
    }

    /// Removes what an earlier server left that was killed.
    pub(crate) fn sweep(data: &Path) -> io::Result<()> {
        let folder = data.join(FOLDER);
        match folder.symlink_metadata() {
            Ok(_) => remove_tree(&folder),
            Err(_) => Ok(()),
        }
    }
}

fn write(above: &Path, secrets: &BTreeMap<String, SecretBytes>) -> io::Result<TempDir> {
    let mut private = fs::DirBuilder::new();
    private.mode(0o700).recursive(true).create(above)?;
    let folder = tempfile::tempdir_in(above.canonicalize()?)?;
    for (number, value) in secrets.values().enumerate() {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(file(folder.path(), number))?;
        file.write_all(value.expose())?;
    }
    Ok(folder)
}

/// A number, since an id says nothing of what a file may be called.
fn file(folder: &Path, number: usize) -> PathBuf {
    folder.join(number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_there_for_as_long_as_they_are_held() {
        let data = tempfile::tempdir().expect("temp dir");
        let secret = SecretBytes::new(b"Kwam".to_vec());
        let secrets = BTreeMap::from([("api.key".to_owned(), secret)]);
        let files = SecretFiles::write(data.path(), &secrets).expect("writes");
        let options: Vec<_> = files.options().collect();
        let (_, file) = options[1].split_once("id=api.key,src=").expect("an id");
        assert_eq!(options[0], "--secret");
        assert_eq!(fs::read(file).expect("a file"), b"Kwam");
        drop(files);
        assert!(!Path::new(file).exists());
        SecretFiles::sweep(data.path()).expect("sweeps");
        SecretFiles::sweep(data.path()).expect("sweeps nothing");
        assert!(!data.path().join(FOLDER).exists());
        let none = SecretFiles::write(data.path(), &BTreeMap::new()).expect("writes");
        assert_eq!(none.options().count(), 0);
        assert!(!data.path().join(FOLDER).exists());
    }
}

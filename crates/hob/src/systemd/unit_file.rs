use std::{
    fs,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use crate::exit::Failure;

/// How the first line of a file begins that hob wrote; a checksum of all other lines follows.
const MARK: &str = "# Written by `hob install`; keep changes in a drop-in (`systemctl edit`). ";
/// Hexadecimal digits of the checksum.
const DIGITS: usize = 16;
/// Units are no secret.
const MODE: u32 = 0o644;

/// A unit file of hob's, which its owner may have changed since.
#[derive(Debug)]
pub(crate) struct UnitFile {
    path: PathBuf,
    /// What is in it; `None` when it is not there.
    text: Option<String>,
}

// === impl UnitFile ===

impl UnitFile {
    /// Reads what is there.
    ///
    /// # Errors
    /// When it cannot be read, or is not as hob wrote it.
    pub(crate) fn read(folder: &Path, name: &str) -> anyhow::Result<Self> {
        let path = folder.join(name);
        let shown = path.display();
        let text = match fs::read_to_string(&path) {
            Ok(text) if is_own(&text) => Some(text),
            Ok(_) => {
                return Err(Failure::failed(format!(
                    "{shown} is not as `hob install` writes it, so it is left alone: keep your changes with `systemctl edit {name}`, remove the file, and try again"
                ))
                .into());
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(Failure::failed(format!("{shown}: {error}")).into()),
        };
        Ok(Self { path, text })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What is in it; `None` when it is not there.
    pub(crate) fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// Has it hold `text`. Tells whether that is a change.
    ///
    /// # Errors
    /// When it cannot be written; what was there is there still.
    pub(crate) fn write(&self, text: &str) -> anyhow::Result<bool> {
        let text = signed(text);
        if self.text.as_deref() == Some(&text) {
            return Ok(false);
        }
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let write = || {
            fs::create_dir_all(folder)?;
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(text.as_bytes())?;
            file.as_file()
                .set_permissions(fs::Permissions::from_mode(MODE))?;
            file.as_file().sync_all()?;
            file.persist(&self.path)?;
            io::Result::Ok(())
        };
        write().map_err(|error| {
            Failure::failed(format!("cannot write {}: {error}", self.path.display()))
        })?;
        Ok(true)
    }

    /// Takes it away.
    ///
    /// # Errors
    /// When that is not possible.
    pub(crate) fn remove(&self) -> anyhow::Result<()> {
        fs::remove_file(&self.path).map_err(|error| {
            Failure::failed(format!("cannot remove {}: {error}", self.path.display())).into()
        })
    }
}

fn signed(text: &str) -> String {
    format!("{MARK}{}\n{text}", checksum(text))
}

fn is_own(text: &str) -> bool {
    let signed = text.strip_prefix(MARK);
    let parts = signed.and_then(|signed| signed.split_once('\n'));
    parts.is_some_and(|(sum, rest)| sum == checksum(rest))
}

fn checksum(text: &str) -> String {
    let hex: String = Sha256::digest(text)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    hex[..DIGITS].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_somebody_changed_is_not_ours() {
        let text = signed("[Unit]\n");
        assert!(is_own(&text));
        assert!(!is_own(&format!("{text}[Service]\n")));
        assert!(!is_own("[Unit]\n"));
        assert!(!is_own(""));
    }
}

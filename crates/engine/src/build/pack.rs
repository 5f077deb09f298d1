//! A folder as a gzip-compressed tar: what `hob deploy` sends.

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

use flate2::{Compression, write::GzEncoder};
use hob_model::port::BuildError;
use ignore::WalkBuilder;
use tar::{Builder, HeaderMode};

/// What went into an archive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Packed {
    /// Files, folders and links.
    pub entries: usize,
    /// Bytes of all files before compression.
    pub bytes: u64,
}

/// Names that are never packed, whatever the ignore files say.
const NEVER: [&str; 2] = [".git", ".hobignore"];

/// Writes the content of `folder` to `out`, without what `.gitignore` and `.hobignore` name. The
/// same folder always gives the same bytes.
///
/// # Errors
/// `Refused` for what a function cannot hold, such as a socket; `Host` when reading or writing fails.
pub fn pack(folder: &Path, out: impl Write) -> Result<Packed, BuildError> {
    if !folder.is_dir() {
        return Err(BuildError::Refused(format!(
            "`{}` is not a folder",
            folder.display()
        )));
    }
    let host =
        |error: io::Error| BuildError::Host(format!("cannot pack `{}`: {error}", folder.display()));
    let mut archive = Builder::new(GzEncoder::new(out, Compression::fast()));
    archive.mode(HeaderMode::Deterministic);
    archive.follow_symlinks(false);
    let mut packed = Packed::default();
    for entry in walk(folder) {
        let entry = entry.map_err(|error| host(io::Error::other(error)))?;
        let name = entry.path().strip_prefix(folder).unwrap_or(entry.path());
        if name.as_os_str().is_empty() {
            continue;
        }
        let data = fs::symlink_metadata(entry.path()).map_err(host)?;
        if !(data.is_dir() || data.is_file() || data.is_symlink()) {
            return Err(BuildError::Refused(format!(
                "`{}` is neither file, folder nor link: remove it, or name it in .hobignore",
                name.display()
            )));
        }
        archive
            .append_path_with_name(entry.path(), name)
            .map_err(host)?;
        packed.entries += 1;
        packed.bytes += if data.is_file() { data.len() } else { 0 };
    }
    let compressed = archive.into_inner().map_err(host)?;
    compressed.finish().map_err(host)?.flush().map_err(host)?;
    Ok(packed)
}

/// Everything in `folder` that is not ignored, in an order that does not depend on the machine.
fn walk(folder: &Path) -> ignore::Walk {
    WalkBuilder::new(folder)
        .hidden(false)
        .ignore(false)
        .git_global(false)
        .git_exclude(false)
        .require_git(false)
        .add_custom_ignore_filename(".hobignore")
        .filter_entry(|entry| {
            entry.depth() == 0 || !NEVER.iter().any(|name| entry.file_name() == *name)
        })
        .sort_by_file_name(|a, b| a.cmp(b))
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_files_stay_at_home_and_bytes_are_stable() {
        let folder = tempfile::tempdir().expect("temp dir");
        for (name, text) in [
            (".gitignore", "*.log\n"),
            (".hobignore", "big/\n"),
            ("a.log", "x"),
            ("handler.py", "y"),
            ("big/file", "z"),
            (".git/config", "g"),
            (".env", "kept"),
        ] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("has one")).expect("writable");
            fs::write(path, text).expect("writable");
        }
        let (mut one, mut two) = (Vec::new(), Vec::new());
        pack(folder.path(), &mut one).expect("packs");
        let packed = pack(folder.path(), &mut two).expect("packs");
        assert_eq!(one, two);
        assert_eq!(
            packed,
            Packed {
                entries: 3,
                bytes: 11
            }
        );
    }
}

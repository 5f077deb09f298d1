//! What is in an archive: each file becomes a blob as it passes by, since what needs it may come
//! first or last.

use std::{
    collections::HashMap,
    io::{self, Read},
};

use tar::{Archive, Entry, EntryType};

use super::{ArchiveError, DOCKER, INDEX, LAYOUT, metered::Metered, read_text};
use crate::{Digest, Hasher, ImageError, ImageStore, MANIFEST_MAX};

/// Files, folders and links of an archive.
const ENTRIES_MAX: usize = 10_000;
/// Longest path in it, in bytes.
const PATH_MAX: usize = 512;
/// Links that lead to links.
const LINKS_MAX: usize = 8;
/// Folder of blobs in an OCI layout.
const BLOBS: &str = "blobs/";

/// The files of an archive, by their paths.
#[derive(Default)]
pub(super) struct Files {
    /// Files that tell of others, in memory.
    texts: HashMap<String, Vec<u8>>,
    /// Files that are blobs of the store now.
    kept: HashMap<String, Kept>,
    /// Links, and where they lead.
    links: HashMap<String, String>,
    entries: usize,
}

/// A file that is a blob of the store now.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) digest: Digest,
    pub(super) size: u64,
}

/// What to do with a file.
enum Use {
    Text,
    Blob(Digest),
    Part,
    Skip,
}

// === impl Files ===

impl Files {
    /// Reads an archive to its end.
    pub(super) fn read(store: &ImageStore, input: impl Read) -> Result<Self, ImageError> {
        let (input, allowance) = Metered::new(input);
        let mut archive = Archive::new(input);
        let mut files = Self::default();
        for entry in archive.entries().map_err(ArchiveError::broken)? {
            let mut entry = entry.map_err(ArchiveError::broken)?;
            allowance.file(entry.size());
            files.add(store, &mut entry)?;
            allowance.header();
        }
        Ok(files)
    }

    /// One of the files that tell of others.
    pub(super) fn text(&self, path: &str) -> Option<&[u8]> {
        self.texts.get(path).map(Vec::as_slice)
    }

    /// The file at a path that the archive itself names.
    pub(super) fn kept(&self, path: &str) -> Result<&Kept, ArchiveError> {
        let missing = || ArchiveError::NoFile(path.chars().take(PATH_MAX).collect());
        let mut at = clean("", path).map_err(|_| missing())?;
        for _ in 0..LINKS_MAX {
            match (self.kept.get(&at), self.links.get(&at)) {
                (Some(kept), _) => return Ok(kept),
                (None, Some(target)) => at.clone_from(target),
                (None, None) => break,
            }
        }
        Err(missing())
    }

    fn add<R: Read>(
        &mut self,
        store: &ImageStore,
        entry: &mut Entry<'_, R>,
    ) -> Result<(), ImageError> {
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            return skip(entry); // says nothing about files
        }
        self.entries += 1;
        if self.entries > ENTRIES_MAX {
            return Err(ArchiveError::Entries(ENTRIES_MAX).into());
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let shown: String = name.chars().take(PATH_MAX).collect();
        let refuse = |rule: &str| ArchiveError::entry(&shown, rule);
        let path = clean("", &name).map_err(refuse)?;
        match kind {
            EntryType::Directory => skip(entry),
            _ if self.has(&path) => Err(refuse("is there twice").into()),
            EntryType::Regular | EntryType::Continuous => self.file(store, entry, path, &shown),
            EntryType::Symlink | EntryType::Link => {
                let target = link(entry, &path).map_err(refuse)?;
                self.links.insert(path, target);
                Ok(())
            }
            EntryType::Block | EntryType::Char => Err(refuse("is a device node").into()),
            EntryType::Fifo => Err(refuse("is a named pipe").into()),
            _ => Err(refuse("is of a kind that no image has").into()),
        }
    }

    fn has(&self, path: &str) -> bool {
        self.texts.contains_key(path)
            || self.kept.contains_key(path)
            || self.links.contains_key(path)
    }

    fn file<R: Read>(
        &mut self,
        store: &ImageStore,
        entry: &mut Entry<'_, R>,
        path: String,
        shown: &str,
    ) -> Result<(), ImageError> {
        let wanted = match use_of(&path).map_err(|rule| ArchiveError::entry(shown, rule))? {
            Use::Skip => return skip(entry),
            Use::Text => {
                let text = read_text(&mut *entry).map_err(ArchiveError::broken)?;
                if text.len() as u64 > MANIFEST_MAX {
                    let rule = format!("has more than {MANIFEST_MAX} bytes");
                    return Err(ArchiveError::entry(shown, rule).into());
                }
                whole(text.len() as u64, entry.size())?;
                self.texts.insert(path, text);
                return Ok(());
            }
            Use::Blob(digest) => Some(digest),
            Use::Part => None,
        };
        let kept = keep(store, entry, shown, wanted)?;
        self.kept.insert(path, kept);
        Ok(())
    }
}

/// Where a link at `path` leads, from the archive's top.
fn link<R: Read>(entry: &Entry<'_, R>, path: &str) -> Result<String, &'static str> {
    let target = entry.link_name_bytes().unwrap_or_default();
    let target = std::str::from_utf8(&target).unwrap_or_default();
    // A symlink starts at its own folder, a hard link at the archive's top.
    let from = match entry.header().entry_type() {
        EntryType::Link => "",
        _ => path.rsplit_once('/').map_or("", |(folder, _)| folder),
    };
    clean(from, target).map_err(|_| "is a link that leads out of it")
}

/// Makes a blob of a file; of one that is here already it only checks the digest.
fn keep<R: Read>(
    store: &ImageStore,
    entry: &mut Entry<'_, R>,
    shown: &str,
    wanted: Option<Digest>,
) -> Result<Kept, ImageError> {
    let size = entry.size();
    if let Some(wanted) = wanted.clone().filter(|it| store.touch_blob(it).is_some()) {
        let mut hasher = Hasher::new(io::sink());
        let read = io::copy(entry, &mut hasher).map_err(ArchiveError::broken)?;
        whole(read, size)?;
        let (found, size, _) = hasher.finish();
        if found != wanted {
            return Err(ImageError::Damaged { wanted, found });
        }
        return Ok(Kept {
            digest: found,
            size,
        });
    }
    store.check_room(&format!("archive entry `{shown}`"), size)?;
    let mut blob = store.new_blob()?;
    let read = io::copy(entry, &mut blob).map_err(ArchiveError::broken)?;
    whole(read, size)?;
    let (digest, size) = blob.commit(wanted.as_ref())?;
    Ok(Kept { digest, size })
}

fn skip<R: Read>(entry: &mut Entry<'_, R>) -> Result<(), ImageError> {
    let skipped = io::copy(entry, &mut io::sink()).map_err(ArchiveError::broken)?;
    whole(skipped, entry.size()).map_err(Into::into)
}

fn whole(read: u64, size: u64) -> Result<(), ArchiveError> {
    if read == size {
        return Ok(());
    }
    Err(ArchiveError::Broken(io::ErrorKind::UnexpectedEof.into()))
}

fn use_of(path: &str) -> Result<Use, &'static str> {
    if [INDEX, LAYOUT, DOCKER].contains(&path) {
        return Ok(Use::Text);
    }
    if let Some(blob) = path.strip_prefix(BLOBS) {
        let digest = blob.replacen('/', ":", 1).parse();
        let digest = digest.map_err(|_| "must be named by a SHA-256 in lower-case hex");
        return digest.map(Use::Blob);
    }
    // Of `docker save`: `HEX.json` and `HEX.tar`, or `HEX/layer.tar` of older ones.
    let part = path.ends_with(".json") || path.ends_with(".tar");
    Ok(if part { Use::Part } else { Use::Skip })
}

/// The path from the archive's top, without detours.
fn clean(from: &str, path: &str) -> Result<String, &'static str> {
    if path.len() > PATH_MAX {
        return Err("has too long a path");
    }
    if path.starts_with('/') {
        return Err("has an absolute path");
    }
    let mut parts: Vec<&str> = from.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if from.is_empty() => return Err("has `..` in its path"),
            ".." => {
                parts.pop().ok_or("leads out of the archive")?;
            }
            part if part.contains('\0') => return Err("has a NUL in its path"),
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        assert_eq!(clean("", "./blobs//sha256/x"), Ok("blobs/sha256/x".into()));
        assert_eq!(clean("a", "../b.tar"), Ok("b.tar".into()));
        for (from, path) in [("", "/etc"), ("", "a/../b"), ("a", "../../b"), ("", "a\0b")] {
            assert!(clean(from, path).is_err(), "{from} {path}");
        }
        assert!(clean("", &"a".repeat(PATH_MAX + 1)).is_err());
    }
}

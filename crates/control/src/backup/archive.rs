use std::{
    fs::{self, File, Metadata},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use flate2::{Compression, write::GzEncoder};
use hob_model::backup::{BackupEnd, BackupManifest, END, MANIFEST};
use rustix::fs::OFlags;
use serde::Serialize;
use tar::{Builder, EntryType, Header};

/// Only the owner reads and writes.
const PRIVATE: u32 = 0o600;
/// Rights of files that say nothing secret.
const PLAIN: u32 = 0o644;
/// What of a file's mode is kept: rights, and no setuid.
const RIGHTS: u32 = 0o777;

/// A backup that is being written. Owners are left out: whoever restores it owns it.
pub(super) struct Archive<W: Write> {
    tar: Builder<GzEncoder<W>>,
    entries: u64,
}

/// What becomes of files whose names begin with a dot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hidden {
    Kept,
    Left,
}

/// Exactly so many bytes of a file that may grow or shrink.
struct Exactly {
    file: File,
    left: u64,
}

// === impl Archive ===

impl<W: Write> Archive<W> {
    pub(super) fn begin(out: W, manifest: &BackupManifest) -> io::Result<Self> {
        let mut archive = Self {
            tar: Builder::new(GzEncoder::new(out, Compression::fast())),
            entries: 0,
        };
        archive.json(MANIFEST, manifest, manifest.made_at)?;
        Ok(archive)
    }

    /// A file, if it is there.
    pub(super) fn file(&mut self, name: &str, path: &Path) -> io::Result<()> {
        self.open_file(Path::new(name), path, RIGHTS)
    }

    /// A file, if it is there, that nobody but its owner will read.
    pub(super) fn private(&mut self, name: &str, path: &Path) -> io::Result<()> {
        self.open_file(Path::new(name), path, PRIVATE)
    }

    /// A small file.
    pub(super) fn bytes(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut header = header(EntryType::Regular, PLAIN, 0);
        header.set_size(bytes.len() as u64);
        self.entries += 1;
        self.tar.append_data(&mut header, name, bytes)
    }

    /// A folder, if it is there, with all that is in it, sorted by name.
    pub(super) fn tree(&mut self, name: &str, path: &Path, hidden: Hidden) -> io::Result<()> {
        // A list, and not calls of itself: nobody knows how deep a bundle is.
        let mut open = vec![(PathBuf::from(name), path.to_owned())];
        while let Some((name, path)) = open.pop() {
            let Some(data) = there(fs::symlink_metadata(&path)).map_err(named(&path))? else {
                continue;
            };
            let kind = data.file_type();
            if kind.is_dir() {
                self.folder(&name, &data)?;
                open.extend(children(&name, &path, hidden)?);
            } else if kind.is_symlink() {
                self.link(&name, &path, &data)?;
            } else if kind.is_file() {
                self.open_file(&name, &path, RIGHTS)?;
            }
        }
        Ok(())
    }

    /// Writes the end and everything that is still on its way.
    pub(super) fn end(mut self, made_at: SystemTime) -> io::Result<()> {
        let end = BackupEnd {
            entries: self.entries,
        };
        self.json(END, &end, made_at)?;
        self.tar.into_inner()?.finish()?.flush()
    }

    fn json(&mut self, name: &str, value: &impl Serialize, time: SystemTime) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(value)?;
        text.push(b'\n');
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut header = header(EntryType::Regular, PLAIN, since.as_secs());
        header.set_size(text.len() as u64);
        self.entries += 1;
        self.tar.append_data(&mut header, name, &text[..])
    }

    fn folder(&mut self, name: &Path, data: &Metadata) -> io::Result<()> {
        let mut header = header(EntryType::Directory, data.mode() & RIGHTS, mtime(data));
        self.entries += 1;
        self.tar.append_data(&mut header, name, io::empty())
    }

    fn link(&mut self, name: &Path, path: &Path, data: &Metadata) -> io::Result<()> {
        let Some(to) = there(fs::read_link(path)).map_err(named(path))? else {
            return Ok(());
        };
        let mut header = header(EntryType::Symlink, RIGHTS, mtime(data));
        self.entries += 1;
        self.tar.append_link(&mut header, name, to)
    }

    fn open_file(&mut self, name: &Path, path: &Path, rights: u32) -> io::Result<()> {
        let mut options = File::options();
        options
            .read(true)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
        let Some(file) = there(options.open(path)).map_err(named(path))? else {
            return Ok(());
        };
        // Of the file that is open, whatever has its name by now.
        let data = file.metadata().map_err(named(path))?;
        let mut header = header(EntryType::Regular, data.mode() & rights, mtime(&data));
        header.set_size(data.len());
        let left = data.len();
        self.entries += 1;
        self.tar
            .append_data(&mut header, name, Exactly { file, left })
            .map_err(named(path))
    }
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX);
        let room = room.min(buffer.len());
        let count = self.file.read(&mut buffer[..room])?;
        if count == 0 && room > 0 {
            return Err(io::Error::other("it became shorter while it was read"));
        }
        self.left -= count as u64;
        Ok(count)
    }
}

/// In the order in which a stack gives them back sorted.
fn children(
    name: &Path,
    path: &Path,
    hidden: Hidden,
) -> io::Result<impl Iterator<Item = (PathBuf, PathBuf)>> {
    let mut names = Vec::new();
    if let Some(entries) = there(fs::read_dir(path)).map_err(named(path))? {
        for entry in entries {
            let child = entry.map_err(named(path))?.file_name();
            if hidden == Hidden::Kept || !child.as_encoded_bytes().starts_with(b".") {
                names.push(child);
            }
        }
    }
    names.sort_unstable_by(|one, two| two.cmp(one));
    let join = move |child| (name.join(&child), path.join(&child));
    Ok(names.into_iter().map(join).collect::<Vec<_>>().into_iter())
}

fn header(kind: EntryType, mode: u32, mtime: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(mtime);
    header.set_size(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn mtime(data: &Metadata) -> u64 {
    u64::try_from(data.mtime()).unwrap_or(0)
}

/// `None` for what is gone.
fn there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

fn named(path: &Path) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("`{}`: {error}", path.display()))
}

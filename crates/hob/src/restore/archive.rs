use std::{
    fs::{self, OpenOptions, Permissions},
    io::{self, BufReader, Read},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use flate2::read::GzDecoder;
use hob_image::{Allowance, Metered};
use hob_model::{
    IoWords,
    backup::{
        BUNDLES, BackupEnd, BackupManifest, DATABASE, END, FORMAT, IDENTITY, IMAGES, MANIFEST,
        MANIFEST_MAX, PKI, SECRETS, TOP,
    },
};
use serde::de::DeserializeOwned;
use tar::{Entry, EntryType};

use super::place::Place;
use crate::{exit::Failure, unpack};

/// Most entries that a backup may hold.
const ENTRIES_MAX: u64 = 5_000_000;
/// Most bytes that may follow the last entry: the end of a tar is zeros to a round length.
const PADDING_MAX: u64 = 1 << 20;
/// Rights of what only its owner may read.
const PRIVATE: u32 = 0o700;
/// Rights of all others: nobody else writes, and nothing runs as somebody else.
const PLAIN: u32 = 0o755;

/// What of a backup is in its place.
struct Unpacking<'a> {
    folder: &'a Path,
    entries: u64,
    /// Made when all files are there, so that none is written through one of them.
    links: Vec<(PathBuf, PathBuf)>,
    ended: bool,
}

/// Reads the backup `source`. Once its first entry is understood, `place` says where all others
/// are written, and nothing is written outside of that.
///
/// # Errors
/// One line: it is no backup, one of a newer hob, damaged or cut short, or holds an entry that is
/// refused; or `place`'s.
pub(super) fn unpack(
    source: impl Read,
    place: impl FnOnce() -> anyhow::Result<Place>,
) -> anyhow::Result<(BackupManifest, Place)> {
    let (source, allowance) = Metered::new(GzDecoder::new(BufReader::new(source)));
    let mut tar = tar::Archive::new(source);
    let mut entries = tar.entries()?;
    let manifest = match entries.next() {
        None => return Err(no_backup().into()),
        Some(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Err(cut_short().into());
        }
        // Not compressed, or not a tar.
        Some(Err(_)) => return Err(no_backup().into()),
        Some(Ok(entry)) => manifest(entry, &allowance)?,
    };
    allowance.header();
    let place = place()?;
    let mut unpacking = Unpacking {
        folder: place.folder(),
        entries: 1,
        links: Vec::new(),
        ended: false,
    };
    for entry in entries {
        let mut entry = entry.map_err(|error| broken(&error))?;
        allowance.file(entry.size());
        unpacking.take(&mut entry)?;
        allowance.header();
    }
    let Unpacking { links, ended, .. } = unpacking;
    if !ended {
        return Err(cut_short().into());
    }
    // Behind its end a compressed file says whether all of it was right.
    allowance.file(PADDING_MAX);
    io::copy(&mut tar.into_inner(), &mut io::sink()).map_err(|error| broken(&error))?;
    unpack::make_links(links, place.folder())?;
    if !place.folder().join(DATABASE).is_file() {
        return Err(Failure::failed(format!("the backup holds no {DATABASE}")).into());
    }
    Ok((manifest, place))
}

fn manifest(
    mut entry: Entry<'_, impl Read>,
    allowance: &Allowance,
) -> anyhow::Result<BackupManifest> {
    if *entry.path_bytes() != *MANIFEST.as_bytes() {
        return Err(no_backup().into());
    }
    allowance.file(entry.size());
    let manifest: serde_json::Value = json(&mut entry).map_err(|error| broken(&error))?;
    // First, since a newer one may be of another shape.
    let format = manifest["format"].as_u64().unwrap_or(0);
    if format != u64::from(FORMAT) {
        let of = manifest["hob"].as_str().unwrap_or("of its time");
        return Err(Failure::failed(format!(
            "this backup has format {format}, and this hob knows {FORMAT}: restore it with hob {of} or later"
        ))
        .into());
    }
    serde_json::from_value(manifest)
        .map_err(|error| Failure::failed(format!("{MANIFEST} of the backup: {error}")).into())
}

// === impl Unpacking ===

impl Unpacking<'_> {
    fn take(&mut self, entry: &mut Entry<'_, impl Read>) -> anyhow::Result<()> {
        let name = entry.path()?.into_owned();
        let inside = unpack::inside(&name)?;
        if self.ended {
            anyhow::bail!("the backup goes on behind its end, with {}", name.display());
        }
        if inside == Path::new(END) {
            let end: BackupEnd = json(entry).map_err(|error| broken(&error))?;
            self.ended = true;
            return if end.entries == self.entries {
                Ok(())
            } else {
                Err(cut_short().into())
            };
        }
        self.entries += 1;
        if self.entries > ENTRIES_MAX {
            anyhow::bail!("the backup holds more than {ENTRIES_MAX} entries");
        }
        let refuse = |why: &str| Failure::failed(format!("entry {} {why}", name.display()));
        let mut parts = inside.iter();
        let top = parts.next().and_then(|top| top.to_str()).unwrap_or("");
        if !TOP.contains(&top) {
            return Err(refuse("is no part of a backup").into());
        }
        let is_folder = [BUNDLES, IMAGES, PKI, SECRETS].contains(&top);
        let below = parts.next().is_some();
        let rights = match top {
            DATABASE | IDENTITY | SECRETS => PRIVATE,
            _ => PLAIN,
        } & entry.header().mode()?;
        let path = self.folder.join(&inside);
        match entry.header().entry_type() {
            EntryType::Directory if is_folder => make_folder(&path, rights)?,
            EntryType::Regular if is_folder == below => write_file(entry, &path, rights)?,
            EntryType::Symlink if top == BUNDLES && below => {
                let to = entry.link_name()?.unwrap_or_default().into_owned();
                self.links.push((path, to));
            }
            _ => return Err(refuse("is of a kind that has no place there").into()),
        }
        Ok(())
    }
}

fn make_folder(path: &Path, rights: u32) -> io::Result<()> {
    fs::create_dir_all(path)?;
    fs::set_permissions(path, Permissions::from_mode(rights | 0o700))
}

fn write_file(entry: &mut Entry<'_, impl Read>, path: &Path, rights: u32) -> anyhow::Result<()> {
    unpack::make_parent(path)?;
    let mtime = entry.header().mtime()?;
    // `create_new` also refuses a second entry of the same name.
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| anyhow::anyhow!("cannot write {}: {}", path.display(), IoWords(&error)))?;
    io::copy(entry, &mut file).map_err(|error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Failure::failed(format!(
            "the disk is full: {} needs more room than there is",
            path.display()
        )),
        _ => broken(&error),
    })?;
    file.set_permissions(Permissions::from_mode(rights | 0o600))?;
    // Browsers ask about the files of a site by their time.
    if let Some(time) = UNIX_EPOCH.checked_add(Duration::from_secs(mtime)) {
        file.set_modified(time)?;
    }
    Ok(())
}

fn json<T: DeserializeOwned>(entry: impl Read) -> io::Result<T> {
    let mut text = Vec::new();
    entry.take(MANIFEST_MAX).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

fn broken(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => cut_short(),
        _ => Failure::failed(format!("the backup is damaged: {error}")),
    }
}

fn no_backup() -> Failure {
    Failure::failed("this is no backup of hob's: `hob backup FILE` makes one")
}

fn cut_short() -> Failure {
    Failure::failed("the backup is cut short: use another one")
}

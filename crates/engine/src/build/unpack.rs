//! Takes an archive apart that somebody sent. Whatever could reach outside of the folder, or fill
//! the machine, is refused by name.

use std::{
    cell::Cell,
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{OpenOptionsExt, symlink},
    path::{Component, Path, PathBuf},
    rc::Rc,
};

use flate2::read::MultiGzDecoder;
use hob_model::{
    openfaas::{BUILD_CONFIG, BUILD_CONTEXT, BUILD_SECRETS},
    port::{BuildError, Packing, Source},
};
use tar::{Archive, Entry, EntryType};

/// Files, folders and links that an archive may hold.
pub const MAX_ENTRIES: usize = 50_000;
/// Bytes of all its files together, unpacked.
pub(crate) const MAX_UNPACKED: u64 = 1 << 30;
/// Bytes of a path inside an archive.
pub(crate) const MAX_PATH: usize = 1024;
/// Bytes that may stand between two files: long names and extended headers are read into memory.
const MAX_HEADERS: u64 = 256 << 10;
/// Bytes of a target of a symlink.
const MAX_LINK: usize = 1024;

/// Unpacks the archive of `source` into the new, empty folder `target`.
///
/// # Errors
/// `Refused` names the entry and the rule that it breaks.
pub(crate) fn unpack(source: &Source, target: &Path) -> Result<(), BuildError> {
    let file = File::open(&source.archive)
        .map_err(|error| BuildError::Host(format!("cannot open the upload: {error}")))?;
    let file = io::BufReader::new(file);
    let allowance = Rc::new(Cell::new(MAX_HEADERS));
    let inner: Box<dyn Read> = match source.packing {
        Packing::Folder => Box::new(MultiGzDecoder::new(file)),
        Packing::Context => Box::new(file),
    };
    let reader = Metered {
        inner,
        allowance: Rc::clone(&allowance),
    };
    let packing = source.packing;
    let broken = |error| broken(packing, &error);
    let mut unpacking = Unpacking {
        target,
        packing,
        seen: HashMap::new(),
        left: MAX_UNPACKED,
        allowance,
    };
    let mut archive = Archive::new(reader);
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        unpacking
            .allowance
            .set(unpacking.left.saturating_add(MAX_HEADERS));
        unpacking.add(&mut entry)?;
        unpacking.allowance.set(MAX_HEADERS);
    }
    Ok(())
}

fn broken(packing: Packing, error: &io::Error) -> BuildError {
    let kind = match packing {
        Packing::Folder => "gzip-compressed tar",
        Packing::Context => "tar",
    };
    BuildError::Refused(format!("the upload is no {kind}, or is damaged: {error}"))
}

struct Unpacking<'a> {
    target: &'a Path,
    packing: Packing,
    seen: HashMap<PathBuf, Kind>,
    /// Bytes that may still be written.
    left: u64,
    allowance: Rc<Cell<u64>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Folder,
    File,
    Link,
}

/// Stops a stream that gives more than is allowed right now.
struct Metered<R> {
    inner: R,
    allowance: Rc<Cell<u64>>,
}

// === impl Metered ===

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.allowance.get()).unwrap_or(usize::MAX);
        if left == 0 {
            return Err(io::Error::other("a header is too long"));
        }
        let room = buffer.len().min(left);
        let count = self.inner.read(&mut buffer[..room])?;
        self.allowance.set(self.allowance.get() - count as u64);
        Ok(count)
    }
}

// === impl Unpacking ===

impl Unpacking<'_> {
    fn add<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> Result<(), BuildError> {
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            return Ok(()); // what `git archive` writes; says nothing about files
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let refuse = |rule: &str| {
            Err(BuildError::Refused(format!(
                "archive entry `{name}` {rule}"
            )))
        };
        let path = match safe_path(&entry.path_bytes()).and_then(|path| self.place(path)) {
            Ok(path) => path,
            Err(rule) => return refuse(rule),
        };
        if path.as_os_str().is_empty() {
            return Ok(()); // the folder itself
        }
        if self.seen.len() >= MAX_ENTRIES {
            return Err(BuildError::Refused(format!(
                "the archive has more than {MAX_ENTRIES} entries: name what is not needed in .hobignore"
            )));
        }
        if let Err(rule) = self.make_parents(&path) {
            return refuse(rule);
        }
        let known = self.seen.get(&path).copied();
        let done = match kind {
            EntryType::Directory => match known {
                Some(Kind::Folder) => Ok(()),
                Some(_) => return refuse("is there twice"),
                None => self.folder(&path),
            },
            _ if known.is_some() => return refuse("is there twice"),
            EntryType::Regular => return self.file(entry, &path, &name),
            EntryType::Symlink => match safe_link(entry, &path) {
                Ok(link) => self.link(&path, &link),
                Err(rule) => return refuse(rule),
            },
            EntryType::Link => match self.hard_link_source(entry) {
                Some(source) => self.copy(&source, &path, &name)?,
                None => return refuse("is a hard link to what is no file of the archive"),
            },
            EntryType::Block | EntryType::Char => return refuse("is a device node"),
            EntryType::Fifo => return refuse("is a named pipe"),
            _ => return refuse("is of a kind that hob does not unpack"),
        };
        done.map_err(|error| host(&name, &error))
    }

    /// Where a path of the archive belongs; nowhere is what is read elsewhere.
    fn place(&self, path: PathBuf) -> Result<PathBuf, &'static str> {
        match self.packing {
            Packing::Folder => Ok(path),
            Packing::Context if path == Path::new(BUILD_CONFIG) => Ok(PathBuf::new()),
            Packing::Context if path == Path::new(BUILD_SECRETS) => Ok(PathBuf::new()),
            Packing::Context => path
                .strip_prefix(BUILD_CONTEXT)
                .map(Path::to_path_buf)
                .map_err(|_| "is outside of `context`"),
        }
    }

    /// Makes the folders above `path`; an archive may leave them out.
    fn make_parents(&mut self, path: &Path) -> Result<(), &'static str> {
        let mut parents: Vec<_> = path.ancestors().skip(1).collect();
        parents.pop();
        for parent in parents.into_iter().rev() {
            match self.seen.get(parent) {
                Some(Kind::Folder) => {}
                Some(Kind::Link) => return Err("goes through a symlink"),
                Some(Kind::File) => return Err("goes through a file"),
                None => self.folder(parent).map_err(|_| "cannot be made")?,
            }
        }
        Ok(())
    }

    fn folder(&mut self, path: &Path) -> io::Result<()> {
        fs::create_dir(self.target.join(path))?;
        self.seen.insert(path.to_path_buf(), Kind::Folder);
        Ok(())
    }

    fn file<R: Read>(
        &mut self,
        entry: &mut Entry<'_, R>,
        path: &Path,
        name: &str,
    ) -> Result<(), BuildError> {
        let executable = entry.header().mode().unwrap_or(0) & 0o111 != 0;
        self.write(entry, path, executable, name)
    }

    /// A hard link becomes a file of its own, so that no build changes two names at once.
    fn copy(
        &mut self,
        source: &Path,
        path: &Path,
        name: &str,
    ) -> Result<io::Result<()>, BuildError> {
        let source = self.target.join(source);
        let open = || -> io::Result<(File, bool)> {
            let file = File::open(&source)?;
            let mode = std::os::unix::fs::PermissionsExt::mode(&file.metadata()?.permissions());
            Ok((file, mode & 0o111 != 0))
        };
        let (mut file, executable) = open().map_err(|error| host(name, &error))?;
        self.write(&mut file, path, executable, name).map(Ok)
    }

    fn write(
        &mut self,
        content: &mut impl Read,
        path: &Path,
        executable: bool,
        name: &str,
    ) -> Result<(), BuildError> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(if executable { 0o755 } else { 0o644 })
            .open(self.target.join(path))
            .map_err(|error| host(name, &error))?;
        let written = io::copy(&mut content.take(self.left + 1), &mut file).map_err(|error| {
            BuildError::Refused(format!(
                "archive entry `{name}` cannot be unpacked: {error}"
            ))
        })?;
        if written > self.left {
            return Err(BuildError::Refused(format!(
                "archive entry `{name}` makes the folder larger than {} MiB: name what is not needed in .hobignore",
                MAX_UNPACKED >> 20
            )));
        }
        self.left -= written;
        self.seen.insert(path.to_path_buf(), Kind::File);
        Ok(())
    }

    fn link(&mut self, path: &Path, target: &Path) -> io::Result<()> {
        symlink(target, self.target.join(path))?;
        self.seen.insert(path.to_path_buf(), Kind::Link);
        Ok(())
    }

    fn hard_link_source<R: Read>(&self, entry: &Entry<'_, R>) -> Option<PathBuf> {
        let source = self
            .place(safe_path(&entry.link_name_bytes()?).ok()?)
            .ok()?;
        (self.seen.get(&source) == Some(&Kind::File)).then_some(source)
    }
}

fn host(name: &str, error: &io::Error) -> BuildError {
    BuildError::Host(format!("cannot unpack `{name}`: {error}"))
}

/// A path of plain names below the folder, or the rule that it breaks.
fn safe_path(bytes: &[u8]) -> Result<PathBuf, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "has a name that is no UTF-8")?;
    if text.len() > MAX_PATH {
        return Err("has a path that is too long");
    }
    if text.contains('\0') {
        return Err("has a NUL byte in its name");
    }
    let mut path = PathBuf::new();
    for part in Path::new(text).components() {
        match part {
            Component::Normal(name) if name.len() > 255 => {
                return Err("has a name that is too long");
            }
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            Component::ParentDir => return Err("holds `..`"),
            Component::RootDir | Component::Prefix(_) => return Err("is an absolute path"),
        }
    }
    Ok(path)
}

/// The target of a symlink that cannot leave the folder.
///
/// `..` may only stand at its beginning: the folders above the link are real folders, so there it
/// means what it says, while after a name that is itself a link it could mean anything.
fn safe_link<R: Read>(entry: &Entry<'_, R>, path: &Path) -> Result<PathBuf, &'static str> {
    let bytes = entry.link_name_bytes().ok_or("is a link to nowhere")?;
    let text = std::str::from_utf8(&bytes).map_err(|_| "has a target that is no UTF-8")?;
    if text.is_empty() || text.len() > MAX_LINK || text.contains('\0') {
        return Err("has a bad target");
    }
    stays_inside(path, Path::new(text))
        .then(|| PathBuf::from(text))
        .ok_or("is a link out of the folder")
}

/// Whether a link at `path` with this target stays below the root that `path` is relative to.
pub(crate) fn stays_inside(path: &Path, target: &Path) -> bool {
    let mut depth = path.components().count().saturating_sub(1);
    let mut went_down = false;
    for part in target.components() {
        match part {
            Component::Normal(_) => went_down = true,
            Component::CurDir => {}
            Component::ParentDir if went_down || depth == 0 => return false,
            Component::ParentDir => depth -= 1,
            Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    true
}

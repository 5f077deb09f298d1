//! Writing blobs: a file that gets its name only when all of it is there and has the right digest.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use tempfile::NamedTempFile;
use tokio::sync::OwnedMutexGuard;

use crate::{Digest, Hasher, ImageError};

/// How much of a file is read at once, in bytes.
const CHUNK: usize = 64 << 10;

/// A blob that is being written, by somebody who may not know its digest yet. Dropping it leaves
/// nothing behind.
pub struct BlobWriter {
    file: Hasher<NamedTempFile>,
    blobs: PathBuf,
}

/// A blob that is being downloaded. What has come stays on the disk when this is dropped, and the
/// next one goes on from there.
pub struct PartialBlob {
    file: Hasher<File>,
    path: PathBuf,
    blobs: PathBuf,
    wanted: Digest,
    /// Goes with the last piece of work on the file, whoever has given up waiting for that.
    _turn: Arc<OwnedMutexGuard<()>>,
}

// === impl BlobWriter ===

impl BlobWriter {
    pub(crate) fn new(scratch: &Path, blobs: &Path) -> Result<Self, ImageError> {
        let file = NamedTempFile::new_in(scratch);
        let file = file.map_err(ImageError::io("cannot write in", scratch))?;
        Ok(Self {
            file: Hasher::new(file),
            blobs: blobs.to_owned(),
        })
    }

    /// Bytes so far.
    pub fn length(&self) -> u64 {
        self.file.length()
    }

    /// Makes it a blob of the store, on the disk for good. Returns its digest and length.
    ///
    /// # Errors
    /// [`ImageError::Damaged`] when it is not `expected`; or the disk.
    pub fn commit(self, expected: Option<&Digest>) -> Result<(Digest, u64), ImageError> {
        let (found, length, file) = self.file.finish();
        if let Some(wanted) = expected.filter(|wanted| **wanted != found) {
            let wanted = wanted.clone();
            return Err(ImageError::Damaged { wanted, found });
        }
        let target = self.blobs.join(found.hex());
        let (file, temporary) = file.into_parts();
        keep(&file, &target, || {
            temporary.persist(&target).map_err(|error| error.error)
        })?;
        Ok((found, length))
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

// === impl PartialBlob ===

impl PartialBlob {
    pub(crate) fn open(
        folder: &Path,
        blobs: &Path,
        wanted: &Digest,
        turn: Arc<OwnedMutexGuard<()>>,
    ) -> Result<Self, ImageError> {
        let path = folder.join(wanted.hex());
        let open = || -> io::Result<Hasher<File>> {
            let mut file = OpenOptions::new()
                .read(true)
                .append(true)
                .create(true)
                .open(&path)?;
            let mut earlier = Hasher::new(io::sink());
            io::copy(&mut file, &mut earlier)?;
            let mut all = Hasher::new(file);
            all.adopt(earlier);
            Ok(all)
        };
        Ok(Self {
            file: open().map_err(ImageError::io("cannot write", &path))?,
            blobs: blobs.to_owned(),
            wanted: wanted.clone(),
            path,
            _turn: turn,
        })
    }

    /// Bytes that are there already.
    pub fn length(&self) -> u64 {
        self.file.length()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Forgets what came earlier.
    ///
    /// # Errors
    /// The disk's.
    pub fn restart(&mut self) -> Result<(), ImageError> {
        let file = self.file.get_ref().try_clone();
        let file = file.and_then(|file| file.set_len(0).map(|()| file));
        self.file = Hasher::new(file.map_err(ImageError::io("cannot empty", &self.path))?);
        Ok(())
    }

    /// Makes it a blob of the store, on the disk for good.
    ///
    /// # Errors
    /// [`ImageError::Damaged`] when it has another digest; what came is thrown away then.
    pub fn commit(self) -> Result<(), ImageError> {
        let (found, length, file) = self.file.finish();
        // Also when somebody else has written to the file.
        let same_length = file.metadata().is_ok_and(|data| data.len() == length);
        if found != self.wanted || !same_length {
            let _ = fs::remove_file(&self.path);
            let wanted = self.wanted;
            return Err(ImageError::Damaged { wanted, found });
        }
        let target = self.blobs.join(found.hex());
        keep(&file, &target, || fs::rename(&self.path, &target))
    }
}

impl Write for PartialBlob {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// On the disk first, then under its name, then the name on the disk.
fn keep(
    file: &File,
    target: &Path,
    rename: impl FnOnce() -> io::Result<()>,
) -> Result<(), ImageError> {
    use std::os::unix::fs::PermissionsExt;

    let keep = || {
        file.set_permissions(fs::Permissions::from_mode(0o644))?;
        file.sync_all()?;
        rename()?;
        target.parent().map_or(Ok(()), sync_folder)
    };
    keep().map_err(ImageError::io("cannot write", target))
}

pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Writes a whole file at once: readers see the old or the new one, also after a power loss.
///
/// # Errors
/// The disk's; the old file stands then.
pub fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    sync_folder(folder)
}

/// Hashes a file from its beginning.
pub(crate) fn digest_of_file(path: &Path) -> io::Result<(Digest, u64)> {
    let mut file = Hasher::new(File::open(path)?);
    let mut chunk = vec![0; CHUNK];
    while file.read(&mut chunk)? > 0 {}
    let (digest, length, _) = file.finish();
    Ok((digest, length))
}

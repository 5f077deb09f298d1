//! Writing a layer: equal files give equal bytes, whoever writes them, wherever and whenever.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read},
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};
use tar::{EntryType, Header};

use crate::{BlobWriter, Digest, Hasher, ImageError, ImageStore};

/// Modification time of every file, in seconds: 1980-01-01, the oldest that zip files know.
pub const FILE_TIME: u64 = 315_532_800;
/// The same for configurations, as RFC 3339.
pub(crate) const CREATED: &str = "1980-01-01T00:00:00Z";
/// How hard layers are compressed: another number gives other digests.
const COMPRESSION: u32 = 6;

/// What a layer will hold, by path. The order of adding does not matter.
#[derive(Debug, Default)]
pub struct LayerFiles(BTreeMap<Vec<u8>, Node>);

/// A layer in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Of the blob.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Of the tar inside.
    pub diff_id: Digest,
    /// What it holds, in a word; for the history in the configuration.
    pub title: String,
}

#[derive(Debug)]
enum Node {
    Folder { mode: u32 },
    File { path: PathBuf, executable: bool },
    Bytes(Vec<u8>),
    Link { target: PathBuf },
}

type LayerTar = tar::Builder<Hasher<GzEncoder<BlobWriter>>>;

// === impl LayerFiles ===

impl LayerFiles {
    /// Adds a folder with mode `mode`, and those above it as plain ones.
    pub fn folder(&mut self, path: &str, mode: u32) {
        self.above(Path::new(path));
        self.0.insert(path.into(), Node::Folder { mode });
    }

    /// Adds a plain file with this content.
    pub fn bytes(&mut self, path: &str, content: Vec<u8>) {
        self.above(Path::new(path));
        self.0.insert(path.into(), Node::Bytes(content));
    }

    /// Adds what is below `source` as what is below `at`: files, links, and the folders that hold
    /// some. `keep` sees paths relative to `source`; what is no file, folder or link is left out.
    ///
    /// # Errors
    /// The disk's.
    pub fn tree(
        &mut self,
        source: &Path,
        at: &str,
        keep: &dyn Fn(&Path) -> bool,
    ) -> io::Result<()> {
        let mut open = vec![PathBuf::new()];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(source.join(&folder))? {
                let entry = entry?;
                let inside = folder.join(entry.file_name());
                if !keep(&inside) {
                    continue;
                }
                let (path, kind) = (entry.path(), entry.file_type()?);
                let node = if kind.is_dir() {
                    open.push(inside);
                    continue;
                } else if kind.is_symlink() {
                    let target = fs::read_link(&path)?;
                    Node::Link { target }
                } else if kind.is_file() {
                    let executable = entry.metadata()?.permissions().mode() & 0o111 != 0;
                    Node::File { path, executable }
                } else {
                    continue;
                };
                let place = Path::new(at).join(inside);
                self.above(&place);
                self.0.insert(place.as_os_str().as_bytes().to_vec(), node);
            }
        }
        Ok(())
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The folders above `path`, where they are not there yet.
    fn above(&mut self, path: &Path) {
        for folder in path.ancestors().skip(1) {
            let name = folder.as_os_str().as_bytes();
            if !name.is_empty() && !self.0.contains_key(name) {
                self.0.insert(name.to_vec(), Node::Folder { mode: 0o755 });
            }
        }
    }
}

// === impl ImageStore ===

impl ImageStore {
    /// Writes a layer; one that is here already is not kept twice. `title` says in a word what
    /// it holds. The caller holds the store.
    ///
    /// # Errors
    /// The disk's.
    pub fn write_layer(&self, title: &str, files: &LayerFiles) -> Result<Layer, ImageError> {
        let blob = self.new_blob()?;
        // The header of such an encoder has neither a name nor a time.
        let gzip = GzEncoder::new(blob, Compression::new(COMPRESSION));
        let mut tar = tar::Builder::new(Hasher::new(gzip));
        let write = || -> io::Result<(Digest, BlobWriter)> {
            for (path, node) in &files.0 {
                append(&mut tar, path, node).map_err(|error| {
                    let path = String::from_utf8_lossy(path);
                    io::Error::new(error.kind(), format!("`{path}`: {error}"))
                })?;
            }
            let (diff_id, _, gzip) = tar.into_inner()?.finish();
            Ok((diff_id, gzip.finish()?))
        };
        let (diff_id, blob) =
            write().map_err(ImageError::io("cannot write a layer in", self.folders()[0]))?;
        let (digest, size) = blob.commit(None)?;
        Ok(Layer {
            digest,
            size,
            diff_id,
            title: title.to_owned(),
        })
    }
}

fn append(tar: &mut LayerTar, path: &[u8], node: &Node) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(FILE_TIME);
    header.set_size(0);
    let name = Path::new(OsStr::from_bytes(path));
    match node {
        Node::Folder { mode } => {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(*mode);
            tar.append_data(&mut header, name.join(""), io::empty())
        }
        Node::Link { target } => {
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(0o777);
            tar.append_link(&mut header, name, target)
        }
        Node::Bytes(content) => {
            header.set_mode(0o644);
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, name, content.as_slice())
        }
        Node::File { path, executable } => {
            let file = File::open(path)?;
            let length = file.metadata()?.len();
            header.set_mode(if *executable { 0o755 } else { 0o644 });
            header.set_size(length);
            let mut content = file.take(length);
            tar.append_data(&mut header, name, &mut content)?;
            match content.limit() {
                0 => Ok(()),
                _ => Err(io::Error::other("it was cut off while it was read")),
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::symlink;

    use flate2::read::GzDecoder;

    use super::*;

    fn store() -> (tempfile::TempDir, std::sync::Arc<ImageStore>) {
        let data = tempfile::tempdir().unwrap();
        let store = ImageStore::open(data.path()).unwrap();
        (data, store)
    }

    /// A folder whose modes and times are `mode`'s and the moment's.
    fn folder(mode: u32) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let long = format!("{}/{}", "long".repeat(30), "name".repeat(30));
        for (name, mode) in [("b", mode), ("a/x", mode | 0o111), (long.as_str(), mode)] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, name).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::create_dir(folder.path().join("empty")).unwrap();
        symlink("a/x", folder.path().join("link")).unwrap();
        folder
    }

    fn layer(store: &ImageStore, mode: u32) -> Layer {
        let folder = folder(mode);
        let mut files = LayerFiles::default();
        files
            .tree(folder.path(), "function", &|path| path != Path::new("b"))
            .unwrap();
        files.folder("tmp", 0o1777);
        files.bytes("etc/passwd", b"root".to_vec());
        store.write_layer("test", &files).unwrap()
    }

    #[test]
    fn equal_files_give_equal_bytes_and_plain_modes() {
        let ((_here, first), (_there, second)) = (store(), store());
        let made = layer(&first, 0o600);
        assert_eq!(made, layer(&second, 0o664));
        let blob = fs::read(first.blob_path(&made.digest)).unwrap();
        assert_eq!(blob[3..10], [0, 0, 0, 0, 0, 0, 255], "flags, time, system");
        let mut tar = Vec::new();
        GzDecoder::new(blob.as_slice())
            .read_to_end(&mut tar)
            .unwrap();
        assert_eq!(Digest::of(&tar), made.diff_id);
        let mut archive = tar::Archive::new(tar.as_slice());
        let entries: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let header = entry.header();
                assert_eq!(header.mtime().unwrap(), FILE_TIME);
                assert_eq!(header.uid().unwrap() + header.gid().unwrap(), 0);
                let path = entry.path().unwrap().to_string_lossy().into_owned();
                (path, header.mode().unwrap())
            })
            .collect();
        let long = "function/".to_owned() + &"long".repeat(30);
        let expected = [
            ("etc/".to_owned(), 0o755),
            ("etc/passwd".to_owned(), 0o644),
            ("function/".to_owned(), 0o755),
            ("function/a/".to_owned(), 0o755),
            ("function/a/x".to_owned(), 0o755),
            ("function/link".to_owned(), 0o777),
            (format!("{long}/"), 0o755),
            (format!("{long}/{}", "name".repeat(30)), 0o644),
            ("tmp/".to_owned(), 0o1777),
        ];
        assert_eq!(entries, expected);
    }
}

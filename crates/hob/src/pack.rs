//! A function's folder as one archive: the same folder always gives the same bytes.

use std::{
    fs::{self, File},
    io::{self, Seek, Write},
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};
use ignore::{DirEntry, WalkBuilder};
use tar::{EntryType, Header};

use crate::exit::Failure;

/// Names that are made again by a build or belong to a tool, each with the file beside it (or
/// inside it, after a `/`) that proves it; the empty proof needs none.
const NEVER_PACKED: [(&str, &str); 10] = [
    (".git", ""),
    (".hg", ""),
    (".svn", ""),
    (".DS_Store", ""),
    ("__pycache__", ""),
    // It holds absolute paths of this machine.
    (".venv", "/pyvenv.cfg"),
    ("venv", "/pyvenv.cfg"),
    ("node_modules", "package.json"),
    ("target", "Cargo.toml"),
    ("target", "pom.xml"),
];

/// The file beside `.gitignore` whose rules hold for deploys alone.
const OWN_IGNORE_FILE: &str = ".hobignore";

/// A packed folder.
#[derive(Debug)]
pub(crate) struct Archive {
    /// Gzip-compressed tar, read from its beginning. It has no name on disk.
    pub(crate) file: File,
    /// Its length in bytes.
    pub(crate) length: u64,
    /// Files inside.
    pub(crate) files: usize,
}

/// Packs what `.gitignore` and `.hobignore` inside `folder` leave of it.
///
/// # Errors
/// One line that names the entry which cannot be packed or read.
pub(crate) fn pack(folder: &Path) -> anyhow::Result<Archive> {
    check_folder(folder)?;
    // Level 1: a deploy to the same machine spends more time on packing than on sending.
    let gzip = GzEncoder::new(tempfile::tempfile()?, Compression::fast());
    let mut tar = tar::Builder::new(gzip);
    let mut files = 0;
    for entry in walk(folder) {
        let entry = entry.map_err(|error| Failure::failed(error.to_string()))?;
        if entry.depth() > 0 {
            files += usize::from(append(&mut tar, folder, &entry)?);
        }
    }
    if files == 0 {
        return Err(Failure::failed(format!(
            "folder {} holds no file to deploy: begin with `hob new python NAME`",
            folder.display()
        ))
        .into());
    }
    let mut file = tar.into_inner()?.finish()?;
    file.flush()?;
    let length = file.stream_position()?;
    file.rewind()?;
    Ok(Archive {
        file,
        length,
        files,
    })
}

/// `folder` and the folders inside it that are packed, for somebody who watches them.
pub(crate) fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = walk(folder).filter_map(Result::ok);
    let folders = entries.filter(|entry| entry.file_type().is_some_and(|kind| kind.is_dir()));
    folders.map(DirEntry::into_path).collect()
}

/// Whether a change of `path` changes what would be packed from `folder`. Rules of ignore files
/// are read anew, since they may be what changed.
pub(crate) fn packs(folder: &Path, path: &Path) -> bool {
    let Ok(inside) = path.strip_prefix(folder) else {
        return false;
    };
    if !path.exists() {
        // It is gone, and with it the proof that it was packed: better one build too many,
        // except below what is never packed.
        return !inside.components().any(|part| {
            NEVER_PACKED
                .iter()
                .any(|(name, _)| part.as_os_str() == *name)
        });
    }
    // Not a walk of everything: a folder on the way that is ignored ends it.
    let target = path.to_owned();
    let mut walk = builder(folder);
    walk.filter_entry(move |entry| {
        is_wanted(entry) && (target.starts_with(entry.path()) || entry.path() == target)
    });
    walk.build()
        .filter_map(Result::ok)
        .any(|entry| entry.path() == path)
}

fn check_folder(folder: &Path) -> anyhow::Result<()> {
    let problem = match fs::metadata(folder) {
        Ok(data) if data.is_dir() => return Ok(()),
        Ok(_) => "is not a folder: name the folder that the handler lies in".to_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            "does not exist: make one with `hob new python NAME`".to_owned()
        }
        Err(error) => format!("cannot be read: {error}"),
    };
    Err(Failure::failed(format!("{} {problem}", folder.display())).into())
}

fn walk(folder: &Path) -> ignore::Walk {
    builder(folder).filter_entry(is_wanted).build()
}

/// Only rules inside the folder count, so that it packs the same wherever it lies.
fn builder(folder: &Path) -> WalkBuilder {
    let mut walk = WalkBuilder::new(folder);
    walk.standard_filters(false)
        .git_ignore(true)
        .require_git(false)
        .add_custom_ignore_filename(OWN_IGNORE_FILE)
        .sort_by_file_name(Ord::cmp);
    walk
}

fn is_wanted(entry: &DirEntry) -> bool {
    if entry.depth() == 0 {
        return true;
    }
    let parent = entry.path().parent().unwrap_or(Path::new(""));
    !NEVER_PACKED.iter().any(|(name, proof)| {
        entry.file_name() == *name
            && match proof.strip_prefix('/') {
                Some(inside) => entry.path().join(inside).exists(),
                None => proof.is_empty() || parent.join(proof).exists(),
            }
    })
}

/// Adds one entry; true when it is a file or a link.
fn append(
    tar: &mut tar::Builder<impl Write>,
    folder: &Path,
    entry: &DirEntry,
) -> anyhow::Result<bool> {
    let path = entry.path();
    let inside = path.strip_prefix(folder)?;
    let failed = |error: io::Error| Failure::failed(format!("{}: {error}", path.display()));
    let data = fs::symlink_metadata(path).map_err(failed)?;
    let kind = data.file_type();
    let mut header = Header::new_gnu();
    header.set_mtime(0);
    if kind.is_symlink() {
        header.set_entry_type(EntryType::Symlink);
        header.set_mode(0o777);
        header.set_size(0);
        let target: PathBuf = fs::read_link(path).map_err(failed)?;
        tar.append_link(&mut header, inside, target)
            .map_err(failed)?;
        return Ok(true);
    }
    if kind.is_dir() {
        header.set_entry_type(EntryType::Directory);
        header.set_mode(0o755);
        header.set_size(0);
        tar.append_data(&mut header, inside, io::empty())
            .map_err(failed)?;
        return Ok(false);
    }
    if !kind.is_file() {
        return Err(Failure::failed(format!(
            "{} is a {}, which cannot be deployed: remove it or name it in {OWN_IGNORE_FILE}",
            path.display(),
            name_of(kind)
        ))
        .into());
    }
    let executable = data.permissions().mode() & 0o111 != 0;
    header.set_mode(if executable { 0o755 } else { 0o644 });
    let mut file = File::open(path).map_err(failed)?;
    header.set_size(data.len());
    // A file that grows while it is read must not run into the next entry's header.
    let mut exact = io::Read::take(&mut file, data.len());
    tar.append_data(&mut header, inside, &mut exact)
        .map_err(failed)?;
    if exact.limit() > 0 {
        return Err(Failure::failed(format!(
            "{} shrank while it was read: try again",
            path.display()
        ))
        .into());
    }
    Ok(true)
}

fn name_of(kind: fs::FileType) -> &'static str {
    if kind.is_socket() {
        "socket"
    } else if kind.is_fifo() {
        "named pipe"
    } else {
        "device"
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read, os::unix::net::UnixListener};

    use flate2::read::GzDecoder;

    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("temp dir");
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("parent")).expect("folder");
            fs::write(path, text).expect("file");
        }
        folder
    }

    fn names(archive: Archive) -> Vec<String> {
        let mut tar = tar::Archive::new(GzDecoder::new(archive.file));
        let entries = tar.entries().expect("tar");
        entries
            .map(|entry| {
                let entry = entry.expect("entry");
                entry.path().expect("path").display().to_string()
            })
            .collect()
    }

    #[test]
    fn ignored_and_generated_files_stay_out() {
        let folder = folder(&[
            ("handler.py", "x"),
            (".gitignore", "*.log\n/data/\n"),
            (".hobignore", "notes.txt\n"),
            ("debug.log", "x"),
            ("notes.txt", "x"),
            ("data/big", "x"),
            (".git/HEAD", "x"),
            ("__pycache__/handler.pyc", "x"),
            (".env.example", "x"),
            ("lib/node_modules/kept.js", "no package.json beside it"),
            ("web/package.json", "{}"),
            ("web/node_modules/left-pad/index.js", "x"),
            (".venv/pyvenv.cfg", "x"),
        ]);
        let packed = names(pack(folder.path()).expect("packs"));
        assert_eq!(
            packed,
            [
                ".env.example",
                ".gitignore",
                ".hobignore",
                "handler.py",
                "lib",
                "lib/node_modules",
                "lib/node_modules/kept.js",
                "web",
                "web/package.json",
            ]
        );
    }

    #[test]
    fn equal_folders_give_equal_bytes() {
        let bytes = |folder: &tempfile::TempDir| {
            let mut bytes = Vec::new();
            let mut archive = pack(folder.path()).expect("packs");
            archive.file.read_to_end(&mut bytes).expect("reads");
            assert_eq!(archive.length, bytes.len() as u64);
            bytes
        };
        let files = [("b/handler.py", "x"), ("a.txt", "y")];
        let (one, two) = (folder(&files), folder(&files));
        assert_eq!(bytes(&one), bytes(&two));
    }

    #[test]
    fn the_rules_of_a_folder_above_do_not_count() {
        let above = folder(&[(".gitignore", "*\n"), ("hello/handler.py", "x")]);
        let packed = names(pack(&above.path().join("hello")).expect("packs"));
        assert_eq!(packed, ["handler.py"]);
    }

    #[test]
    fn a_socket_is_refused_by_name() {
        let folder = folder(&[("handler.py", "x")]);
        let path = folder.path().join("app.sock");
        let _listener = UnixListener::bind(&path).expect("binds");
        let message = pack(folder.path()).expect_err("refused").to_string();
        assert!(
            message.contains("app.sock is a socket") && message.contains(".hobignore"),
            "{message}"
        );
        fs::write(folder.path().join(".hobignore"), "*.sock\n").expect("file");
        assert_eq!(pack(folder.path()).expect("packs").files, 2);
    }

    #[test]
    fn what_is_no_folder_or_empty_is_said_with_the_cure() {
        let folder = folder(&[(".git/HEAD", "x")]);
        let message = pack(folder.path()).expect_err("empty").to_string();
        assert!(message.contains("no file to deploy"), "{message}");
        let message = pack(Path::new("/nonexistent"))
            .expect_err("none")
            .to_string();
        assert!(message.contains("/nonexistent does not exist"), "{message}");
        let message = pack(Path::new("/etc/passwd"))
            .expect_err("file")
            .to_string();
        assert!(message.contains("is not a folder"), "{message}");
    }

    #[test]
    fn only_changes_of_what_is_packed_count() {
        let folder = folder(&[
            ("handler.py", "x"),
            (".gitignore", "data/\n"),
            ("data/big", "x"),
            ("__pycache__/handler.pyc", "x"),
        ]);
        let packs = |name: &str| packs(folder.path(), &folder.path().join(name));
        assert!(packs("handler.py") && packs(".gitignore") && packs("gone.py"));
        assert!(!packs("data/big") && !packs("__pycache__/handler.pyc"));
        assert!(!packs("__pycache__/gone.pyc"));
    }
}

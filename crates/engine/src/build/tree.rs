//! A folder as a list: what its digest, its rights and its way to the disk are made from.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read},
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, PermissionsExt, lchown},
    },
    path::{Path, PathBuf},
};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use sha2::{Digest, Sha256};

/// More new files than this are brought to the disk by one sync of the whole filesystem.
const MAX_SINGLE_SYNCS: usize = 200;
/// Bytes of all files that a build may leave; more, and one sparse file keeps hob reading for days.
pub(crate) const MAX_BYTES: u64 = 8 << 30;
/// Bytes read at once.
const BLOCK: usize = 64 << 10;

/// All that is in a folder, sorted by path.
#[derive(Debug)]
pub(crate) struct Tree {
    root: PathBuf,
    /// Length of all files together; holes count.
    bytes: u64,
    entries: Vec<Node>,
}

/// One thing in a folder.
#[derive(Debug)]
pub(crate) struct Node {
    /// Relative to the folder.
    pub(crate) path: PathBuf,
    pub(crate) kind: NodeKind,
}

/// What kind of thing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NodeKind {
    Folder,
    File {
        executable: bool,
    },
    Link {
        target: PathBuf,
    },
    /// A socket, a pipe or a device.
    Other,
}

/// Which modification time files get.
#[derive(Debug, Clone, Copy)]
pub(crate) enum FileTimes {
    /// One and the same for all, at all times: 1980-01-01, the oldest that zip files know.
    Fixed,
    /// The present, for files that browsers ask about by time.
    Now,
}

// === impl Tree ===

impl Tree {
    /// Lists `root`, without the folder `skip` at its top.
    pub(crate) fn read(root: &Path, skip: Option<&str>) -> io::Result<Self> {
        let (mut entries, mut bytes) = (Vec::new(), 0_u64);
        let mut open = vec![PathBuf::new()];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(root.join(&folder))? {
                let entry = entry?;
                let path = folder.join(entry.file_name());
                if skip.is_some_and(|skip| path.as_os_str() == OsStr::new(skip)) {
                    continue;
                }
                let kind = NodeKind::of(&entry)?;
                match kind {
                    NodeKind::Folder => open.push(path.clone()),
                    NodeKind::File { .. } => bytes = bytes.saturating_add(entry.metadata()?.len()),
                    NodeKind::Link { .. } | NodeKind::Other => {}
                }
                entries.push(Node { path, kind });
            }
        }
        entries.sort_by(|a, b| a.path.as_os_str().cmp(b.path.as_os_str()));
        let root = root.to_path_buf();
        Ok(Self {
            root,
            bytes,
            entries,
        })
    }

    pub(crate) fn entries(&self) -> &[Node] {
        &self.entries
    }

    /// Refuses more than hob is ready to read.
    pub(crate) fn check_size(&self) -> io::Result<()> {
        if self.bytes <= MAX_BYTES {
            return Ok(());
        }
        let most = MAX_BYTES >> 30;
        Err(io::Error::other(format!("it is larger than {most} GiB")))
    }

    /// Removes sockets, pipes and devices, which an installation has no use for.
    pub(crate) fn drop_odd_files(&mut self) -> io::Result<()> {
        for node in self
            .entries
            .extract_if(.., |node| node.kind == NodeKind::Other)
        {
            fs::remove_file(self.root.join(node.path))?;
        }
        Ok(())
    }

    /// Adds paths, modes, link targets and contents to `hash`.
    pub(crate) fn digest(&self, hash: &mut Sha256) -> io::Result<()> {
        let mut buffer = vec![0; BLOCK];
        for Node { path, kind } in &self.entries {
            add_field(hash, path.as_os_str().as_bytes());
            match kind {
                NodeKind::Folder | NodeKind::Other => hash.update(b"d"),
                NodeKind::Link { target } => {
                    hash.update(b"l");
                    add_field(hash, target.as_os_str().as_bytes());
                }
                NodeKind::File { executable } => {
                    hash.update(if *executable { b"x" } else { b"f" });
                    let mut content = Sha256::new();
                    let mut file = File::open(self.root.join(path))?;
                    loop {
                        let count = file.read(&mut buffer)?;
                        if count == 0 {
                            break;
                        }
                        content.update(&buffer[..count]);
                    }
                    hash.update(content.finalize());
                }
            }
        }
        Ok(())
    }

    /// Gives everything to hob's own user, with plain modes and times: nobody else may change it.
    pub(crate) fn normalise(&self, times: FileTimes) -> io::Result<()> {
        let owner = rustix::process::geteuid().as_raw();
        let group = rustix::process::getegid().as_raw();
        let stamp = match times {
            FileTimes::Fixed => Timespec {
                tv_sec: 315_532_800,
                tv_nsec: 0,
            },
            FileTimes::Now => Timespec {
                tv_sec: 0,
                tv_nsec: rustix::fs::UTIME_NOW,
            },
        };
        let stamps = Timestamps {
            last_access: stamp,
            last_modification: stamp,
        };
        let root = (self.root.clone(), &NodeKind::Folder);
        let inside = self
            .entries
            .iter()
            .map(|node| (self.root.join(&node.path), &node.kind));
        for (path, kind) in inside.chain([root]) {
            lchown(&path, Some(owner), Some(group))?;
            let mode = match kind {
                NodeKind::Folder | NodeKind::File { executable: true } => 0o755,
                NodeKind::File { executable: false } => 0o644,
                NodeKind::Link { .. } | NodeKind::Other => continue,
            };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
            utimensat(CWD, &path, &stamps, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(())
    }

    /// Brings everything to the disk, so that it survives the loss of power.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.sync_those(|kind| matches!(kind, NodeKind::File { .. } | NodeKind::Folder))
    }

    /// The same for new names of files that are there already.
    pub(crate) fn sync_folders(&self) -> io::Result<()> {
        self.sync_those(|kind| *kind == NodeKind::Folder)
    }

    fn sync_those(&self, wanted: fn(&NodeKind) -> bool) -> io::Result<()> {
        let wanted: Vec<_> = self
            .entries
            .iter()
            .filter(|node| wanted(&node.kind))
            .collect();
        if wanted.len() > MAX_SINGLE_SYNCS {
            return Ok(rustix::fs::syncfs(File::open(&self.root)?)?);
        }
        for node in wanted {
            File::open(self.root.join(&node.path))?.sync_all()?;
        }
        File::open(&self.root)?.sync_all()
    }
}

// === impl NodeKind ===

impl NodeKind {
    fn of(entry: &fs::DirEntry) -> io::Result<Self> {
        let kind = entry.file_type()?;
        Ok(if kind.is_dir() {
            Self::Folder
        } else if kind.is_symlink() {
            let target = fs::read_link(entry.path())?;
            Self::Link { target }
        } else if kind.is_file() {
            let mode = entry.metadata()?.permissions().mode();
            Self::File {
                executable: mode & 0o111 != 0,
            }
        } else {
            debug_assert!(
                kind.is_fifo()
                    || kind.is_socket()
                    || kind.is_block_device()
                    || kind.is_char_device()
            );
            Self::Other
        })
    }
}

/// Adds bytes with their length, so that two fields never run into each other.
pub(crate) fn add_field(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}

/// A digest in lower-case hex.
pub(crate) fn hex(hash: Sha256) -> String {
    use std::fmt::Write;
    hash.finalize()
        .iter()
        .fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// Makes a rename in `folder` durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Whether two folders may have files in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// Second names for the same files: quick, for what nobody changes.
    Linked,
    /// Files of their own.
    Copied,
}

/// Makes the new folder `target` like `source`.
pub(crate) fn copy_tree(source: &Path, target: &Path, sharing: Sharing) -> io::Result<()> {
    fs::create_dir(target)?;
    for node in Tree::read(source, None)?.entries {
        let (from, to) = (source.join(&node.path), target.join(&node.path));
        match (node.kind, sharing) {
            (NodeKind::Folder, _) => fs::create_dir(to)?,
            (NodeKind::Link { target }, _) => std::os::unix::fs::symlink(target, to)?,
            (NodeKind::File { .. }, Sharing::Linked) => fs::hard_link(from, to)?,
            (NodeKind::File { .. }, Sharing::Copied) => fs::copy(from, to).map(drop)?,
            (NodeKind::Other, _) => {}
        }
    }
    Ok(())
}

//! One layer of an image, unpacked as a lower folder of an overlay filesystem, whoever made it.
//!
//! Nothing outside of the target is reached: every path is opened relative to it by `openat2`
//! without following symlinks, and everything is made anew. Whiteouts become what overlayfs
//! understands: a character device 0:0, or the attribute `user.overlay.opaque` of a folder, for
//! which the overlay has to be mounted with `userxattr`.

mod attributes;
mod compression;
mod error;
mod head;
mod limits;
mod name;
mod pax;
mod place;
mod sparse;
mod stream;
mod tree;

use std::{
    io::{self, Read},
    path::Path,
};

use tar::{Archive, Entry, EntryType};

use crate::Digest;

pub use compression::Compression;
pub use error::{Rule, UnpackError};
pub use limits::UnpackLimits;

use error::Fault;
use head::{Extensions, Head};
use name::{LayerPath, Meaning};
use place::{Content, Zeros};
use stream::{BLOCK, Between, Stream};
use tree::Tree;

/// What a layer turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// Of the uncompressed tar, to its very last byte: must be what the image's config says.
    pub diff_id: Digest,
    /// Content of all files together, holes included.
    pub bytes: u64,
    /// Entries of the tar.
    pub entries: u64,
}

/// Unpacks `layer` into `target`. Blocks.
///
/// `target` is an existing, empty folder. Only hob may be able to reach it, since there will be
/// setuid programs in it. As root, everything gets the owners of the layer. Otherwise everything
/// belongs to hob's user, who always may read files and change folders. `target` itself gets the
/// attributes of the layer's root, or those of any folder without an entry: mode 0755, root's.
/// The caller compares the digest, and makes all durable by `syncfs`.
///
/// # Errors
/// What is in `target` then is a part of the layer; the caller removes it. [`UnpackError`] tells
/// which entry breaks which [`Rule`].
///
/// See <https://github.com/opencontainers/image-spec/blob/v1.1.0/layer.md>.
pub fn unpack_layer(
    layer: impl Read,
    target: &Path,
    limits: &UnpackLimits,
) -> Result<Unpacked, UnpackError> {
    let tree = Tree::open(target, limits)?;
    let (compression, tar) = Compression::decode(layer).map_err(UnpackError::Read)?;
    let stream = Stream::new(tar, compression, limits);
    let mut unpacking = Unpacking {
        stream: &stream,
        limits,
        tree,
        bytes: 0,
        skipped: 0,
        entries: 0,
    };
    unpacking.add_all()?;
    let Unpacking {
        tree,
        bytes,
        entries,
        ..
    } = unpacking;
    tree.finish()
        .map_err(|(folder, fault)| stream.blame(folder.bytes(), fault))?;
    Ok(Unpacked {
        diff_id: stream.finish()?,
        bytes,
        entries,
    })
}

struct Unpacking<'a, R> {
    stream: &'a Stream<R>,
    limits: &'a UnpackLimits,
    tree: Tree,
    /// Content written so far.
    bytes: u64,
    /// Content that nobody wants, which counts for the limit all the same.
    skipped: u64,
    entries: u64,
}

// === impl Unpacking ===

impl<R: Read> Unpacking<'_, R> {
    fn add_all(&mut self) -> Result<(), UnpackError> {
        let stream = self.stream;
        let mut archive = Archive::new(stream);
        let mut entries = archive.entries().map_err(|error| stream.explain(error))?;
        loop {
            let (next, between) = stream.between(|| entries.next());
            let Some(next) = next else {
                return if between.blocks.len() >= BLOCK {
                    Ok(())
                } else {
                    Err(UnpackError::NoEnd {
                        position: stream.position(),
                    })
                };
            };
            let mut entry = next.map_err(|error| stream.explain(error))?;
            if self.entries == self.limits.entries {
                return Err(UnpackError::TooManyEntries {
                    limit: self.limits.entries,
                });
            }
            self.entries += 1;
            self.add(&mut entry, &between)?;
            // What stays unread must not be taken for headers.
            io::copy(&mut entry, &mut io::sink()).map_err(|error| stream.explain(error))?;
        }
    }

    fn add(
        &mut self,
        entry: &mut Entry<'_, impl Read>,
        between: &Between,
    ) -> Result<(), UnpackError> {
        let stream = self.stream;
        let extensions = Extensions::parse(between, entry.raw_header_position())
            .map_err(|rule| stream.blame(&entry.header().path_bytes(), rule.into()))?;
        let path = extensions.path(entry.header());
        self.add_described(entry, &extensions, &path)
            .map_err(|fault| stream.blame(&path, fault))
    }

    fn add_described(
        &mut self,
        entry: &mut Entry<'_, impl Read>,
        extensions: &Extensions<'_>,
        path: &[u8],
    ) -> Result<(), Fault> {
        let header = entry.header();
        let head = Head::parse(header, entry.size(), extensions, self.limits)?;
        if head.kind == EntryType::XGlobalHeader {
            return self.skip(&head); // what `git archive` writes; says nothing about files
        }
        let path = LayerPath::parse(path, self.limits)?;
        if head.is_device_to_skip(header, &path)? {
            return Ok(());
        }
        match path.meaning()? {
            Meaning::Itself => self.add_itself(entry, head, path),
            Meaning::Leftover => self.skip(&head),
            Meaning::Whiteout(deleted) => {
                self.skip(&head)?;
                self.tree.add_whiteout(&deleted)
            }
            Meaning::Opaque(folder) => {
                self.skip(&head)?;
                self.tree.add_opaque(folder)
            }
        }
    }

    fn add_itself(
        &mut self,
        entry: &mut Entry<'_, impl Read>,
        head: Head<'_>,
        path: LayerPath,
    ) -> Result<(), Fault> {
        match head.kind {
            EntryType::Directory => self.tree.add_folder(path, head.attributes, &head.xattrs),
            EntryType::Symlink => {
                let target = head.symlink(self.limits)?;
                self.tree.add_symlink(&path, target, head.attributes)
            }
            EntryType::Link => {
                let target = head.hard_link(self.limits)?;
                self.tree.add_hard_link(&path, &target)
            }
            EntryType::Fifo => self.tree.add_fifo(&path, head.attributes),
            _ => self.add_file(entry, head, &path),
        }
    }

    fn add_file(
        &mut self,
        entry: &mut Entry<'_, impl Read>,
        head: Head<'_>,
        path: &LayerPath,
    ) -> Result<(), Fault> {
        let (attributes, xattrs) = (head.attributes, &head.xattrs);
        let Some(sparse) = head.sparse else {
            let content = Content {
                length: entry.size(),
                zeros: match head.kind {
                    EntryType::GNUSparse => Zeros::Holes,
                    _ => Zeros::Written,
                },
                bytes: entry,
            };
            self.bytes = self.allowed(self.bytes, content.length)?;
            return self.tree.add_file(path, content, attributes, xattrs);
        };
        self.bytes = self.allowed(self.bytes, sparse.size)?;
        let content = Content {
            length: sparse.size,
            zeros: Zeros::Holes,
            bytes: sparse.fill(entry, head.stored, self.limits.head_bytes as u64)?,
        };
        self.tree.add_file(path, content, attributes, xattrs)
    }

    fn skip(&mut self, head: &Head<'_>) -> Result<(), Fault> {
        self.skipped = self.allowed(self.skipped, head.stored)?;
        Ok(())
    }

    /// `sum` with `more` bytes, if the limit allows them.
    fn allowed(&self, sum: u64, more: u64) -> Result<u64, Rule> {
        let limit = self.limits.bytes;
        let sum = sum.checked_add(more).filter(|sum| *sum <= limit);
        sum.ok_or(Rule::TooManyBytes(limit))
    }
}

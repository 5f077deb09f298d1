use std::{io, path::PathBuf};

use hob_model::IoWords;
use rustix::io::Errno;
use thiserror::Error;

use super::Compression;

/// Characters of a name that an error shows.
const SHOWN: usize = 200;

/// The layer was not unpacked, or only in part.
#[derive(Debug, Error)]
pub enum UnpackError {
    /// The folder to unpack into.
    #[error("cannot unpack into `{}`: {source}; give an existing, empty folder", path.display())]
    Target {
        /// The folder as it was given.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The reader of an uncompressed layer failed.
    #[error("layer cannot be read: {0}")]
    Read(#[source] io::Error),
    /// The compressed data is damaged or cut short, or its reader failed.
    #[error(
        "{compression} data of the layer is damaged or cut short, pull the image again: {source}"
    )]
    Compressed {
        /// What its first bytes said it is.
        compression: Compression,
        /// What the decoder said.
        source: io::Error,
    },
    /// A header of the tar is damaged.
    #[error(
        "tar of the layer is damaged before its byte {position}, pull or build the image again: {source}"
    )]
    Damaged {
        /// Bytes of the uncompressed tar that had been read.
        position: u64,
        /// What the reader of tars said.
        source: io::Error,
    },
    /// There is no end mark.
    #[error("tar of the layer is cut short at its byte {position}, pull or build the image again")]
    NoEnd {
        /// Length of the uncompressed tar in bytes.
        position: u64,
    },
    /// The headers of one entry are longer than [`head_bytes`](super::UnpackLimits::head_bytes).
    #[error("headers of one layer entry before byte {position} exceed {limit} bytes")]
    LongHead {
        /// Bytes of the uncompressed tar that had been read.
        position: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The whole is longer than files within the limits can make it.
    #[error(
        "tar of the layer exceeds {limit} bytes: raise the limits if the image is to be trusted"
    )]
    LongTar {
        /// The limit in bytes.
        limit: u64,
    },
    /// More follows the end mark than [`tail_bytes`](super::UnpackLimits::tail_bytes).
    #[error("more than {limit} bytes follow the end mark of the layer's tar")]
    LongTail {
        /// The limit in bytes.
        limit: u64,
    },
    /// There are more entries than [`entries`](super::UnpackLimits::entries).
    #[error("layer has more than {limit} entries: raise the limit if the image is to be trusted")]
    TooManyEntries {
        /// The limit.
        limit: u64,
    },
    /// An entry breaks a rule.
    #[error("layer entry `{entry}` {rule}")]
    Refused {
        /// Its path in the tar, fit for a terminal: escaped, and cut when very long.
        entry: String,
        /// The rule that it breaks.
        rule: Rule,
    },
    /// The machine did not do what an entry needs.
    #[error("cannot {action} for layer entry `{entry}`: {}", IoWords(source))]
    Host {
        /// Its path in the tar, fit for a terminal.
        entry: String,
        /// What was tried.
        action: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// What an entry of a layer may not do. Each reads on after the name of the entry.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Rule {
    /// `..` in the path.
    #[error("leaves its folder by `..`")]
    ParentFolder,
    /// A NUL byte in the path.
    #[error("has a NUL byte in its path")]
    NulInPath,
    /// A path longer than the limit, in bytes.
    #[error("has a path of more than {0} bytes")]
    LongPath(usize),
    /// A part of the path longer than the limit, in bytes.
    #[error("has a name of more than {0} bytes in its path")]
    LongName(usize),
    /// More folders inside of each other than the limit.
    #[error("lies more than {0} folders deep")]
    Deep(usize),
    /// Something else than a folder with the path of the layer's root, or with none at all.
    #[error("takes the place of the layer's root, which only a folder can")]
    RootNotFolder,
    /// A part of the path is a symlink of this layer.
    #[error("has the symlink `{0}` in its path")]
    ThroughSymlink(String),
    /// A part of the path is something else than a folder.
    #[error("has `{0}` in its path, which is no folder")]
    ThroughFile(String),
    /// A folder of this layer has its path already.
    #[error("would replace a folder of the same layer")]
    OverFolder,
    /// A hard link with `..`, a NUL byte or an overlong path.
    #[error("is a hard link to `{0}`, which is no path of the layer")]
    LinkOutside(String),
    /// A hard link to what this layer does not have (yet), or to a whiteout.
    #[error("is a hard link to `{0}`, which the layer does not have before it")]
    LinkMissing(String),
    /// A hard link to a folder.
    #[error("is a hard link to the folder `{0}`")]
    LinkToFolder(String),
    /// A hard link through a symlink of this layer.
    #[error("is a hard link to `{0}`, which has a symlink in its path")]
    LinkThroughSymlink(String),
    /// A link without a target, or a symlink with one that no kernel takes.
    #[error("is a link whose target is empty, too long or holds a NUL byte")]
    LinkTarget,
    /// A character or block device outside of `dev/`.
    #[error("is a device outside of `dev/`")]
    Device,
    /// A character device 0:0, which overlayfs would take for a whiteout.
    #[error("is the device 0:0, which stands for a deleted file: layers say that by `.wh.`")]
    ForgedWhiteout,
    /// A type of entry that images do not have, as the byte in its header.
    #[error("has the unknown type {}", .0.escape_ascii())]
    UnknownType(u8),
    /// The content of all files is more than the limit, in bytes.
    #[error("brings the layer above {0} bytes: raise the limit if the image is to be trusted")]
    TooManyBytes(u64),
    /// The tar ends inside of its content.
    #[error("is cut short: the tar ends inside of it")]
    CutShort,
    /// Its headers disagree about the size, or a size stands where there can be no content.
    #[error("lies about its size")]
    Size,
    /// A number in its header that is none, or out of range.
    #[error("has a bad {0} in its header")]
    Field(&'static str),
    /// An extended header that does not follow POSIX.
    #[error("has a damaged extended header")]
    ExtendedHeader,
    /// The map of a sparse file is no map of it.
    #[error("has a damaged map of its holes")]
    SparseMap,
    /// An extended attribute that steers overlayfs.
    #[error("has the attribute `{0}`, which only the host may set")]
    OverlayXattr(String),
    /// An extended attribute whose name no kernel takes.
    #[error("has an attribute with a bad name")]
    XattrName,
    /// An extended attribute longer than the limit, in bytes.
    #[error("has an attribute of more than {0} bytes")]
    LongXattr(usize),
    /// A whiteout of nothing that can exist.
    #[error("is no valid whiteout")]
    Whiteout,
    /// All lower layers are hidden, which overlayfs cannot do.
    #[error("hides the whole image below the layer: build the image without it")]
    RootWhiteout,
    /// The paths of all folders are more than the limit, in bytes.
    #[error("brings the paths of the layer's folders above {0} bytes")]
    TooManyFolders(usize),
}

/// Why an entry failed, as long as its name is not at hand.
#[derive(Debug)]
pub(super) enum Fault {
    Rule(Rule),
    Host {
        action: &'static str,
        source: io::Error,
    },
    /// The tar could not be read on; the stream below knows more.
    Tar(io::Error),
}

/// A name from a layer, fit for a terminal.
pub(super) fn shown(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    let mut shown: String = text.escape_debug().take(SHOWN).collect();
    if text.escape_debug().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

// === impl Fault ===

impl Fault {
    /// To be given to `map_err`.
    pub(super) fn host(action: &'static str) -> impl Fn(Errno) -> Self {
        move |errno| Self::Host {
            action,
            source: errno.into(),
        }
    }
}

impl From<Rule> for Fault {
    fn from(rule: Rule) -> Self {
        Self::Rule(rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_write_to_the_terminal() {
        assert_eq!(shown(b"a\x1b[2Jb\n"), "a\\u{1b}[2Jb\\n");
        assert_eq!(shown(&[b'x'; 5000]).chars().count(), SHOWN + 1);
    }
}

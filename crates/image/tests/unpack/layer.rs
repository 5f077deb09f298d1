//! Builds the tar of a layer byte by byte, valid or not.

use std::io::Write;

use tar::{EntryType, Header};

pub(crate) const BLOCK: usize = 512;

#[derive(Clone, Default)]
pub(crate) struct Layer(pub(crate) Vec<u8>);

/// A header with raw bytes for the name, which the crate's own builder would refuse.
pub(crate) fn header(kind: EntryType, name: impl AsRef<[u8]>) -> Header {
    let mut header = Header::new_gnu();
    let name = name.as_ref();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_mode(if kind == EntryType::Directory {
        0o755
    } else {
        0o644
    });
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_000_000_000);
    header.set_size(0);
    header
}

// === impl Layer ===

impl Layer {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn file(self, name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        self.entry(header(EntryType::Regular, name), content)
    }

    pub(crate) fn folder(self, name: impl AsRef<[u8]>) -> Self {
        self.entry(header(EntryType::Directory, name), b"")
    }

    pub(crate) fn symlink(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.link(EntryType::Symlink, name, target)
    }

    pub(crate) fn hard_link(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.link(EntryType::Link, name, target)
    }

    pub(crate) fn device(self, kind: EntryType, name: &str, major: u32, minor: u32) -> Self {
        let mut header = header(kind, name);
        header.set_device_major(major).unwrap();
        header.set_device_minor(minor).unwrap();
        self.entry(header, b"")
    }

    /// The header's size is set to that of the content, the checksum to the right one.
    pub(crate) fn entry(self, mut header: Header, content: impl AsRef<[u8]>) -> Self {
        header.set_size(content.as_ref().len() as u64);
        self.entry_of_size(header, content)
    }

    /// The header's size stays what it is.
    pub(crate) fn entry_of_size(mut self, mut header: Header, content: impl AsRef<[u8]>) -> Self {
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content.as_ref());
        self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
        self
    }

    /// An extended header for the next entry.
    pub(crate) fn pax(self, key: &str, value: impl AsRef<[u8]>) -> Self {
        let mut record = Vec::new();
        write!(record, " {key}=").unwrap();
        record.extend_from_slice(value.as_ref());
        record.push(b'\n');
        let digits = |length: usize| length.to_string().len();
        let mut length = record.len();
        while length != record.len() + digits(length) {
            length = record.len() + digits(length);
        }
        let body = [length.to_string().into_bytes(), record].concat();
        self.entry(header(EntryType::XHeader, "pax"), body)
    }

    pub(crate) fn xattr(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.pax(&format!("SCHILY.xattr.{name}"), value)
    }

    pub(crate) fn append(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// The whole tar, with its end mark.
    pub(crate) fn tar(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 2 * BLOCK, 0);
        self.0
    }

    fn link(self, kind: EntryType, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        let mut header = header(kind, name);
        let target = target.as_ref();
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target);
        self.entry(header, b"")
    }
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

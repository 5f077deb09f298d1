use std::{
    fmt,
    io::{self, BufReader, Read},
};

use flate2::bufread::MultiGzDecoder;
use zstd::stream::read::Decoder as ZstdDecoder;

/// Bytes read at once from the compressed layer.
const BUFFER: usize = 64 << 10;
/// The longest magic number that is looked at, in bytes.
const MAGIC: usize = 4;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// A skippable frame, with which parallel compressors begin: 0x184D2A50 to 0x184D2A5F, little
/// endian (RFC 8878, 3.1.2).
const ZSTD_SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];
/// The largest window a zstd frame may ask for, as a power of two: 128 MiB of memory, what
/// `zstd -d` allows by default.
const ZSTD_WINDOW_LOG: u32 = 27;

/// How the tar of a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// RFC 1952, one or more members.
    Gzip,
    /// RFC 8878, one or more frames.
    Zstd,
}

// === impl Compression ===

impl Compression {
    /// What the first bytes say; four are enough. Anything unknown is `None`, and then no tar.
    pub fn of(first_bytes: &[u8]) -> Self {
        if first_bytes.starts_with(&GZIP_MAGIC) {
            return Self::Gzip;
        }
        let skippable =
            matches!(first_bytes, [0x50..=0x5f, rest @ ..] if rest.starts_with(&ZSTD_SKIPPABLE));
        if first_bytes.starts_with(&ZSTD_MAGIC) || skippable {
            return Self::Zstd;
        }
        Self::None
    }

    /// What the media type of an OCI or Docker layer says; nothing when it is no layer's.
    ///
    /// See <https://github.com/opencontainers/image-spec/blob/v1.1.0/media-types.md>.
    pub fn from_media_type(media_type: &str) -> Option<Self> {
        let known = [
            "application/vnd.oci.image.layer.v1.",
            "application/vnd.oci.image.layer.nondistributable.v1.",
            "application/vnd.docker.image.rootfs.diff.",
            "application/vnd.docker.image.rootfs.foreign.diff.",
        ];
        let suffix = known
            .iter()
            .find_map(|prefix| media_type.strip_prefix(prefix))?;
        match suffix {
            "tar" => Some(Self::None),
            "tar+gzip" | "tar.gzip" => Some(Self::Gzip),
            "tar+zstd" | "tar.zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The tar inside of `layer`, and how it was compressed.
    ///
    /// # Errors
    /// `layer` cannot be read, or there is no memory for the decoder.
    pub(super) fn decode<'a>(mut layer: impl Read + 'a) -> io::Result<(Self, Box<dyn Read + 'a>)> {
        let mut first = Vec::with_capacity(MAGIC);
        layer.by_ref().take(MAGIC as u64).read_to_end(&mut first)?;
        let compression = Self::of(&first);
        let whole = BufReader::with_capacity(BUFFER, io::Cursor::new(first).chain(layer));
        let tar: Box<dyn Read + 'a> = match compression {
            Self::None => Box::new(whole),
            Self::Gzip => Box::new(MultiGzDecoder::new(whole)),
            Self::Zstd => {
                let mut decoder = ZstdDecoder::with_buffer(whole)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Box::new(decoder)
            }
        };
        Ok((compression, tar))
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magic_numbers_tell_the_compression() {
        assert_eq!(Compression::of(b"\x1f\x8b\x08\x00"), Compression::Gzip);
        assert_eq!(Compression::of(b"\x28\xb5\x2f\xfd\x04"), Compression::Zstd);
        assert_eq!(Compression::of(b"\x5f\x2a\x4d\x18"), Compression::Zstd);
        for other in [
            &b""[..],
            b"\x1f",
            b"\x28\xb5\x2f",
            b"\x4f\x2a\x4d\x18",
            b"etc/",
        ] {
            assert_eq!(Compression::of(other), Compression::None);
        }
    }

    #[test]
    fn media_types_tell_the_compression() {
        let of = Compression::from_media_type;
        let oci = "application/vnd.oci.image.layer.v1.tar";
        assert_eq!(of(oci), Some(Compression::None));
        assert_eq!(of(&format!("{oci}+gzip")), Some(Compression::Gzip));
        assert_eq!(of(&format!("{oci}+zstd")), Some(Compression::Zstd));
        let docker = "application/vnd.docker.image.rootfs.diff.tar.gzip";
        assert_eq!(of(docker), Some(Compression::Gzip));
        assert_eq!(of("application/vnd.oci.image.config.v1+json"), None);
        assert_eq!(of("application/vnd.oci.image.layer.v1.tar+xz"), None);
    }
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// Bytes of a tar for each of its entries beside the content: headers, extended headers, padding.
const OVERHEAD: u64 = 4 * KIB;

/// What a layer may ask of the machine. [`Default`] fits the images that people publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnpackLimits {
    /// Content of all files together, unpacked, holes of sparse files included. Default 8 GiB.
    pub bytes: u64,
    /// Files, folders, links and whiteouts. Default 1,000,000.
    pub entries: u64,
    /// Bytes of one path, or of a symlink's target. Default 4095, the kernel's `PATH_MAX` without
    /// its end mark.
    pub path_bytes: usize,
    /// Bytes of one part of a path. Default 255, the kernel's `NAME_MAX`.
    pub name_bytes: usize,
    /// Folders inside of each other. Default 256.
    pub depth: usize,
    /// Bytes between the content of two files: the long names, extended headers and sparse maps of
    /// one entry, which are held in memory. Default 1 MiB.
    pub head_bytes: usize,
    /// Bytes of one extended attribute's value. Default 64 KiB, the kernel's `XATTR_SIZE_MAX`.
    pub xattr_bytes: usize,
    /// Bytes of the paths of all folders together, which are held in memory. Default 64 MiB.
    pub folder_bytes: usize,
    /// Bytes behind the end mark of the tar. Default 16 MiB.
    pub tail_bytes: u64,
}

// === impl UnpackLimits ===

impl UnpackLimits {
    /// Bytes of the whole tar that no layer within the other limits reaches.
    pub(super) fn tar_bytes(&self) -> u64 {
        self.entries
            .saturating_mul(OVERHEAD)
            .saturating_add(self.bytes)
            .saturating_add(self.head_bytes as u64)
            .saturating_add(self.tail_bytes)
    }
}

impl Default for UnpackLimits {
    fn default() -> Self {
        Self {
            bytes: 8 * GIB,
            entries: 1_000_000,
            path_bytes: 4095,
            name_bytes: 255,
            depth: 256,
            head_bytes: MIB as usize,
            xattr_bytes: 64 * KIB as usize,
            folder_bytes: 64 * MIB as usize,
            tail_bytes: 16 * MIB,
        }
    }
}

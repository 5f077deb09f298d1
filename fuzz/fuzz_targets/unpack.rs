//! Whatever the layer is, nothing outside of its folder is made, changed or linked to, and what is
//! inside keeps to the limits.
#![no_main]

use std::{
    fs::{self, Metadata},
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
};

use hob_image::{Compression, Digest, UnpackLimits, unpack_layer};
use libfuzzer_sys::fuzz_target;
use tar::Header;

const BLOCK: usize = 512;
const CANARY: &[u8] = b"alive";

fuzz_target!(|data: &[u8]| {
    let Some((first, layer)) = data.split_first() else {
        return;
    };
    // Nobody guesses checksums: every other layer gets the right ones.
    match first & 1 {
        0 => unpack(&with_checksums(layer)),
        _ => unpack(layer),
    }
});

fn unpack(layer: &[u8]) {
    let limits = UnpackLimits {
        bytes: 1 << 20,
        entries: 64,
        depth: 16,
        head_bytes: 64 << 10,
        xattr_bytes: 256,
        folder_bytes: 4 << 10,
        tail_bytes: 4 << 10,
        ..UnpackLimits::default()
    };
    let outside = tempfile::tempdir().expect("a folder");
    let (target, canary) = (outside.path().join("target"), outside.path().join("canary"));
    fs::create_dir(&target).expect("a folder");
    fs::write(&canary, CANARY).expect("a file");
    let before = of(&canary);

    let unpacked = unpack_layer(layer, &target, &limits);

    if let Ok(unpacked) = &unpacked {
        assert!(unpacked.bytes <= limits.bytes);
        assert!(unpacked.entries <= limits.entries);
        if Compression::of(layer) == Compression::None {
            assert_eq!(unpacked.diff_id, Digest::of(layer));
        }
    }
    assert_eq!(of(&canary), before);
    assert_eq!(fs::read(&canary).expect("the canary"), CANARY);
    assert_eq!(fs::read_dir(outside.path()).expect("a folder").count(), 2);
    check(&target, limits.bytes);
}

/// Inode, links, mode, owner, size and the time of the last change.
fn of(path: &Path) -> [u64; 7] {
    let metadata = fs::symlink_metadata(path).expect("the canary");
    [
        metadata.ino(),
        metadata.nlink(),
        metadata.mode().into(),
        metadata.uid().into(),
        metadata.size(),
        metadata.ctime() as u64,
        metadata.ctime_nsec() as u64,
    ]
}

fn check(folder: &Path, bytes: u64) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let metadata: Metadata = fs::symlink_metadata(&path).expect("an entry");
        let kind = metadata.file_type();
        assert!(!kind.is_block_device() && !kind.is_socket());
        assert!(!kind.is_char_device() || metadata.rdev() == 0);
        assert!(!kind.is_file() || metadata.size() <= bytes);
        if kind.is_dir() {
            check(&path, bytes);
        }
    }
}

fn with_checksums(layer: &[u8]) -> Vec<u8> {
    let mut layer = layer.to_vec();
    let mut position = 0;
    while let Some(block) = layer.get_mut(position..position + BLOCK) {
        let mut header = Header::from_byte_slice(block).clone();
        header.set_cksum();
        if block.iter().any(|byte| *byte != 0) {
            block.copy_from_slice(header.as_bytes());
        }
        let size = usize::try_from(header.entry_size().unwrap_or(0)).unwrap_or(usize::MAX);
        let Some(size) = size.checked_next_multiple_of(BLOCK) else {
            break;
        };
        let Some(next) = size.checked_add(position + BLOCK) else {
            break;
        };
        position = next;
        if position > layer.len() {
            break;
        }
    }
    layer
}

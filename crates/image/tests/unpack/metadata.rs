//! Modes, owners, times, attributes, and what is compressed how.

use std::{fs, os::unix::fs::MetadataExt};

use hob_image::Digest;
use tar::{EntryType, Header};

use crate::{
    layer::{BLOCK, Layer, gzip, header, zstd},
    place::{Place, needs_root, xattr},
};

fn with_mode(kind: EntryType, name: &str, mode: u32) -> Header {
    let mut header = header(kind, name);
    header.set_mode(mode);
    header
}

#[test]
fn modes_are_exact() {
    if !needs_root() {
        return;
    }
    let modes = [0o4755, 0o2755, 0o1777, 0o6711, 0o000, 0o777, 0o7777, 0o600];
    let mut layer = Layer::new();
    for mode in modes {
        let kinds = [EntryType::Regular, EntryType::Directory, EntryType::Fifo];
        for (kind, letter) in kinds.into_iter().zip(['f', 'd', 'p']) {
            layer = layer.entry(with_mode(kind, &format!("{letter}{mode:o}"), mode), "");
        }
    }
    let place = Place::new();
    place.unpack(&layer.tar()).unwrap();
    for mode in modes {
        for letter in ['f', 'd', 'p'] {
            let found = place.metadata(&format!("{letter}{mode:o}")).mode() & 0o7777;
            assert_eq!(found, mode, "{letter} {found:o}");
        }
    }
}

#[test]
fn folders_are_closed_after_they_are_filled() {
    let mut closed = header(EntryType::Directory, "d");
    closed.set_mode(0o555);
    closed.set_mtime(5);
    let place = Place::new();
    let layer = Layer::new()
        .entry(closed, "")
        .folder("d/e")
        .file("d/e/f", "text")
        .file("d/g", "");
    place.unpack(&layer.tar()).unwrap();
    assert_eq!(place.metadata("d").mode() & 0o555, 0o555);
    assert_eq!(place.metadata("d").mtime(), 5);
    assert_eq!(place.metadata("d/e").mtime(), 1_000_000_000);
}

#[test]
fn folders_without_entry_belong_to_root_and_are_open() {
    let place = Place::new();
    place.unpack(&Layer::new().file("a/b/c", "").tar()).unwrap();
    for name in ["", "a", "a/b"] {
        let metadata = place.metadata(name);
        assert_eq!(metadata.mode() & 0o7777, 0o755, "{name}");
    }
}

#[test]
fn the_root_has_an_entry_too() {
    let mut root = header(EntryType::Directory, "./");
    root.set_mode(0o711);
    let place = Place::new();
    place
        .unpack(&Layer::new().entry(root, "").file("./a", "").tar())
        .unwrap();
    let metadata = place.metadata("");
    assert_eq!(metadata.mode() & 0o7077, 0o011);
    assert_eq!(metadata.mtime(), 1_000_000_000);
}

#[test]
fn owners_are_those_of_the_layer() {
    if !needs_root() {
        return;
    }
    let owned = |kind, name| {
        let mut header = header(kind, name);
        header.set_uid(1000);
        header.set_gid(2_000_000);
        header.as_old_mut().linkname[0] = b'x';
        header
    };
    let layer = Layer::new()
        .entry(owned(EntryType::Regular, "f"), "")
        .entry(owned(EntryType::Directory, "d"), "")
        .entry(owned(EntryType::Symlink, "l"), "")
        .entry(owned(EntryType::Fifo, "p"), "");
    let layer = layer.pax("uid", "4294967294").file("u", "");
    let place = Place::new();
    place.unpack(&layer.tar()).unwrap();
    for name in ["f", "d", "l", "p"] {
        let metadata = place.metadata(name);
        assert_eq!(
            (metadata.uid(), metadata.gid()),
            (1000, 2_000_000),
            "{name}"
        );
    }
    assert_eq!(place.metadata("u").uid(), u32::MAX - 1);
}

#[test]
fn setuid_outlives_the_owner() {
    if !needs_root() {
        return;
    }
    let mut program = with_mode(EntryType::Regular, "f", 0o6755);
    program.set_uid(12);
    let place = Place::new();
    place
        .unpack(&Layer::new().entry(program, "#!").tar())
        .unwrap();
    assert_eq!(place.metadata("f").mode() & 0o7777, 0o6755);
}

#[test]
fn times_keep_their_nanoseconds() {
    let place = Place::new();
    let layer = Layer::new()
        .pax("mtime", "1234567890.123456789")
        .file("new", "")
        .pax("mtime", "-5.5")
        .file("old", "");
    place.unpack(&layer.tar()).unwrap();
    let time = |name: &str| {
        (
            place.metadata(name).mtime(),
            place.metadata(name).mtime_nsec(),
        )
    };
    assert_eq!(time("new"), (1_234_567_890, 123_456_789));
    assert_eq!(time("old"), (-6, 500_000_000));
}

#[test]
fn blank_numbers_are_zero() {
    let mut blank = header(EntryType::Regular, "a");
    let old = blank.as_old_mut();
    (old.uid, old.gid, old.mtime) = ([0; 8], [b' '; 8], [0; 12]);
    let place = Place::new();
    place
        .unpack(&Layer::new().entry(blank, "text").tar())
        .unwrap();
    assert_eq!(place.metadata("a").mtime(), 0);
}

#[test]
fn attributes_of_users_are_kept_and_those_of_others_are_not() {
    let place = Place::new();
    let binary = b"\n\0\xff=\n";
    let layer = Layer::new()
        .xattr("user.binary", binary)
        .file("f", "")
        .xattr("user.mime", "x/y")
        .folder("d")
        .xattr("security.selinux", "label")
        .file("s", "")
        .xattr("user.mime", "x/y")
        .symlink("l", "f");
    place.unpack(&layer.tar()).unwrap();
    assert_eq!(xattr(&place.path("f"), "user.binary").unwrap(), binary);
    assert_eq!(xattr(&place.path("d"), "user.mime").unwrap(), b"x/y");
    assert_ne!(
        xattr(&place.path("s"), "security.selinux").as_deref(),
        Some(&b"label"[..])
    );
}

#[test]
fn capabilities_outlive_the_owner() {
    if !needs_root() {
        return;
    }
    // Revision 2, effective: CAP_DAC_OVERRIDE and CAP_FOWNER, whose byte is a newline.
    let mut capability = [0; 20];
    capability[..5].copy_from_slice(&[1, 0, 0, 2, 0x0a]);
    let mut program = header(EntryType::Regular, "f");
    program.set_uid(1000);
    program.set_mode(0o4755);
    let place = Place::new();
    let layer = Layer::new().xattr("security.capability", capability);
    place.unpack(&layer.entry(program, "#!").tar()).unwrap();
    let kept = xattr(&place.path("f"), "security.capability").unwrap();
    assert_eq!(kept, capability);
    assert_eq!(place.metadata("f").mode() & 0o7777, 0o4755);
}

#[test]
fn compressed_or_not_a_layer_is_the_same() {
    let tar = Layer::new().folder("a").file("a/b", "text").tar();
    let members = [gzip(&tar[..BLOCK]), gzip(&tar[BLOCK..])].concat();
    let frames = [zstd(&tar[..BLOCK]), zstd(&tar[BLOCK..])].concat();
    let skippable = [b"\x50\x2a\x4d\x18\x01\0\0\0x".to_vec(), zstd(&tar)].concat();
    for layer in [
        tar.clone(),
        gzip(&tar),
        zstd(&tar),
        members,
        frames,
        skippable,
    ] {
        let place = Place::new();
        let unpacked = place.unpack(&layer).unwrap();
        assert_eq!(unpacked.diff_id, Digest::of(&tar));
        assert_eq!((unpacked.bytes, unpacked.entries), (4, 2));
        assert_eq!(place.text("a/b"), "text");
    }
}

#[test]
fn the_digest_is_of_all_that_follows_the_end_too() {
    let tar = [
        Layer::new().file("a", "").tar(),
        vec![0; 10_000],
        b"more".to_vec(),
    ]
    .concat();
    for layer in [tar.clone(), gzip(&tar), zstd(&tar)] {
        assert_eq!(
            Place::new().unpack(&layer).unwrap().diff_id,
            Digest::of(&tar)
        );
    }
}

#[test]
fn an_empty_layer_is_a_layer() {
    let unpacked = Place::new().unpack(&gzip(&Layer::new().tar())).unwrap();
    let empty = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";
    assert_eq!(unpacked.diff_id.as_str(), empty);
    assert_eq!(unpacked.entries, 0);
}

#[test]
fn a_global_extended_header_says_nothing() {
    let place = Place::new();
    let global = header(EntryType::XGlobalHeader, "pax_global_header");
    let layer = Layer::new()
        .entry(global, "13 path=evil\n")
        .file("a", "text");
    place.unpack(&layer.tar()).unwrap();
    assert_eq!(place.names(), ["a"]);
}

#[test]
fn names_are_bytes() {
    let place = Place::new();
    place
        .unpack(&Layer::new().file(b"\xff\xfe \n\\", "text").tar())
        .unwrap();
    assert_eq!(fs::read_dir(&place.target).unwrap().count(), 1);
}

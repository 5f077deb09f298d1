//! Tars that are cut short, lie about sizes, or want more than there is.

use hob_image::{Compression, Rule, UnpackError, UnpackLimits};
use tar::EntryType;

use crate::{
    layer::{BLOCK, Layer, gzip, header, zstd},
    place::{Place, refusal},
};

fn error(layer: &[u8]) -> UnpackError {
    Place::new().unpack(layer).unwrap_err()
}

#[test]
fn compressed_data_that_is_cut_short_is_refused() {
    let noise: Vec<u8> = (0..40_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    let tar = Layer::new().file("a", noise).tar();
    for (layer, expected) in [
        (gzip(&tar), Compression::Gzip),
        (zstd(&tar), Compression::Zstd),
    ] {
        Place::new().unpack(&layer).unwrap();
        for length in [4, 20, layer.len() / 2, layer.len() - 1] {
            let error = error(&layer[..length]);
            assert!(
                matches!(error, UnpackError::Compressed { compression, .. } if compression == expected),
                "{length}: {error}"
            );
        }
    }
}

#[test]
fn compressed_data_that_is_damaged_is_refused() {
    let tar = Layer::new().file("a", [7; 5000]).tar();
    let mut layer = gzip(&tar);
    let checksum = layer.len() - 8;
    layer[checksum] ^= 1;
    assert!(matches!(error(&layer), UnpackError::Compressed { .. }));
    let mut layer = zstd(&tar);
    layer[4] ^= 0x40;
    assert!(matches!(error(&layer), UnpackError::Compressed { .. }));
    let garbage_behind = [gzip(&tar), b"garbage".to_vec()].concat();
    assert!(matches!(
        error(&garbage_behind),
        UnpackError::Compressed { .. }
    ));
}

#[test]
fn a_tar_that_is_cut_short_is_refused_wherever_it_is_cut() {
    let tar = Layer::new()
        .folder("a")
        .pax("path", "a/b")
        .file("x", [7; 1000])
        .symlink("s", "a")
        .tar();
    for length in (0..tar.len() - BLOCK).step_by(64) {
        error(&tar[..length]);
    }
    assert!(matches!(
        error(&tar[..BLOCK]),
        UnpackError::NoEnd { position: 512 }
    ));
    assert!(matches!(error(b""), UnpackError::NoEnd { position: 0 }));
    assert_eq!(
        refusal(&tar[..4 * BLOCK + 100]),
        ("a/b".into(), Rule::CutShort)
    );
    Place::new().unpack(&tar[..tar.len() - BLOCK]).unwrap();
}

#[test]
fn a_wrong_checksum_is_refused() {
    let mut tar = Layer::new().file("a", "text").tar();
    tar[0] = b'b';
    let error = error(&tar);
    assert!(
        matches!(error, UnpackError::Damaged { position: 512, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("checksum"), "{error}");
}

#[test]
fn what_is_no_tar_is_refused() {
    let page = b"<html>not found</html>".repeat(100);
    assert!(matches!(error(&page), UnpackError::Damaged { .. }));
    assert!(matches!(error(&gzip(&page)), UnpackError::Damaged { .. }));
    assert!(matches!(
        error(&zstd(b"short")),
        UnpackError::Damaged { .. }
    ));
}

#[test]
fn sizes_past_the_end_are_refused() {
    let mut lying = header(EntryType::Regular, "a");
    lying.set_size(100_000);
    let tar = Layer::new().entry_of_size(lying, "text").tar();
    assert_eq!(refusal(&tar), ("a".into(), Rule::CutShort));
}

#[test]
fn huge_sizes_are_refused_before_anything_is_written() {
    for size in [1 << 62, 8 << 30 | 1] {
        let mut lying = header(EntryType::Regular, "a");
        lying.set_size(size);
        let tar = Layer::new().entry_of_size(lying, "text").tar();
        let place = Place::new();
        let error = place.unpack(&tar).unwrap_err();
        assert!(
            error.to_string().contains("above 8589934592 bytes"),
            "{error}"
        );
        assert!(!place.has("a"));
    }
}

#[test]
fn sizes_that_are_no_sizes_are_refused() {
    for size in [
        [0xff; 12],
        *b"-0000000010\0",
        *b"00000000009\0",
        *b"xxxxxxxxxxxx",
    ] {
        let mut lying = header(EntryType::Regular, "a");
        lying.as_old_mut().size = size;
        let error = error(&Layer::new().entry_of_size(lying, "text").tar());
        let text = error.to_string();
        assert!(text.contains("size") || text.contains("numeric"), "{text}");
    }
    // Both have more than 64 bits, whose lower half is a fine size.
    for first in [0x80, 0xff] {
        let mut lying = header(EntryType::Regular, "a");
        lying.as_old_mut().size = [first, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 4];
        let tar = Layer::new().entry_of_size(lying, "text").tar();
        assert_eq!(refusal(&tar), ("a".into(), Rule::Size));
    }
}

#[test]
fn extended_headers_say_the_size_if_they_say_it_well() {
    let mut wide = header(EntryType::Regular, "a");
    wide.set_size(0);
    let place = Place::new();
    let layer = Layer::new()
        .pax("size", "4")
        .entry_of_size(wide.clone(), "text");
    place.unpack(&layer.tar()).unwrap();
    assert_eq!(place.text("a"), "text");
    for (size, rule) in [
        ("-4", Rule::Field("size")),
        ("4x", Rule::Field("size")),
        ("99999999999999999999", Rule::Field("size")),
        ("9223372036854775808", Rule::Size),
    ] {
        let layer = Layer::new()
            .pax("size", size)
            .entry_of_size(wide.clone(), "text");
        assert_eq!(refusal(&layer.tar()), ("a".into(), rule), "{size}");
    }
}

#[test]
fn what_hides_in_a_value_is_no_record() {
    // Whoever splits at newlines takes these for a size and a path.
    let value = "\n12 size=512\n12 path=evil\n";
    let place = Place::new();
    let layer = Layer::new().xattr("user.a", value).file("a", "text");
    place.unpack(&layer.tar()).unwrap();
    assert_eq!(place.text("a"), "text");
    assert_eq!(place.names(), ["a"]);
}

#[test]
fn what_has_no_content_has_no_size() {
    for kind in [
        EntryType::Directory,
        EntryType::Symlink,
        EntryType::Link,
        EntryType::Fifo,
        EntryType::Char,
    ] {
        let mut lying = header(kind, "a");
        lying.as_old_mut().linkname[0] = b'b';
        lying.set_size(BLOCK as u64);
        let hidden = Layer::new().file("hidden", "");
        let tar = Layer::new().entry_of_size(lying, &hidden.0).tar();
        assert_eq!(refusal(&tar), ("a".into(), Rule::Size), "{kind:?}");
    }
}

#[test]
fn extended_headers_must_be_whole() {
    for body in [&b"12 path=b\n"[..], b"path=b\n", b"9 path=b\n\0", b"\n"] {
        let layer = Layer::new()
            .entry(header(EntryType::XHeader, "x"), body)
            .file("a", "");
        assert_eq!(refusal(&layer.tar()), ("a".into(), Rule::ExtendedHeader));
    }
}

#[test]
fn numbers_must_be_numbers_in_range() {
    let refused = |layer: Layer, field| {
        let refusal = refusal(&layer.file("a", "").tar());
        assert_eq!(refusal, ("a".into(), Rule::Field(field)));
    };
    refused(Layer::new().pax("uid", "4294967295"), "owner");
    refused(Layer::new().pax("gid", "-1"), "group");
    refused(Layer::new().pax("mtime", "yesterday"), "time");
    let mut bad = header(EntryType::Regular, "a");
    bad.as_old_mut().mode = *b"rwxr-xr-";
    assert_eq!(
        refusal(&Layer::new().entry(bad, "").tar()).1,
        Rule::Field("mode")
    );
}

#[test]
fn maps_of_holes_must_be_maps() {
    let sparse = |size: &str, map: &str| {
        let body = |key: &str, value: &str| {
            let record = format!(" {key}={value}\n");
            format!("{}{record}", record.len() + 2)
        };
        let body = body("GNU.sparse.size", size) + &body("GNU.sparse.map", map);
        let layer = Layer::new().entry(header(EntryType::XHeader, "x"), body);
        layer.file("a", "text").tar()
    };
    let place = Place::new();
    place.unpack(&sparse("9", "2,2,6,2")).unwrap();
    assert_eq!(place.text("a"), "\0\0te\0\0xt\0");
    for map in ["2,2,3,2", "2,2", "2,9", "2", "2,2,x,2", "", "6,2,2,2"] {
        assert_eq!(
            refusal(&sparse("9", map)),
            ("a".into(), Rule::SparseMap),
            "{map}"
        );
    }
    let refused = refusal(&sparse("9999999999999", "2,4"));
    assert_eq!(refused, ("a".into(), Rule::TooManyBytes(8 << 30)));
}

#[test]
fn a_bomb_is_stopped() {
    let limits = UnpackLimits {
        bytes: 1 << 20,
        entries: 100,
        tail_bytes: 1 << 10,
        ..UnpackLimits::default()
    };
    let bomb = vec![0; 32 << 20];
    let tar = Layer::new().file("a", &bomb).tar();
    for layer in [gzip(&tar), zstd(&tar)] {
        let error = Place::new().unpack_within(&layer, &limits).unwrap_err();
        let rule = "brings the layer above 1048576 bytes";
        assert!(error.to_string().contains(rule), "{error}");
    }
    let behind = [Layer::new().tar(), bomb.clone()].concat();
    let error = Place::new()
        .unpack_within(&gzip(&behind), &limits)
        .unwrap_err();
    assert!(
        matches!(error, UnpackError::LongTail { limit: 1024 }),
        "{error}"
    );
}

#[test]
fn headers_are_not_read_into_memory_without_end() {
    let bomb = vec![b'x'; 4 << 20];
    for kind in [
        EntryType::XHeader,
        EntryType::GNULongName,
        EntryType::GNULongLink,
    ] {
        let tar = Layer::new()
            .entry(header(kind, "long"), &bomb)
            .file("a", "")
            .tar();
        let error = error(&gzip(&tar));
        assert!(matches!(error, UnpackError::LongHead { .. }), "{error}");
    }
    let mut sparse = header(EntryType::GNUSparse, "a");
    sparse.as_gnu_mut().unwrap().isextended = [1];
    let error = error(&gzip(
        &Layer::new().entry_of_size(sparse, vec![1; 4 << 20]).tar(),
    ));
    assert!(!error.to_string().is_empty());
}

#[test]
fn headers_without_entry_are_refused() {
    let tar = Layer::new().pax("path", "a").tar();
    assert!(matches!(error(&tar), UnpackError::Damaged { .. }));
}

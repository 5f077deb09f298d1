//! One test for each thing that an entry may not do.

use std::{fs, os::unix::fs::symlink};

use hob_image::{Rule, UnpackError, UnpackLimits};
use tar::EntryType;

use crate::{
    layer::{Layer, header},
    place::{Place, refusal, refusal_within, xattr},
};

fn refused(layer: Layer, entry: &str, rule: Rule) {
    assert_eq!(refusal(&layer.tar()), (entry.to_owned(), rule));
}

#[test]
fn no_path_leaves_the_target() {
    for name in [
        "../canary",
        "a/../../canary",
        "..",
        "a/..",
        "/../canary",
        "./../x",
    ] {
        refused(Layer::new().file(name, "evil"), name, Rule::ParentFolder);
        let layer = Layer::new().pax("path", name).file("a", "evil");
        refused(layer, name, Rule::ParentFolder);
        let long = header(EntryType::GNULongName, "././@LongLink");
        let layer = Layer::new()
            .entry(long, format!("{name}\0"))
            .file("a", "evil");
        refused(layer, name, Rule::ParentFolder);
    }
}

#[test]
fn absolute_paths_are_paths_of_the_layer() {
    let place = Place::new();
    let canary = place.target.with_file_name("canary");
    let name = canary.to_str().unwrap();
    place
        .unpack(&Layer::new().file(name, "inside").tar())
        .unwrap();
    assert_eq!(place.text(name.trim_start_matches('/')), "inside");
}

#[test]
fn nothing_is_written_through_a_symlink() {
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().to_str().unwrap();
    for target in [target, "..", ".", "b", "/"] {
        let layer = || Layer::new().folder("b").symlink("a", target);
        let rule = || Rule::ThroughSymlink("a".into());
        refused(layer().file("a/x", "evil"), "a/x", rule());
        refused(layer().folder("a/x"), "a/x", rule());
        refused(layer().file("a/x/y", "evil"), "a/x/y", rule());
        refused(layer().symlink("a/x", "y"), "a/x", rule());
        refused(layer().file("a/.wh.x", ""), "a/.wh.x", rule());
        refused(layer().file("a/.wh..wh..opq", ""), "a/.wh..wh..opq", rule());
        refused(layer().file("f", "").hard_link("a/x", "f"), "a/x", rule());
    }
    let deep = Layer::new().symlink("a/b", "/").file("a/b/c/d", "evil");
    refused(deep, "a/b/c/d", Rule::ThroughSymlink("a/b".into()));
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn a_file_over_a_symlink_replaces_it() {
    let place = Place::new();
    let canary = place.target.with_file_name("canary");
    let layer = Layer::new()
        .symlink("a", canary.to_str().unwrap())
        .file("a", "own");
    place.unpack(&layer.tar()).unwrap();
    assert_eq!(place.text("a"), "own");
}

#[test]
fn no_path_leads_through_a_file() {
    let layer = Layer::new().file("a", "").file("a/b", "");
    refused(layer, "a/b", Rule::ThroughFile("a".into()));
}

#[test]
fn names_end_where_they_end() {
    let layer = Layer::new().pax("path", "a\0b").file("x", "");
    refused(layer, "a\\0b", Rule::NulInPath);
    let long = header(EntryType::GNULongName, "././@LongLink");
    let layer = Layer::new().entry(long, "a\0b\0").file("x", "");
    refused(layer, "a\\0b", Rule::NulInPath);
}

#[test]
fn paths_are_bounded() {
    let shown = |name: &str| format!("{}…", &name[..200]);
    let name = "n".repeat(256);
    let layer = Layer::new().pax("path", &name).file("x", "");
    refused(layer, &shown(&name), Rule::LongName(255));
    let name = format!("{}/", "n".repeat(250)).repeat(17);
    let layer = Layer::new().pax("path", &name).file("x", "");
    refused(layer, &shown(&name), Rule::LongPath(4095));
    let name = "n/".repeat(300);
    let layer = Layer::new().pax("path", &name).file("x", "");
    refused(layer, &shown(&name), Rule::Deep(256));
}

#[test]
fn the_root_stays_a_folder() {
    for name in ["", ".", "./", "/"] {
        let rule = || Rule::RootNotFolder;
        refused(Layer::new().file(name, "evil"), name, rule());
        refused(Layer::new().symlink(name, "/etc"), name, rule());
        refused(
            Layer::new().file("a", "").hard_link(name, "a"),
            name,
            rule(),
        );
        refused(
            Layer::new().entry(header(EntryType::Fifo, name), ""),
            name,
            rule(),
        );
    }
}

#[test]
fn hard_links_stay_inside() {
    let outside = |target: &str| Rule::LinkOutside(target.into());
    for target in ["../canary", "a/../../canary", ".."] {
        let layer = Layer::new().hard_link("l", target);
        refused(layer, "l", outside(target));
    }
    let layer = Layer::new().pax("linkpath", "a\0b").hard_link("l", "a");
    refused(layer, "l", outside("a\\0b"));
}

#[test]
fn hard_links_lead_to_what_is_there() {
    let place = Place::new();
    let canary = place.target.with_file_name("canary");
    let canary = canary.to_str().unwrap();
    let missing = |target: &str| Rule::LinkMissing(target.into());
    let told = canary.trim_start_matches('/');
    refused(Layer::new().hard_link("l", canary), "l", missing(told));
    refused(
        Layer::new().hard_link("l", "later").file("later", ""),
        "l",
        missing("later"),
    );
    refused(Layer::new().hard_link("l", "l"), "l", missing("l"));
    refused(
        Layer::new().file("f", "").hard_link("l", "f/x"),
        "l",
        missing("f/x"),
    );
    refused(
        Layer::new().file(".wh.f", "").hard_link("l", "f"),
        "l",
        missing("f"),
    );
    let skipped = Layer::new().device(EntryType::Char, "dev/null", 1, 3);
    refused(skipped.hard_link("l", "dev/null"), "l", missing("dev/null"));
}

#[test]
fn hard_links_do_not_follow_symlinks() {
    let place = Place::new();
    let folder = place.target.parent().unwrap().to_str().unwrap();
    let behind = |target: &str| Rule::LinkThroughSymlink(target.into());
    let layer = Layer::new().symlink("s", folder);
    refused(layer.hard_link("l", "s/canary"), "l", behind("s/canary"));
    let layer = Layer::new().symlink("d/s", folder);
    refused(
        layer.hard_link("l", "d/s/x/canary"),
        "l",
        behind("d/s/x/canary"),
    );
}

#[test]
fn hard_links_do_not_lead_to_folders() {
    let folder = |target: &str| Rule::LinkToFolder(target.into());
    refused(
        Layer::new().folder("d").hard_link("l", "d"),
        "l",
        folder("d"),
    );
    refused(Layer::new().hard_link("l", "/"), "l", folder(""));
}

#[test]
fn links_need_a_target() {
    refused(Layer::new().symlink("s", ""), "s", Rule::LinkTarget);
    refused(Layer::new().hard_link("s", ""), "s", Rule::LinkTarget);
    let layer = Layer::new().pax("linkpath", "a\0b").symlink("s", "a");
    refused(layer, "s", Rule::LinkTarget);
    let layer = Layer::new()
        .pax("linkpath", "x".repeat(4096))
        .symlink("s", "a");
    refused(layer, "s", Rule::LinkTarget);
}

#[test]
fn devices_are_refused_or_skipped() {
    for kind in [EntryType::Char, EntryType::Block] {
        let device = |name: &str| Layer::new().device(kind, name, 1, 3);
        for name in ["null", "a/dev/null", "dev", "device/null", ".wh.null"] {
            refused(device(name), name, Rule::Device);
        }
        let place = Place::new();
        place
            .unpack(&device("dev/null").folder("dev").tar())
            .unwrap();
        assert!(place.has("dev") && !place.has("dev/null"));
    }
}

#[test]
fn a_whiteout_cannot_be_forged() {
    for name in ["a", "etc/passwd", "dev/a", "dev", ".wh.a"] {
        let layer = Layer::new().device(EntryType::Char, name, 0, 0);
        refused(layer, name, Rule::ForgedWhiteout);
    }
    // Blank numbers are zero, and so are those of a header that has none.
    let layer = Layer::new().entry(header(EntryType::Char, "dev/a"), "");
    refused(layer, "dev/a", Rule::ForgedWhiteout);
    let mut old = header(EntryType::Char, "dev/a");
    old.as_mut_bytes()[257..].fill(0);
    refused(Layer::new().entry(old, ""), "dev/a", Rule::ForgedWhiteout);
    let mut binary = header(EntryType::Char, "dev/a");
    binary.as_gnu_mut().unwrap().dev_major = [0x80, 0, 0, 0, 0, 0, 0, 0];
    refused(
        Layer::new().entry(binary, ""),
        "dev/a",
        Rule::Field("device"),
    );
}

#[test]
fn unknown_types_are_refused() {
    for kind in [b'D', b'M', b'V', b'N', b'A', b'z', 0xff] {
        let layer = Layer::new().entry(header(EntryType::new(kind), "a"), "");
        refused(layer, "a", Rule::UnknownType(kind));
    }
}

#[test]
fn attributes_that_steer_overlayfs_are_refused() {
    for name in [
        "trusted.overlay.opaque",
        "trusted.overlay.redirect",
        "trusted.md5",
        "user.overlay.opaque",
        "user.overlay.metacopy",
        "user.overlay.",
        "user.overlay",
    ] {
        let rule = || Rule::OverlayXattr(name.into());
        refused(Layer::new().xattr(name, "y").folder("a"), "a", rule());
        refused(Layer::new().xattr(name, "y").file("a", ""), "a", rule());
        refused(Layer::new().xattr(name, "y").symlink("a", "b"), "a", rule());
        refused(Layer::new().xattr(name, "y").folder("./"), "./", rule());
    }
}

#[test]
fn attributes_that_hide_behind_newlines_are_seen() {
    let hidden = "x\n40 SCHILY.xattr.user.overlay.opaque=y\n";
    let place = Place::new();
    place
        .unpack(&Layer::new().xattr("user.a", hidden).folder("a").tar())
        .unwrap();
    assert!(!place.is_opaque("a"));
    assert_eq!(
        xattr(&place.path("a"), "user.a").unwrap(),
        hidden.as_bytes()
    );
}

#[test]
fn attributes_are_bounded() {
    let long = vec![b'v'; (64 << 10) + 1];
    let layer = Layer::new().xattr("user.a", long).file("a", "");
    refused(layer, "a", Rule::LongXattr(64 << 10));
    let layer = Layer::new()
        .xattr(&format!("user.{}", "n".repeat(251)), "")
        .file("a", "");
    refused(layer, "a", Rule::XattrName);
    refused(
        Layer::new().xattr("", "v").file("a", ""),
        "a",
        Rule::XattrName,
    );
}

#[test]
fn nonsense_is_no_whiteout() {
    for name in [
        ".wh.",
        "a/.wh.",
        ".wh..",
        ".wh...",
        ".wh.x/y",
        "a/.wh.x/y/z",
        ".wh..wh..opq/x",
    ] {
        refused(Layer::new().file(name, ""), name, Rule::Whiteout);
    }
}

#[test]
fn the_root_cannot_be_whited_out() {
    for name in [".wh..wh..opq", "./.wh..wh..opq", "/.wh..wh..opq"] {
        refused(Layer::new().file(name, ""), name, Rule::RootWhiteout);
    }
}

#[test]
fn content_is_bounded() {
    let limits = UnpackLimits {
        bytes: 1000,
        ..UnpackLimits::default()
    };
    let layer = Layer::new().file("a", [1; 600]).file("b", [1; 400]);
    Place::new()
        .unpack_within(&layer.clone().tar(), &limits)
        .unwrap();
    let refusal = refusal_within(&layer.file("c", [1]).tar(), &limits);
    assert_eq!(refusal, ("c".into(), Rule::TooManyBytes(1000)));
    let layer = Layer::new().file("a", [1; 600]).file("a", [1; 600]);
    let refusal = refusal_within(&layer.tar(), &limits);
    assert_eq!(
        refusal,
        ("a".into(), Rule::TooManyBytes(1000)),
        "replaced ones count"
    );
    let layer = Layer::new().file(".wh..wh.aufs", [1; 1001]);
    let refusal = refusal_within(&layer.tar(), &limits);
    assert_eq!(refusal.1, Rule::TooManyBytes(1000), "skipped ones count");
}

#[test]
fn entries_are_bounded() {
    let limits = UnpackLimits {
        entries: 100,
        ..UnpackLimits::default()
    };
    let flood = |count| (0..count).fold(Layer::new(), |layer, n| layer.file(format!("f{n}"), ""));
    let unpacked = Place::new()
        .unpack_within(&flood(100).tar(), &limits)
        .unwrap();
    assert_eq!(unpacked.entries, 100);
    let error = Place::new()
        .unpack_within(&flood(101).tar(), &limits)
        .unwrap_err();
    assert!(
        matches!(error, UnpackError::TooManyEntries { limit: 100 }),
        "{error}"
    );
}

#[test]
fn folders_are_bounded() {
    let limits = UnpackLimits {
        folder_bytes: 5,
        ..UnpackLimits::default()
    };
    let layer = Layer::new().file("a/b/c", "").folder("a").folder("d");
    Place::new()
        .unpack_within(&layer.clone().tar(), &limits)
        .unwrap();
    let refusal = refusal_within(&layer.folder("ef").tar(), &limits);
    assert_eq!(refusal, ("ef".into(), Rule::TooManyFolders(5)));
}

#[test]
fn the_target_is_an_empty_folder() {
    let place = Place::new();
    fs::write(place.path("old"), "").unwrap();
    let error = place.unpack(&Layer::new().file("a", "").tar()).unwrap_err();
    assert!(matches!(error, UnpackError::Target { .. }), "{error}");
    let place = Place::new();
    fs::remove_dir(&place.target).unwrap();
    symlink("nowhere", &place.target).unwrap();
    let error = place.unpack(&Layer::new().file("a", "").tar()).unwrap_err();
    assert!(matches!(error, UnpackError::Target { .. }), "{error}");
}

#[test]
fn errors_cannot_write_to_the_terminal() {
    let error = Place::new()
        .unpack(&Layer::new().file("../\x1b[2J", "").tar())
        .unwrap_err();
    let text = error.to_string();
    assert_eq!(
        text,
        "layer entry `../\\u{1b}[2J` leaves its folder by `..`"
    );
}

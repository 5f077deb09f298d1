//! How a layer deletes what those below it have.

use crate::{
    layer::Layer,
    place::{Place, xattr},
};

fn unpacked(layer: Layer) -> Place {
    let place = Place::new();
    place.unpack(&layer.tar()).unwrap();
    place
}

#[test]
fn a_whiteout_is_the_device_that_overlayfs_knows() {
    let place = unpacked(
        Layer::new()
            .folder("a")
            .file("a/.wh.gone", "")
            .file(".wh.b", ""),
    );
    assert!(place.is_whiteout("a/gone"));
    assert!(place.is_whiteout("b"));
    assert_eq!(place.names(), ["a", "b"]);
    let place = unpacked(
        Layer::new()
            .file(".wh.a", "")
            .folder(".wh.a")
            .symlink(".wh.b", "x"),
    );
    assert!(place.is_whiteout("a") && place.is_whiteout("b"));
}

#[test]
fn an_opaque_folder_has_the_attribute_that_overlayfs_knows() {
    let place = unpacked(
        Layer::new()
            .folder("a")
            .file("a/.wh..wh..opq", "")
            .file("a/f", "new"),
    );
    assert!(place.is_opaque("a"));
    assert_eq!(place.text("a/f"), "new");
    assert!(!place.has("a/.wh..wh..opq"));
    assert!(unpacked(Layer::new().file("a/.wh..wh..opq", "")).is_opaque("a"));
}

#[test]
fn a_file_wins_over_its_whiteout_in_any_order() {
    let file = || Layer::new().file("a", "new").symlink("b", "x");
    let whiteouts = || Layer::new().file(".wh.a", "").file(".wh.b", "");
    for layer in [file().append(whiteouts()), whiteouts().append(file())] {
        let place = unpacked(layer);
        assert_eq!(place.text("a"), "new");
        assert!(place.metadata("b").is_symlink());
    }
}

#[test]
fn a_folder_with_a_whiteout_hides_what_is_below_it_in_any_order() {
    let whiteout = || Layer::new().file(".wh.a", "");
    let folder = || Layer::new().folder("a").file("a/f", "new");
    let implied = || Layer::new().file("a/f", "new");
    for layer in [
        whiteout().append(folder()),
        folder().append(whiteout()),
        whiteout().append(implied()),
        implied().append(whiteout()),
    ] {
        let place = unpacked(layer);
        assert!(place.is_opaque("a"));
        assert_eq!(place.text("a/f"), "new");
    }
}

#[test]
fn what_aufs_left_behind_is_left_away() {
    let place = unpacked(
        Layer::new()
            .folder(".wh..wh.plnk")
            .file(".wh..wh.plnk/1.2", "text")
            .folder(".wh..wh.orph")
            .file(".wh..wh.aufs", "")
            .file("a/.wh..wh.x", "")
            .file("b", ""),
    );
    assert_eq!(place.names(), ["b"]);
}

#[test]
fn a_name_that_only_looks_like_one_is_a_name() {
    let place = unpacked(
        Layer::new()
            .file(".whiteout", "")
            .file(".wh", "")
            .file("a.wh.b", ""),
    );
    assert_eq!(place.names(), [".wh", ".whiteout", "a.wh.b"]);
    assert_eq!(xattr(&place.target, "user.overlay.opaque"), None);
}

//! Several entries with one path.

use std::{fs, os::unix::fs::MetadataExt};

use hob_image::Rule;
use tar::EntryType;

use crate::{
    layer::{Layer, header},
    place::{Place, refusal},
};

#[test]
fn the_last_entry_counts() {
    let place = Place::new();
    let layer = Layer::new()
        .file("a", "one")
        .hard_link("b", "a")
        .file("a", "two")
        .symlink("c", "a")
        .file("c", "three")
        .file("d", "")
        .symlink("d", "a")
        .file("e", "")
        .entry(header(EntryType::Fifo, "e"), "")
        .hard_link("e", "a");
    place.unpack(&layer.tar()).unwrap();
    assert_eq!(place.text("a"), "two");
    assert_eq!(place.text("b"), "one", "the other name keeps what it had");
    assert_eq!(place.text("c"), "three");
    assert_eq!(fs::read_link(place.path("d")).unwrap().to_str(), Some("a"));
    assert_eq!(place.text("e"), "two");
}

#[test]
fn a_folder_is_updated_and_keeps_what_is_in_it() {
    let place = Place::new();
    let mut again = header(EntryType::Directory, "d/");
    again.set_mode(0o700);
    again.set_mtime(7);
    let layer = Layer::new()
        .folder("d")
        .file("d/f", "text")
        .entry(again, "");
    place.unpack(&layer.tar()).unwrap();
    assert_eq!(place.text("d/f"), "text");
    assert_eq!(place.metadata("d").mode() & 0o7777, 0o700);
    assert_eq!(place.metadata("d").mtime(), 7);
    assert!(!place.is_opaque("d"));
}

#[test]
fn a_folder_takes_the_place_of_a_file_and_hides_what_is_below_it() {
    let place = Place::new();
    let layer = Layer::new()
        .file("a", "")
        .folder("a")
        .symlink("b", "/etc")
        .folder("b")
        .file("b/f", "text");
    place.unpack(&layer.tar()).unwrap();
    assert!(place.metadata("a").is_dir() && place.is_opaque("a"));
    assert!(place.metadata("b").is_dir() && place.is_opaque("b"));
    assert_eq!(place.text("b/f"), "text");
}

#[test]
fn nothing_takes_the_place_of_a_folder() {
    let refused = |layer: Layer| {
        let refusal = refusal(&Layer::new().file("f", "").folder("d").append(layer).tar());
        assert_eq!(refusal, ("d".into(), Rule::OverFolder));
    };
    refused(Layer::new().file("d", ""));
    refused(Layer::new().symlink("d", "f"));
    refused(Layer::new().hard_link("d", "f"));
    refused(Layer::new().entry(header(EntryType::Fifo, "d"), ""));
}

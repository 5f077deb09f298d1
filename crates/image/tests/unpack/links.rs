//! Symlinks and hard links that are as they should be.

use std::{fs, os::unix::fs::MetadataExt};

use tar::EntryType;

use crate::{
    layer::{Layer, header},
    place::Place,
};

#[test]
fn symlinks_are_kept_whatever_they_say() {
    let targets = [
        "/etc/passwd",
        "../../../x",
        "a",
        ".",
        "no where\n",
        "//./a//",
    ];
    for target in targets {
        let place = Place::new();
        place
            .unpack(&Layer::new().symlink("d/l", target).tar())
            .unwrap();
        assert_eq!(
            fs::read_link(place.path("d/l")).unwrap().to_str(),
            Some(target)
        );
        assert_eq!(place.metadata("d/l").mtime(), 1_000_000_000);
    }
    let long = "x/".repeat(2000);
    let place = Place::new();
    let layer = Layer::new().pax("linkpath", &long).symlink("l", "short");
    place.unpack(&layer.tar()).unwrap();
    assert_eq!(
        fs::read_link(place.path("l")).unwrap().to_str(),
        Some(&*long)
    );
}

#[test]
fn hard_links_share_an_inode() {
    let place = Place::new();
    let layer = Layer::new()
        .file("a/f", "text")
        .hard_link("b/one", "a/f")
        .hard_link("two", "./a//f")
        .hard_link("three", "/b/one");
    place.unpack(&layer.tar()).unwrap();
    let inode = place.metadata("a/f").ino();
    for name in ["b/one", "two", "three"] {
        assert_eq!(place.metadata(name).ino(), inode, "{name}");
    }
    assert_eq!(place.metadata("a/f").nlink(), 4);
    assert_eq!(place.text("two"), "text");
}

#[test]
fn a_hard_link_to_a_symlink_is_one_to_the_symlink() {
    let place = Place::new();
    let canary = place.target.with_file_name("canary");
    let layer = Layer::new()
        .symlink("s", canary.to_str().unwrap())
        .hard_link("l", "s");
    place.unpack(&layer.tar()).unwrap();
    assert_eq!(fs::read_link(place.path("l")).unwrap(), canary);
    assert_eq!(place.metadata("l").ino(), place.metadata("s").ino());
}

#[test]
fn a_hard_link_to_itself_changes_nothing() {
    let place = Place::new();
    let layer = Layer::new()
        .file("a", "text")
        .hard_link("b", "a")
        .hard_link("a", "b")
        .hard_link("a", "a");
    place.unpack(&layer.tar()).unwrap();
    assert_eq!(place.text("a"), "text");
    assert_eq!(place.metadata("a").nlink(), 2);
}

#[test]
fn a_fifo_can_have_two_names() {
    let place = Place::new();
    let layer = Layer::new().entry(header(EntryType::Fifo, "a"), "");
    place.unpack(&layer.hard_link("b", "a").tar()).unwrap();
    assert_eq!(place.metadata("b").ino(), place.metadata("a").ino());
}

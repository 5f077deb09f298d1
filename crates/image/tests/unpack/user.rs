//! Whom the program of an image runs as.

use std::path::PathBuf;

use hob_image::{UserError, UserIds, find_user};

use crate::{layer::Layer, place::Place};

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
    # a comment\n\
    broken:x:many:1::/:\n\
    \n\
    app:x:1000:1001::/home/app:/bin/sh\n\
    app:x:7:7::/:\n\
    alone:x:1002:1003::/:\n\
    12:x:1004:1005::/:";
const GROUP: &str = "root:x:0:root,app\n\
    app:x:1001:\n\
    audio:x:63:other,app\n\
    broken:x:many:app\n\
    video:x:44:application\n\
    nobody";

/// Layers, the topmost first.
struct Image(Vec<Place>);

// === impl Image ===

impl Image {
    fn new(layers: impl IntoIterator<Item = Layer>) -> Self {
        let unpacked = |layer: Layer| {
            let place = Place::new();
            place.unpack(&layer.tar()).unwrap();
            place
        };
        Self(layers.into_iter().map(unpacked).collect())
    }

    fn usual() -> Self {
        Self::new([Layer::new()
            .file("etc/passwd", PASSWD)
            .file("etc/group", GROUP)])
    }

    fn find(&self, user: &str) -> Result<UserIds, UserError> {
        let layers: Vec<PathBuf> = self.0.iter().map(|place| place.target.clone()).collect();
        find_user(&layers, user)
    }

    fn ids(&self, user: &str) -> (u32, u32, Vec<u32>) {
        let found = self.find(user).unwrap();
        (found.uid, found.gid, found.groups)
    }

    fn error(&self, user: &str) -> String {
        self.find(user).unwrap_err().to_string()
    }
}

#[test]
fn names_and_numbers_are_resolved_as_docker_does() {
    let image = Image::usual();
    for (user, expected) in [
        ("", (0, 0, vec![])),
        ("root", (0, 0, vec![0])),
        ("app", (1000, 1001, vec![0, 63])),
        ("1000", (1000, 1001, vec![0, 63])),
        ("app:", (1000, 1001, vec![0, 63])),
        ("alone", (1002, 1003, vec![])),
        ("app:audio", (1000, 63, vec![])),
        ("app:99", (1000, 99, vec![])),
        ("1000:audio", (1000, 63, vec![])),
        ("5000", (5000, 0, vec![])),
        ("5000:6000", (5000, 6000, vec![])),
        (":audio", (0, 63, vec![])),
        ("2147483647", (2_147_483_647, 0, vec![])),
    ] {
        assert_eq!(image.ids(user), expected, "{user}");
    }
}

#[test]
fn a_number_is_never_a_name() {
    assert_eq!(Image::usual().ids("12"), (12, 0, vec![]));
}

#[test]
fn numbers_need_no_files() {
    let image = Image::new([Layer::new()]);
    assert_eq!(image.ids("1000"), (1000, 0, vec![]));
    assert_eq!(image.ids("1000:1000"), (1000, 1000, vec![]));
}

#[test]
fn what_is_unknown_is_named() {
    let image = Image::usual();
    let error = image.error("nobody");
    assert!(
        error.contains("`nobody` is not in its etc/passwd"),
        "{error}"
    );
    let error = image.error("app:wheel");
    assert!(error.contains("`wheel` is not in its etc/group"), "{error}");
    assert!(image.error("broken").contains("`broken` is not in"));
    assert!(image.error("-1").contains("`-1` is not in"));
    for user in ["2147483648", "99999999999999999999", "1:2147483648"] {
        assert!(image.error(user).contains("is above 2147483647"), "{user}");
    }
}

#[test]
fn the_topmost_file_counts() {
    let old = || {
        Layer::new()
            .file("etc/passwd", "app:x:1:1::/:")
            .file("etc/group", GROUP)
    };
    let new = || Layer::new().file("etc/passwd", "app:x:2:2::/:");
    let other = || Layer::new().file("etc/hosts", "");
    assert_eq!(Image::new([other(), new(), old()]).ids("app").0, 2);
    assert_eq!(Image::new([new(), old()]).ids("app"), (2, 2, vec![0, 63]));
    assert_eq!(Image::new([other(), old()]).ids("app").0, 1);
}

#[test]
fn what_is_deleted_is_not_read() {
    let old = || Layer::new().file("etc/passwd", PASSWD);
    for layer in [
        Layer::new().file("etc/.wh.passwd", ""),
        Layer::new().file(".wh.etc", ""),
        Layer::new().file("etc/.wh..wh..opq", ""),
        Layer::new().file(".wh.etc", "").file("etc/hosts", ""),
    ] {
        let error = Image::new([layer, old()]).error("app");
        assert!(error.contains("not in its etc/passwd"), "{error}");
    }
}

#[test]
fn symlinks_are_not_followed() {
    let old = || {
        Layer::new()
            .file("etc/passwd", PASSWD)
            .file("x/passwd", PASSWD)
    };
    for layer in [
        Layer::new().symlink("etc/passwd", "/etc/passwd"),
        Layer::new()
            .symlink("etc/passwd", "hosts")
            .file("etc/hosts", PASSWD),
        Layer::new().symlink("etc", "/etc"),
        Layer::new().symlink("etc", "x").file("x/passwd", PASSWD),
    ] {
        let image = Image::new([layer, old()]);
        let error = image.error("app");
        assert!(error.contains("symlink"), "{error}");
        assert_eq!(image.ids("3:4"), (3, 4, vec![]), "numbers need no file");
    }
}

#[test]
fn only_files_of_a_sensible_size_are_read() {
    let mut long = PASSWD.to_owned();
    long.push_str(&"\n".repeat(1 << 20));
    let error = Image::new([Layer::new().file("etc/passwd", long)]).error("app");
    assert!(error.contains("exceeds 1048576 bytes"), "{error}");
    let error = Image::new([Layer::new().folder("etc/passwd")]).error("app");
    assert!(error.contains("it is no file"), "{error}");
    let fifo = crate::layer::header(tar::EntryType::Fifo, "etc/passwd");
    let error = Image::new([Layer::new().entry(fifo, "")]).error("app");
    assert!(error.contains("it is no file"), "{error}");
}

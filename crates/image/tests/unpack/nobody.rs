//! The same without root: this executable runs the test again as a user without rights.

use std::{env, fs, os::unix::fs::MetadataExt, process::Command};

use tar::EntryType;

use crate::{
    layer::{Layer, header},
    place::{Place, is_root, needs_programs, xattr},
};

const NOBODY: &str = "65534";
const TEST: &str = "nobody::without_root_all_belongs_to_the_user_and_stays_removable";

#[test]
fn without_root_all_belongs_to_the_user_and_stays_removable() {
    if !is_root() {
        return unpack_without_root();
    }
    if !needs_programs(&["setpriv"]) {
        return;
    }
    // Nobody may look into the folder of this executable, perhaps.
    let copy = tempfile::tempdir_in("/tmp").unwrap();
    let program = copy.path().join("unpack");
    fs::copy(env::current_exe().unwrap(), &program).unwrap();
    let work = copy.path().join("work");
    fs::create_dir(&work).unwrap();
    let user = Some(65534);
    std::os::unix::fs::chown(&work, user, user).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o711);
    fs::set_permissions(copy.path(), mode).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"])
        .args(["--bounding-set=-all", "--inh-caps=-all"])
        .arg(&program)
        .args(["--exact", TEST])
        .env("TMPDIR", &work)
        .current_dir(&work)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
}

fn unpack_without_root() {
    let with_mode = |kind, name: &str, mode| {
        let mut header = header(kind, name);
        header.set_mode(mode);
        header.set_uid(1000);
        header
    };
    let layer = Layer::new()
        .entry(with_mode(EntryType::Directory, "./", 0), "")
        .entry(with_mode(EntryType::Directory, "d", 0), "")
        .entry(with_mode(EntryType::Directory, "d/e", 0), "")
        .entry(with_mode(EntryType::Regular, "d/e/f", 0), "text")
        .entry(with_mode(EntryType::Fifo, "p", 0), "")
        .entry(with_mode(EntryType::Directory, "t", 0o1777), "")
        .symlink("s", "/etc/passwd")
        .hard_link("l", "d/e/f")
        .hard_link("m", "s")
        .xattr("security.capability", "left away")
        .file("c", "")
        .xattr("user.mime", "x/y")
        .entry(with_mode(EntryType::Regular, "x", 0), "text")
        .file(".wh.gone", "")
        .file("d/.wh..wh..opq", "")
        .file(".wh.d", "");
    let place = Place::new();
    place.unpack(&layer.tar()).unwrap();
    for name in ["", "d", "d/e"] {
        assert_eq!(place.metadata(name).mode() & 0o7777, 0o700, "{name}");
    }
    assert_eq!(place.metadata("t").mode() & 0o7777, 0o1777);
    assert_eq!(place.metadata("d/e/f").mode() & 0o7777, 0o400);
    assert_eq!(place.text("d/e/f"), "text");
    assert_eq!(place.metadata("l").ino(), place.metadata("d/e/f").ino());
    assert_eq!(xattr(&place.path("x"), "user.mime").unwrap(), b"x/y");
    assert!(place.is_whiteout("gone") && place.is_opaque("d"));
    assert_ne!(place.metadata("d").uid(), 1000);
    fs::remove_dir_all(&place.target).unwrap();
}

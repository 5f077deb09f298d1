//! Unpacked layers, mounted: what the kernel makes of them is what counts.

use std::process::Command;

use tar::EntryType;

use crate::{
    layer::{Layer, header},
    place::{Place, needs_programs, needs_root, not_tested},
};

/// Runs `script` where the layers, the topmost first, are mounted at `$merged`. Nothing when this
/// machine cannot.
fn in_overlay(layers: &[&Place], script: &str) -> Option<String> {
    let merged = tempfile::tempdir().unwrap();
    let paths: Vec<_> = layers
        .iter()
        .map(|layer| layer.target.to_str().unwrap())
        .collect();
    let lower = paths.join(":");
    let script = format!(
        "mount -t overlay overlay -o ro,userxattr,lowerdir={lower} \"$merged\" || exit 77\n\
         cd \"$merged\" && {{ {script}\n}}"
    );
    let output = Command::new("unshare")
        .args(["-m", "sh", "-ec", &script])
        .env("merged", merged.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(77) {
        not_tested(&format!("no overlay here: {said}"));
        return None;
    }
    assert!(output.status.success(), "{said}");
    Some(String::from_utf8(output.stdout).unwrap())
}

fn unpacked(layer: Layer) -> Place {
    let place = Place::new();
    place.unpack(&layer.tar()).unwrap();
    place
}

fn can_mount() -> bool {
    needs_root() && needs_programs(&["unshare", "mount", "find", "sort"])
}

#[test]
fn a_stack_of_layers_shows_what_it_should() {
    if !can_mount() {
        return;
    }
    let base = unpacked(
        Layer::new()
            .file("keep", "base")
            .file("change", "base")
            .file("gone", "base")
            .file("d/old", "base")
            .file("d/stays", "base")
            .file("hidden/old", "base")
            .file("again/old", "base")
            .file("late/old", "base")
            .file("implied/old", "base")
            .file("becomes-file/old", "base")
            .file("becomes-folder", "base")
            .symlink("link", "keep"),
    );
    let middle = unpacked(
        Layer::new()
            .file("change", "middle")
            .file(".wh.gone", "")
            .file("d/.wh.old", "")
            .file("hidden/.wh..wh..opq", "")
            .file("hidden/new", "middle")
            .file(".wh.again", "")
            .folder("again")
            .file("again/new", "middle")
            .folder("late")
            .file("late/new", "middle")
            .file(".wh.late", "")
            .file(".wh.implied", "")
            .file("implied/new", "middle")
            .file("becomes-file", "middle")
            .folder("becomes-folder")
            .file("becomes-folder/new", "middle"),
    );
    let top = unpacked(
        Layer::new()
            .file("gone", "top")
            .file("d/old", "top")
            .file(".wh.link", ""),
    );
    let script = "find . -type f | sort | while read -r f; do echo \"$f=$(cat \"$f\")\"; done; find . -type l -o -type c";
    let Some(shown) = in_overlay(&[&top, &middle, &base], script) else {
        return;
    };
    let expected = [
        "./again/new=middle",
        "./becomes-file=middle",
        "./becomes-folder/new=middle",
        "./change=middle",
        "./d/old=top",
        "./d/stays=base",
        "./gone=top",
        "./hidden/new=middle",
        "./implied/new=middle",
        "./keep=base",
        "./late/new=middle",
    ];
    assert_eq!(shown.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn attributes_show_through() {
    if !can_mount() {
        return;
    }
    let mut program = header(EntryType::Regular, "program");
    program.set_mode(0o4711);
    program.set_uid(1000);
    program.set_gid(1001);
    let mut root = header(EntryType::Directory, "./");
    root.set_mode(0o751);
    let base = unpacked(Layer::new().folder("./").entry(program, "#!"));
    let top = unpacked(Layer::new().entry(root, "").file("f", ""));
    let script = "stat -c '%n %a %u:%g %Y' . program";
    let Some(shown) = in_overlay(&[&top, &base], script) else {
        return;
    };
    assert_eq!(
        shown,
        ". 751 0:0 1000000000\nprogram 4711 1000:1001 1000000000\n"
    );
}

//! What would be a wrong image is never made, and the cure is told.

use std::fs;

use hob_image::LayerFiles;
use hob_testkit::has_programs;

use super::workshop::{Workshop, base};

#[test]
fn a_program_for_another_machine_is_named() {
    if !has_programs(&["python3"]) {
        return;
    }
    let workshop = Workshop::with(|store| {
        let mut layer = LayerFiles::default();
        layer.bytes("bin/sh", b"a program".to_vec());
        base(store, "python:3.13-slim", &[], &layer);
    });
    let handler = "def handle(req):\n    return 'x'\n";
    let folder = workshop.folder("hello", &[("handler.py", handler)]);
    fs::copy("/bin/true", folder.join("tool")).unwrap();
    let other = if cfg!(target_arch = "aarch64") {
        "amd64"
    } else {
        "arm64"
    };
    let line = workshop
        .build(&folder, &["--platform", &format!("linux/{other}")])
        .fails(1);
    assert!(
        line.contains("`tool` is for") && line.contains(".hobignore"),
        "{line}"
    );
    // The function's own `build` can leave such a thing as well.
    fs::remove_file(folder.join("tool")).unwrap();
    fs::write(
        folder.join("hob.toml"),
        "build = \"mkdir bin && cp /bin/true bin/$TARGETARCH\"\n",
    )
    .unwrap();
    let line = workshop
        .build(&folder, &["--platform", &format!("linux/{other}")])
        .fails(1);
    assert!(line.contains(&format!("`bin/{other}` is for")), "{line}");
    // Nothing has got the name.
    let index = fs::read_to_string(workshop.hob.data().join("images/index.json")).unwrap();
    assert!(!index.contains("reg.example.net"), "{index}");
    assert_eq!(
        fs::read_dir(workshop.hob.data().join("tmp"))
            .unwrap()
            .count(),
        0
    );

    let line = workshop
        .build(&folder, &["--platform", "linux/s390x"])
        .fails(1);
    assert!(
        line.contains("has no image for linux/s390x, only for linux/amd64"),
        "{line}"
    );
}

#[test]
fn what_cannot_be_an_image_is_refused_with_the_cure() {
    let workshop = Workshop::with(|store| {
        let mut layer = LayerFiles::default();
        layer.bytes("bin/sh", b"a program".to_vec());
        base(store, "here:1", &[], &layer);
    });
    let handler = [("handler.py", "def handle(req):\n    return 'x'\n")];
    let site = workshop.folder("site", &[("index.html", "hi")]);
    let python = workshop.folder("python", &handler);
    let shell = workshop.folder(
        "shell",
        &[
            ("hob.toml", "run = \"exec ./serve\"\n"),
            ("serve", "#!/bin/sh\n"),
        ],
    );
    let script = workshop.folder(
        "script",
        &[
            ("hob.toml", "run = [\"./serve\"]\n"),
            ("serve", "#!/bin/sh\n"),
        ],
    );
    let socket = workshop.folder(
        "socket",
        &[(
            "hob.toml",
            "run = \"gunicorn -b unix:$HOB_SOCKET app\"\n[image]\nbase = \"here:1\"\n",
        )],
    );
    let odd = workshop.folder(
        "odd",
        &[("hob.toml", "[image]\nbase = \"UPPER\"\n"), handler[0]],
    );
    let key = workshop.folder(
        "key",
        &[("hob.toml", "[image]\nbsae = \"x\"\n"), handler[0]],
    );
    for (folder, more, code, expected) in [
        (&site, &[][..], 1, "write a Dockerfile with a web server"),
        (
            &shell,
            &[],
            1,
            "`/bin/sh` is no file of the function's folder, and the image has no base: name a base with --base",
        ),
        (&script, &[], 1, "`./serve` needs an interpreter"),
        (&socket, &[], 1, "listens on $HOB_SOCKET only"),
        (&odd, &[], 1, "names have no upper-case letters"),
        (&key, &[], 1, "bsae"),
        (
            &python,
            &["--platform", "linux/mips"],
            1,
            "use one of linux/amd64",
        ),
        (
            &python,
            &["--platform", "linux/amd64,linux/amd64"],
            1,
            "named twice",
        ),
        (&python, &["--platform", "linux"], 64, "OS/ARCH"),
        (&python, &["--base", "a b"], 64, "write REGISTRY/NAME:TAG"),
        (
            &python,
            &["--base", "127.0.0.1:1/none:1"],
            1,
            "base: registry 127.0.0.1:1 cannot be reached",
        ),
    ] {
        let line = workshop.build(folder, more).fails(code);
        assert!(line.contains(expected), "{}: {line}", folder.display());
    }
}

#[test]
fn an_image_has_a_name_that_can_be_given() {
    let workshop = Workshop::new();
    let folder = workshop.folder("site", &[("index.html", "hi")]);
    let folder = folder.to_str().unwrap();
    let outcome = workshop.hob.cli(["build", folder]);
    assert!(outcome.stderr.contains("--image <REF>"), "{outcome:?}");
    outcome.fails(64);
    let pinned = format!("reg.example.net/x@sha256:{}", "0".repeat(64));
    let line = workshop
        .hob
        .cli(["build", folder, "--image", &pinned])
        .fails(1);
    assert!(line.contains("name a tag"), "{line}");
}

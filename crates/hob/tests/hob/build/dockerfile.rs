//! A folder with a Dockerfile goes to another tool.

use std::fs;

use hob_image::LayerFiles;
use hob_testkit::{Hob, has_programs};

use super::workshop::{Workshop, base, digest};
use crate::bench::HOB;

#[test]
fn buildah_builds_it_on_a_base_of_the_store() {
    if !has_programs(&["buildah", "busybox", "skopeo"]) {
        return;
    }
    let bottom = std::cell::RefCell::default();
    let workshop = Workshop::with(|store| {
        let mut layer = LayerFiles::default();
        let place = tempfile::tempdir().unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        let mut programs = path.split(':').map(|folder| format!("{folder}/busybox"));
        let program = programs
            .find(|program| fs::metadata(program).is_ok())
            .unwrap();
        fs::copy(program, place.path().join("busybox")).unwrap();
        std::os::unix::fs::symlink("busybox", place.path().join("sh")).unwrap();
        layer.tree(place.path(), "bin", &|_| true).unwrap();
        layer.folder("tmp", 0o1777);
        bottom.replace(base(store, "shell:1", &[("PATH", "/bin")], &layer));
    });
    let file = "ARG V=1\nFROM --platform=${TARGETPLATFORM:-linux/amd64} shell:${V} AS ship\nCOPY greeting /greeting\nRUN busybox tr a-z A-Z < /greeting > /loud\nUSER 12000\nCMD [\"busybox\", \"cat\", \"/loud\"]\n";
    let folder = workshop.folder("hello", &[("Dockerfile", file), ("greeting", "mina")]);
    let host = hob_image::Platform::host().to_string();
    let image = workshop.image(&folder, &["--platform", &host]);
    let config = workshop.inspect(&["--config"]);
    assert_eq!(config["config"]["User"], "12000");
    assert_eq!(config["config"]["Cmd"][2], "/loud");
    // The base's own layer, not one compressed anew.
    let layers = workshop.inspect(&[])["Layers"].as_array().unwrap().len();
    let first = workshop.inspect(&[])["Layers"][0].clone();
    assert!(layers > 1 && first == *bottom.borrow(), "{first}");
    // The same again is the same.
    let again = workshop.image(&folder, &["--platform", &host]);
    assert_eq!(image["digest"], again["digest"]);

    // Without a step that runs, any machine will do.
    let file = "FROM scratch\nCOPY greeting /function/greeting\n";
    fs::write(folder.join("Dockerfile"), file).unwrap();
    let image = workshop.image(&folder, &["--platform", "linux/amd64,linux/arm64"]);
    let root = workshop.unpack(digest(&image, "linux/arm64"), "linux/arm64");
    let greeting = fs::read_to_string(root.path().join("function/greeting")).unwrap();
    assert_eq!(greeting, "mina");

    fs::write(folder.join("Dockerfile"), "FROM shell:1\nRUN exit 3\n").unwrap();
    let outcome = workshop.build(&folder, &[]);
    assert!(outcome.stderr.contains("RUN exit 3"), "{outcome:?}");
    let line = outcome.fails(1);
    assert!(line.contains("buildah build failed"), "{line}");
    assert_eq!(
        fs::read_dir(workshop.hob.data().join("tmp"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn without_a_tool_it_is_said_what_to_install() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("Dockerfile"), "FROM scratch\n").unwrap();
    let path = folder.path().join("empty");
    let hob = Hob::builder(HOB).env("PATH", path).start();
    let place = folder.path().to_str().unwrap();
    let build = hob.command().args([
        "build",
        place,
        "--image",
        "x:1",
        "--platform",
        "linux/amd64",
    ]);
    fs::write(folder.path().join("hob.toml"), "name = \"hello\"\n").unwrap();
    let line = build.run().fails(1);
    assert!(line.contains("apt-get install buildah"), "{line}");
}

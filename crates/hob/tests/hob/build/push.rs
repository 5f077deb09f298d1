//! From a folder to somebody else's registry, and back as a function.

use hob_image::LayerFiles;
use hob_testkit::{REGISTRY_PROGRAM, Registry, has_programs};

use super::workshop::{Workshop, base};

#[test]
fn what_is_built_is_sent_once() {
    if !has_programs(&[REGISTRY_PROGRAM, "python3"]) {
        return;
    }
    let workshop = Workshop::with(|store| {
        let mut layer = LayerFiles::default();
        layer.bytes("bin/sh", b"a program".to_vec());
        base(store, "shell:1", &[], &layer);
    });
    let registry = Registry::start();
    let trust = ["registry", "trust", "--plain-http", &registry.name()];
    workshop.hob.cli(trust).ok();
    let files = [
        ("handler.sh", "#!/bin/sh\ncat\n"),
        ("hob.toml", "[image]\nbase = \"shell:1\"\n"),
    ];
    let folder = workshop.folder("hello", &files);
    let name = format!("{}/hello:1", registry.name());
    let folder = folder.to_str().unwrap();
    let build = ["build", folder, "--image", &name, "--push"];
    let said = workshop.hob.cli(build).ok();
    let begin = format!("{name} is built and pushed, ");
    assert!(said.starts_with(&begin), "{said}");
    let said = workshop.hob.cli(build).ok();
    assert!(said.contains("the registry had all of it"), "{said}");
    drop(registry);
    let line = workshop.hob.cli(build).fails(1);
    assert!(line.contains("stays on this machine: registry "), "{line}");
}

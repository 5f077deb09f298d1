//! Archives from and for another program.

use std::fs;

use hob_testkit::has_programs;

use crate::bench::{Bench, layout, run, tar};

const NAME: &str = "r.example.net/team/hello:1.0";

#[test]
fn skopeo_reads_what_hob_writes() {
    if !has_programs(&["skopeo"]) {
        return;
    }
    let bench = Bench::new();
    bench.load(&tar(&layout(NAME, "hi"))).unwrap();
    let file = bench.path("saved.tar");
    fs::write(&file, bench.save(&[NAME])).unwrap();
    let digest = bench.check(NAME);
    for kind in ["oci-archive", "docker-archive"] {
        let source = format!("{kind}:{}:{NAME}", file.display());
        let target = bench.path(kind);
        let target = format!("oci:{}:x", target.display());
        run("skopeo", &["--insecure-policy", "copy", &source, &target]);
        if kind == "oci-archive" {
            let said = run("skopeo", &["inspect", &target]);
            assert!(said.contains(digest.as_str()), "{said}");
        }
    }
}

#[test]
fn hob_reads_what_skopeo_writes() {
    if !has_programs(&["skopeo"]) {
        return;
    }
    let (source, target) = (Bench::new(), Bench::new());
    source.load(&tar(&layout(NAME, "hi"))).unwrap();
    let saved = source.path("saved.tar");
    fs::write(&saved, source.save(&[NAME])).unwrap();
    let saved = format!("oci-archive:{}:{NAME}", saved.display());
    for (kind, name) in [
        ("oci-archive", "localhost/again:1"),
        ("docker-archive", "localhost/again:2"),
    ] {
        let file = source.path(&format!("{kind}.tar"));
        let written = format!("{kind}:{}:{name}", file.display());
        run("skopeo", &["--insecure-policy", "copy", &saved, &written]);
        let loaded = target.load(&fs::read(&file).unwrap()).unwrap();
        assert_eq!(loaded[0].name.to_string(), name);
        let digest = target.check(name);
        // Docker's archive knows no manifest: its digest is a new one.
        assert_eq!(digest == source.check(NAME), kind == "oci-archive");
        // And the other way round, through both.
        assert_eq!(
            Bench::new().load(&target.save(&[name])).unwrap()[0].digest,
            digest
        );
    }
}

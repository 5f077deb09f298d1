//! What is pushed to this machine runs on it, with no network between.

use std::fs;

use flate2::{Compression, write::GzEncoder};
use hob_testkit::has_programs;
use serde_json::json;

use crate::conformance::{Case, Suite, digest, image};

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const PAGE: &str = "pushed";

#[test]
fn a_pushed_image_is_deployed_by_any_name_of_the_machine() {
    if !rustix::process::geteuid().is_root() || !has_programs(&["busybox", "ip", "nft"]) {
        eprintln!("NOT TESTED: only root can run images");
        return;
    }
    let mut suite = Suite::new();
    let manifest = push(&mut suite, "team/web", "1.0");
    let address = suite.hob.address();
    for host in [
        address.to_string(),
        format!("localhost:{}", address.port()),
        "hob.local".into(),
    ] {
        let name = format!("{host}/team/web:1.0");
        suite.hob.cli(["deploy", "--image", &name]).ok();
        assert_eq!(suite.hob.get("/function/web/").expect(200).text(), PAGE);
    }
    let pinned = format!("{address}/team/web@{manifest}");
    suite.hob.cli(["deploy", "--image", &pinned]).ok();
    // Nobody is asked for what is not here.
    let name = format!("{address}/team/none:1.0");
    let line = suite.hob.cli(["deploy", "--image", &name]).fails(1);
    assert!(line.contains("not on this machine"), "{line}");

    let ask = format!("DELETE /v2/team/web/manifests/{manifest}");
    let refusal = suite.ask(Case {
        says: "a manifest that a function runs stays",
        ask: &ask,
        status: 405,
        code: "UNSUPPORTED",
        ..Case::default()
    });
    assert!(refusal.text().contains("a function runs"), "{refusal:?}");
    suite.hob.cli(["remove", "web"]).ok();
    suite.ask(Case {
        says: "and goes with it",
        ask: &ask,
        status: 202,
        ..Case::default()
    });
    suite.end();
}

/// Pushes a web server with one page; returns the digest of its manifest.
fn push(suite: &mut Suite, name: &str, tag: &str) -> String {
    let layer = layer();
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    std::io::Write::write_all(&mut packed, &layer).unwrap();
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let config = json!({
        "architecture": architecture, "os": "linux",
        "config": {"Cmd": ["/bin/busybox", "httpd", "-f", "-p", "8080", "-h", "/www"]},
        "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
    });
    let config = suite.blob_to(name, CONFIG, config.to_string().as_bytes());
    let layer = suite.blob_to(name, LAYER, &packed.finish().unwrap());
    let pushed = suite.manifest(name, tag, &image(&config, &[layer]));
    pushed["digest"].as_str().unwrap().to_owned()
}

fn layer() -> Vec<u8> {
    let path = std::env::var_os("PATH").unwrap();
    let busybox = std::env::split_paths(&path).map(|folder| folder.join("busybox"));
    let busybox = busybox.into_iter().find(|path| path.is_file()).unwrap();
    let mut tar = tar::Builder::new(Vec::new());
    for (path, bytes) in [
        ("bin/busybox", fs::read(busybox).unwrap()),
        ("www/index.html", PAGE.into()),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o755);
        tar.append_data(&mut header, path, bytes.as_slice())
            .unwrap();
    }
    tar.into_inner().unwrap()
}

//! Go and Rust, which stand on nothing, for machines that this one is not.

use std::fs;

use hob_testkit::has_programs;
use serde_json::{Value, json};

use super::workshop::{Running, Workshop, digest, machine};

const PLATFORMS: &str = "linux/amd64,linux/arm64,linux/arm/v7";

fn handler(answer: &str) -> String {
    format!(
        "package function\n\nimport \"net/http\"\n\nfunc Handle(w http.ResponseWriter, r *http.Request) {{ w.Write([]byte(\"{answer}\")) }}\n"
    )
}

fn check_programs(here: &Workshop, image: &Value) {
    for (platform, expected) in [
        ("linux/amd64", (2, 62)),
        ("linux/arm64", (2, 183)),
        ("linux/arm/v7", (1, 40)),
    ] {
        let root = here.unpack(digest(image, platform), platform);
        assert_eq!(machine(&root.path().join("function/program")), expected);
        // No source, and nothing that only hob reads.
        assert_eq!(
            fs::read_dir(root.path().join("function")).unwrap().count(),
            1
        );
        assert!(
            root.path()
                .join("etc/ssl/certs/ca-certificates.crt")
                .is_file()
        );
    }
}

#[test]
fn go_for_three_machines_is_the_same_wherever_it_is_built() {
    if !has_programs(&["go", "skopeo"]) {
        return;
    }
    let here = Workshop::new();
    let manifest = "timeout = \"5s\"\n[env]\nGREETING = \"hi\"\n";
    let files = [
        ("handler.go", handler("Mina")),
        ("hob.toml", manifest.to_owned()),
    ];
    let files: Vec<_> = files
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect();
    let folder = here.folder("hello", &files);
    let image = here.image(&folder, &["--platform", PLATFORMS]);
    assert_eq!(image["image"], "reg.example.net/hello:1");
    assert_eq!(image["pushed"], false);
    let mut keys: Vec<_> = image.as_object().unwrap().keys().collect();
    keys.sort_unstable();
    let contract = ["digest", "image", "platforms", "pushed", "sent", "size"];
    assert_eq!(keys, contract);
    check_programs(&here, &image);
    let index = here.inspect(&["--raw"]);
    assert_eq!(
        index["manifests"][2]["platform"],
        json!({"architecture": "arm", "os": "linux", "variant": "v7"})
    );
    let config = here.inspect(&["--override-arch", "amd64", "--config"]);
    assert_eq!(config["config"]["User"], "12000:12000");
    let env = config["config"]["Env"].to_string();
    assert!(
        env.contains("GREETING=hi") && env.contains("PORT=8080"),
        "{env}"
    );
    #[cfg(target_arch = "x86_64")]
    {
        let root = here.unpack(digest(&image, "linux/amd64"), "linux/amd64");
        Running::start(root.path(), &config).answers("", "Mina");
    }

    // A new handler changes the last layer and no other.
    let before = here.layers("arm64");
    fs::write(folder.join("handler.go"), handler("Lucy")).unwrap();
    let changed = here.image(&folder, &["--platform", PLATFORMS]);
    assert_ne!(changed["digest"], image["digest"]);
    let after = here.layers("arm64");
    assert_eq!((before.len(), &before[..1]), (2, &after[..1]));
    assert_ne!(before[1], after[1]);

    // Elsewhere, with nothing cached, and alone: still the same.
    let there = Workshop::new();
    let folder = there.folder("hello", &files);
    let other = there.image(&folder, &["--platform", "linux/amd64"]);
    assert_eq!(&other["digest"], digest(&image, "linux/amd64"));
    let plain = there.inspect(&["--raw"]);
    assert!(
        plain["config"].is_object(),
        "one platform needs no index: {plain}"
    );
}

#[test]
fn a_program_for_another_machine_answers_there() {
    const EMULATOR: &str = "qemu-aarch64-static";
    if !has_programs(&["go", "skopeo", EMULATOR]) {
        return;
    }
    let here = Workshop::new();
    // What differs between machines is in it: numbers with a fraction, and another thread.
    let source = "package function\n\nimport (\n\t\"fmt\"\n\t\"io\"\n\t\"net/http\"\n\t\"runtime\"\n)\n\n\
        func Handle(w http.ResponseWriter, r *http.Request) {\n\tbody, _ := io.ReadAll(r.Body)\n\
        \thalves := make(chan float64)\n\tgo func() { halves <- float64(len(body)) / 2 }()\n\
        \tfmt.Fprint(w, runtime.GOARCH, \" \", string(body), \" \", <-halves)\n}\n";
    let folder = here.folder("hello", &[("handler.go", source)]);
    let image = here.image(&folder, &["--platform", "linux/arm64"]);
    let root = here.unpack(digest(&image, "linux/arm64"), "linux/arm64");
    let config = here.inspect(&["--override-arch", "arm64", "--config"]);
    let running = Running::emulated(EMULATOR, root.path(), &config);
    running.answers("Dracula", "arm64 Dracula 3.5");
}

#[test]
fn rust_is_linked_so_that_it_needs_nothing() {
    if !has_programs(&["cargo", "skopeo"]) {
        return;
    }
    let workshop = Workshop::new();
    let source = "pub fn handle(_: crate::Request) -> crate::Response { \"Mina\".into() }\n";
    let folder = workshop.folder("hello", &[("handler.rs", source)]);
    let outcome = workshop.build(&folder, &["--platform", "linux/arm64", "-o", "json"]);
    if outcome.code != 0 {
        // Which targets are installed is the machine's business.
        let line = outcome.fails(1);
        assert!(
            line.contains("rustup target add aarch64-unknown-linux-musl"),
            "{line}"
        );
        eprintln!("NOT TESTED: {line}");
        return;
    }
    let image = outcome.json();
    let root = workshop.unpack(&image["digest"], "linux/arm64");
    assert_eq!(machine(&root.path().join("function/program")), (2, 183));
}

#[test]
fn what_is_built_runs_as_a_function() {
    if !rustix::process::geteuid().is_root() || !has_programs(&["go", "ip", "nft"]) {
        eprintln!("NOT TESTED: only root can run images");
        return;
    }
    let workshop = Workshop::new();
    let answer = handler("Mina");
    let folder = workshop.folder("hello", &[("handler.go", answer.as_str())]);
    workshop.image(&folder, &[]);
    let deploy = [
        "deploy",
        "--image",
        "reg.example.net/hello:1",
        "--name",
        "again",
    ];
    workshop.hob.cli(deploy).ok();
    let answer = workshop.hob.get("/function/again").expect(200);
    assert_eq!(answer.text(), "Mina");
}
